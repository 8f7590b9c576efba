"""Jobs that this worker cannot do: they are left to one that can, for as long as that makes sense.

All workers share one consumer, so each is given jobs of every kind. A job that is passed on was
not begun: it counts neither as a death nor as a retry.
"""

from __future__ import annotations

from docnats.errors import ErrorType
from docnats.models import JobMessage, JobRecord, JobState
from docnats.worker.processing import Tools
from docnats.worker.retries import PATIENT_RETRIES, RETRIES

__all__ = ["lacking", "waiting"]


def lacking(message: JobMessage, tools: Tools) -> str | None:
    """Return what this worker lacks for a job, or None."""
    if message.processor not in tools.processors:
        return f"the processor {message.processor}"
    if message.custom_prompt is not None and tools.chat is None:
        return "a language model for its prompt"
    return None


async def waiting(
    record: JobRecord, message: JobMessage, lack: str, attempt: int, tools: Tools
) -> JobRecord:
    """Return the record of a job that is passed on; failed, once it was passed on too often.

    Parameters
    ----------
    lack : str
        What the workers lack that were given the job.
    attempt : int
        How often it was delivered.
    """
    if attempt > RETRIES:
        prompt = message.custom_prompt is not None
        workers = await tools.bus.workers()
        if not any(worker.can_do(message.processor, prompt=prompt) for worker in workers):
            why = f"no live worker offers {lack}; it was waited for ten minutes"
            return record.failed(ErrorType.PROCESSOR, why)
        if attempt > PATIENT_RETRIES:
            why = f"the live workers that offer {lack} did not come to it in six hours"
            return record.failed(ErrorType.PROCESSOR, why)
    told = f"waits for a worker that offers {lack}"
    return record.but(state=JobState.QUEUED, error_type=ErrorType.PROCESSOR, error=told)
