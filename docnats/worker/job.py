"""One job on a worker: start, run, settle.

The order keeps the promise that nothing is lost and nothing is settled twice: the result is
written first, the state record is compare-and-set second, the queue is told last. A worker
that dies in between leaves the message to the next one, which writes the same keys.
"""

from __future__ import annotations

import asyncio
import logging

from docnats.bus import Lease
from docnats.errors import BusError, ErrorType, ParseError, PlaceForbidden
from docnats.models import DeadLetterKind, JobMessage, JobRecord, JobState, utc_now
from docnats.telemetry import Kind, Span, about_job
from docnats.worker.claim import Claim, ClaimLost, JobEnded
from docnats.worker.offer import lacking, waiting
from docnats.worker.outcome import (
    after_fault,
    deaths,
    given_up,
    handed_back,
    stalled,
    time_is_up,
)
from docnats.worker.processing import Processing, Tools
from docnats.worker.retries import retry_delay

__all__ = ["Job"]

log = logging.getLogger(__name__)

START_TRIES = 3
"""Times that a job is begun whose state somebody else writes at the same moment."""

SETTLE_SECONDS = 300.0
"""How long a worker keeps a finished job whose state it cannot write: NATS may come back, and
nobody need do the job again."""

SETTLE_PAUSE = 1.0

ACK_SECONDS = 2.0
"""How long a worker waits for the answer to an ack, in which it is sent twice.

nats-server says nothing to the ack of a delivery that it forgot when it was killed. The
message of the job, which has ended, comes again then and is dropped.
"""


