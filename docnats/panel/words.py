"""A batch in words: what every kind of panel says, in the same way."""

from __future__ import annotations

from math import floor
from typing import NamedTuple

from docnats.models import JobRecord, JobState, Progress, RunningJob, Unserved
from docnats.table.quantities import duration, many, size, span

__all__ = [
    "BAR_ORDER",
    "Tile",
    "display_name",
    "doing",
    "final_tiles",
    "headline",
    "live_facts",
    "printable",
    "reason",
    "text_summary",
    "tiles",
    "title",
    "unserved",
    "waiting",
]

BAR_ORDER = (
    JobState.DONE,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.RUNNING,
    JobState.QUEUED,
    JobState.UPLOADING,
)
"""The states from left to right in a bar and its legend."""

_NAME_LENGTH = 160
_REASON_LENGTH = 300
_TEXT_FAILURES = 10
_RANGES_SHOWN = 3
_PROCESSORS_SHOWN = 3
_UNKNOWN = "\N{EN DASH}"


class Tile(NamedTuple):
    """One number of a batch: what it is, its value, and what else is to say of it."""

    label: str
    value: str
    detail: str = ""


def title(progress: Progress) -> str:
    """Return how many documents are done."""
    if not progress.total:
        return "No documents"
    done = progress.counts.get(JobState.DONE, 0)
    return f"{done:,} of {many(progress.total, 'document')} done"


def headline(progress: Progress) -> str:
    """Return the batch in half a sentence.

    Examples
    --------
    >>> counts = {JobState.DONE: 12, JobState.FAILED: 1}
    >>> headline(Progress("b", 13, counts, 350, 0, 0, 7.0))
    '12 of 13 documents done, 1 failed'
    """
    others = [(state, progress.counts.get(state, 0)) for state in BAR_ORDER[1:]]
    return ", ".join([title(progress), *(f"{count:,} {state}" for state, count in others if count)])


def waiting(progress: Progress, *, seconds: bool = True) -> str:
    """Return which servers are waited for, and for how long; empty when none is.

    Examples
    --------
    >>> from docnats.models import Outage
    >>> outages = (Outage("NATS", 12.3), Outage("S3", 3.0))
    >>> waiting(Progress("b", 1, {}, 0, 0, 0, 20.0, outages=outages))
    'Reconnecting to NATS (12 s), waiting for S3 (3 s)'
    """
    said = [
        f"{'reconnecting to' if outage.server == 'NATS' else 'waiting for'} {outage.server}"
        + (f" ({_whole(outage.seconds)})" if seconds else "")
        for outage in progress.outages
    ]
    text = ", ".join(said)
    return text[:1].upper() + text[1:]


def unserved(progress: Progress) -> str:
    """Return which jobs wait for a worker that is not there; empty when none does.

    Examples
    --------
    >>> jobs = (Unserved("docling", False, 3), Unserved("noop", True, 1))
    >>> unserved(Progress("b", 4, {}, 0, 0, 0, 0, unserved=jobs[:1]))
    '3 jobs wait for a worker that offers docling'
    >>> unserved(Progress("b", 4, {}, 0, 0, 0, 0, unserved=jobs[1:]))
    '1 job waits for a worker that offers noop and a language model'
    """
    said = [_unserved(jobs) for jobs in progress.unserved[:_PROCESSORS_SHOWN]]
    return ", ".join(said + ["…"] * (len(progress.unserved) > len(said)))


def _unserved(waiting: Unserved) -> str:
    wait = "waits" if waiting.jobs == 1 else "wait"
    model = " and a language model" if waiting.prompt else ""
    offer = f"{display_name(waiting.processor)}{model}"
    return f"{many(waiting.jobs, 'job')} {wait} for a worker that offers {offer}"


def _missing(progress: Progress) -> str:
    if not progress.finished and progress.workers == ():
        return "waiting for a live worker"
    return unserved(progress)


def tiles(progress: Progress) -> list[Tile]:
    """Return the numbers of a batch that runs: pages, upload, workers, time left."""
    left = _UNKNOWN if progress.remaining is None else span(*progress.remaining)
    time = Tile("Time left", left, f"{_so_far(progress)} so far")
    return [*_amounts(progress), _workers(progress), time]


def final_tiles(progress: Progress) -> list[Tile]:
    """Return the numbers that matter once nobody looks any more: pages, upload, time."""
    return [*_amounts(progress), Tile("Time", duration(progress.elapsed))]