class Job:
    """One leased job.

    Parameters
    ----------
    lease : Lease
        The message and the right to work on it.
    tools : Tools
        What the worker works with.
    """

    def __init__(self, lease: Lease, tools: Tools) -> None:
        self.message: JobMessage = lease.message
        self._claim = Claim(lease, tools.bus, tools.lease_seconds)
        self._tools = tools
        self._span = Span()
        self._stopped_by: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.message.request_id

    def cancel(self) -> None:
        """Stop the job because its user cancelled it; its state is already written."""
        self._stop(JobEnded("it was cancelled"))

    def adopt(self, lease: Lease) -> None:
        """Go on with a new lease, when the queue delivers the job that is at work here."""
        with about_job(self.message.batch, self.job_id):
            log.info("job %s: it came again, and is still at work here", self.job_id)
        self._claim.adopt(lease)

    def _stop(self, reason: BaseException) -> None:
        self._stopped_by = reason
        if self._task is not None:
            self._task.cancel()

    async def work(self) -> None:
        """Do the job and settle it; cancelling this hands the job back to the queue.

        Raises
        ------
        BusError
            NATS does not answer; see :meth:`leave`.
        """
        batch, tracing = self.message.batch, self._tools.tracing
        attributes = {"docnats.batch": batch, "docnats.job_id": self.job_id}
        self._span = tracing.start(
            "docnats.process",
            attributes | {"docnats.worker": self._tools.worker},
            kind=Kind.CONSUMER,
            parent=self._claim.lease.headers,
        )
        with self._span, about_job(batch, self.job_id, self._span.trace_id):
            await self._work_or_drop()

    async def _work_or_drop(self) -> None:
        self._task = asyncio.current_task()
        keeping = asyncio.create_task(self._claim.keep())
        keeping.add_done_callback(self._end_of_claim)
        try:
            await self._work()
        except asyncio.CancelledError:
            if self._stopped_by is None:
                await self._hand_back()
                raise
            await self._drop(self._stopped_by)
        except (ClaimLost, JobEnded) as reason:
            await self._drop(reason)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    def _end_of_claim(self, keeping: asyncio.Task[None]) -> None:
        if not keeping.cancelled() and (reason := keeping.exception()):
            self._stop(reason)

    async def _work(self) -> None:
        if lack := lacking(self.message, self._tools):
            await self._pass_on(lack)
            return
        record = await self._start()
        if not record.terminal:
            record = await self._outcome(record)
        await self._settle(record)

    async def _pass_on(self, lack: str) -> None:
        """Leave the job to a worker that can do it: nobody has begun it, so it has cost nothing."""
        record = await self._claim.read() or JobRecord.of(self.message)
        attempt = self._claim.lease.attempt
        outcome = await waiting(record, self.message, lack, attempt, self._tools)
        if outcome.terminal:
            await self._settle(outcome)
            return
        # Its sender still writes the row of one that is uploading.
        if outcome != record and record.state is not JobState.UPLOADING:
            log.warning("job %s: left to another worker: %s", self.job_id, lack)
            await self._claim.write(outcome)
        await self._claim.lease.release(retry_delay(attempt - 1))

    async def _start(self) -> JobRecord:
        """Mark the job running; or failed, when too many workers died of it."""
        for _ in range(START_TRIES):
            record = await self._claim.read() or JobRecord.of(self.message)
            if self._claim.doubtful:
                raise ClaimLost("its lease may be over")
            if deaths(record) >= self._tools.max_deliver:
                return given_up(record)
            running = self._running(record)
            try:
                await self._claim.write(running)
            except ClaimLost:
                # Most likely its sender says just now that it is queued.
                if await self._is_at_work_elsewhere():
                    raise
            else:
                self._tell_of_start(running)
                return running
        raise ClaimLost("somebody else writes its state all the time")

    def _tell_of_start(self, running: JobRecord) -> None:
        self._tools.observer.started(running)
        if running.queued_at and running.started_at:
            waited = (running.started_at - running.queued_at).total_seconds()
            self._span.note(
                {"docnats.queue_wait_seconds": waited, "docnats.attempt": running.attempt}
            )

    async def _is_at_work_elsewhere(self) -> bool:
        record = await self._claim.read()
        return record is not None and record.state is JobState.RUNNING

    def _running(self, record: JobRecord) -> JobRecord:
        if record.state is JobState.UPLOADING:  # its sender was slower, or died in between
            message = self.message
            record = record.but(bytes=message.file_size, sha256=message.sha256, queued_at=utc_now())
        return record.but(
            state=JobState.RUNNING,
            attempt=record.attempt + 1,
            worker=self._tools.worker,
            started_at=utc_now(),
            error_type=None,
            error=None,
        )

    async def _outcome(self, record: JobRecord) -> JobRecord:
        """Run the job; return its record as it ended, or as it goes back to the queue."""
        limit = asyncio.timeout(self.message.processing_timeout)
        try:
            async with limit:
                done = await Processing(self.message, self._claim, self._tools).run(record)
        except (ClaimLost, JobEnded):
            raise
        except PlaceForbidden as error:
            return await self._bury(record, error)
        except Exception as error:
            fault = self._time_is_up() if limit.expired() else error
            return self._after(after_fault(record, fault, self._tools.worker))
        self._tools.pause.end()
        return done

    async def _bury(self, record: JobRecord, error: PlaceForbidden) -> JobRecord:
        """Keep the message of a job that names a forbidden place; return its failed record."""
        log.error("job %s: moved to the dead letters: %s", self.job_id, error)
        letter = self._claim.lease.dead_letter(DeadLetterKind.FORBIDDEN, str(error))
        await self._tools.bus.bury(letter)
        return record.failed(ErrorType.STORAGE, str(error))

    def _time_is_up(self) -> ParseError:
        if self._claim.doubtful:
            return stalled(self._tools.worker)
        return time_is_up(self.message.processing_timeout)

    def _after(self, outcome: JobRecord) -> JobRecord:
        if outcome.error_type is ErrorType.STORAGE and not outcome.terminal:
            self._tools.pause.lengthen()
        return outcome

    async def _settle(self, record: JobRecord) -> None:
        """Write the state a job ends or waits in; only the winner of that write tells the queue."""
        await self._write_patiently(record)
        if record.error_type is not None:
            self._span.fail(record.error_type, record.error or "")
        if record.terminal:
            self._tools.observer.ended(record)  # even if NATS goes away before the ack
            await self._ack()
            self._tools.notes.add(self.message, record)
            log.info("job %s: %s (%s)", self.job_id, record.state, record.filename)
        else:
            log.warning("job %s: handed back: %s", self.job_id, record.error)
            self._tools.observer.handed_back(record.error_type or "")
            await self._claim.lease.release(retry_delay(record.releases - 1))

    async def _write_patiently(self, record: JobRecord) -> None:
        """Write the record, also when NATS is away for a while."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + SETTLE_SECONDS
        while True:
            try:
                return await self._claim.write(record)
            except BusError as error:
                if loop.time() >= give_up_at:
                    raise
                log.warning("job %s: not settled yet: %s", self.job_id, error)
            await asyncio.sleep(SETTLE_PAUSE)

    async def _drop(self, reason: BaseException) -> None:
        """Do no more for this job; its message goes when the job has ended."""
        log.info("job %s: dropped: %s", self.job_id, reason or repr(reason))
        if isinstance(reason, JobEnded):
            await self._ack()

    async def _ack(self) -> None:
        """Take the job, which has ended, off the queue; do not hold up others for it."""
        try:
            async with asyncio.timeout(ACK_SECONDS):
                await self._claim.lease.ack()
        except TimeoutError:
            log.info("job %s: nobody answered its ack, it may come again", self.job_id)

    async def _hand_back(self) -> None:
        """Give the job to another worker at once; this one was told to stop."""
        try:
            record = await self._claim.read()  # it may have been stopped at any point
            if record is not None and record.state is JobState.RUNNING:
                if record.worker != self._tools.worker:
                    raise ClaimLost("another worker has it now")
                await self._claim.write(handed_back(record))
            await self._claim.lease.release()
            self._tools.observer.handed_back("stopped")
        except (ClaimLost, JobEnded) as reason:
            await self._drop(reason)

    async def leave(self, error: BusError) -> None:
        """Leave the job to the queue, since NATS does not answer: it comes again some time."""
        with about_job(self.message.batch, self.job_id, self._span.trace_id):
            log.warning("job %s: left to be delivered again: %s", self.job_id, error)
            if self._claim.doubtful:
                return
            try:
                await self._claim.lease.release(retry_delay(self._claim.lease.attempt - 1))
            except BusError as failure:
                log.info("job %s: not handed back: %s", self.job_id, failure)