def _amounts(progress: Progress) -> list[Tile]:
    found = [Tile("Pages", f"{progress.pages:,}", _speed(progress))]
    if progress.bytes_sent or progress.counts.get(JobState.UPLOADING, 0):
        found.append(Tile("Uploaded", size(progress.bytes_sent), _upload(progress)))
    return found


def _speed(progress: Progress) -> str:
    speed = progress.pages_per_second
    if speed is None:
        return ""
    return f"{speed:.1f} pages/s" if speed < 9.95 else f"{speed:,.0f} pages/s"


def _upload(progress: Progress) -> str:
    if progress.bytes_sent_per_second is not None:
        return f"{size(progress.bytes_sent_per_second)}/s"
    return f"of {size(progress.bytes_total)}" if progress.bytes_sent < progress.bytes_total else ""


def _workers(progress: Progress) -> Tile:
    if progress.workers is None:
        return Tile("Workers", _UNKNOWN)
    if not progress.workers:
        return Tile("Workers", "none", "waiting for one")
    parsers = sum(worker.parsers for worker in progress.workers)
    return Tile("Workers", f"{len(progress.workers):,}", many(parsers, "parser"))


def _so_far(progress: Progress) -> str:
    """Return the time since the submission."""
    return _whole(progress.elapsed)


def _whole(seconds: float) -> str:
    """Return a time that goes on; tenths of a second would only flicker."""
    return f"{floor(seconds)} s" if seconds < 60 else duration(seconds)


def live_facts(progress: Progress) -> list[str]:
    """Return who is waited for, pages, rate, elapsed time and, if it can be told, the time left."""
    found = [_missing(progress), many(progress.pages, "page"), _speed(progress)]
    found.append(duration(progress.elapsed))
    if not progress.finished and progress.remaining is not None:
        found.append(f"{span(*progress.remaining)} left")
    return [fact for fact in found if fact]


def text_summary(progress: Progress, note: str | None = None) -> str:
    """Return the batch as a few lines of plain text."""
    shown = progress.failures[:_TEXT_FAILURES]
    lines = [f"{headline(progress)} ({', '.join(live_facts(progress))})"]
    lines += [f"  {display_name(failure.filename)}: {reason(failure)}" for failure in shown]
    failed = progress.counts.get(JobState.FAILED, 0)
    if failed > len(shown):
        lines.append(f"  and {failed - len(shown):,} more failed")
    if note:
        lines.append(printable(note))
    return "\n".join(lines)


def doing(job: RunningJob) -> str:
    """Return how far a worker is with a document.

    Examples
    --------
    >>> doing(RunningJob("a.pdf", 210, 32, ((33, 64), (65, 65))))
    'pages 33-64, 65 of 210'
    >>> doing(RunningJob("a.pdf")), doing(RunningJob("a.pdf", 3, 1))
    ('starting', '1 of 3 pages')
    """
    if job.pages is None:
        return "starting"
    if not job.ranges:
        return f"{job.pages_done:,} of {many(job.pages, 'page')}"
    shown = [_pages(*pages) for pages in job.ranges[:_RANGES_SHOWN]]
    rest = ["…"] if len(job.ranges) > len(shown) else []
    one = len(job.ranges) == 1 and job.ranges[0][0] == job.ranges[0][1]
    return f"{'page' if one else 'pages'} {', '.join(shown + rest)} of {job.pages:,}"


def _pages(first: int, last: int) -> str:
    return f"{first:,}" if first == last else f"{first:,}-{last:,}"


def printable(text: str) -> str:
    """Return a text on one line, without controls, lone surrogates and direction marks.

    Examples
    --------
    >>> printable("two" + chr(10) + "lines" + chr(27) + "[31m.pdf")
    'two�lines�[31m.pdf'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def display_name(filename: str) -> str:
    """Return a file name as it can be shown: printable, and cut in the middle if it is long.

    Examples
    --------
    >>> len(display_name("x" * 5000 + ".pdf")), display_name("x" * 5000 + ".pdf")[-5:]
    (160, 'x.pdf')
    """
    name = printable(filename)
    half = _NAME_LENGTH // 2
    return name if len(name) <= _NAME_LENGTH else f"{name[: half - 1]}…{name[-half:]}"


def reason(failure: JobRecord) -> str:
    """Return why a job failed, on one line of bounded length."""
    parts = (failure.error_type, failure.error)
    text = printable(": ".join(part for part in parts if part) or "no reason was recorded")
    return text if len(text) <= _REASON_LENGTH else text[: _REASON_LENGTH - 1] + "…"
