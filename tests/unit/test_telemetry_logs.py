"""Log lines: what they are about, and what is never in them."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from io import StringIO

import pytest

from docnats.cli.logs import log_to_stderr
from docnats.models import JobState
from docnats.telemetry import JsonFormatter, TextFormatter, about_job
from docnats.telemetry.logs import without_secrets
from tests.unit.test_job import JOB, World

log = logging.getLogger("docnats.test")

SIGNED = (
    "https://s3.example.org/documents/raw/1.pdf?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    "&X-Amz-Credential=AKIDEXAMPLE%2F20261125&X-Amz-Security-Token=t0k3n&X-Amz-Signature=5ec4e7"
)
SECRETS = ("AKIDEXAMPLE", "t0k3n", "5ec4e7")


@pytest.fixture
def lines() -> Iterator[StringIO]:
    """What is logged as JSON."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("docnats")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(before)


def logged(lines: StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def test_a_line_says_when_what_and_who(lines: StringIO) -> None:
    log.info("%d of %s", 3, "é\n\udc80")
    (line,) = logged(lines)
    assert line.pop("time").endswith("Z")
    assert line == {"level": "INFO", "logger": "docnats.test", "message": "3 of é\n\udc80"}
    assert lines.getvalue().isascii()


def test_a_traceback_stays_on_its_line(lines: StringIO) -> None:
    try:
        raise ValueError("no")
    except ValueError:
        log.exception("failed")
    (line,) = logged(lines)
    assert line["exception"].endswith("ValueError: no")


def test_a_name_cannot_forge_a_line_or_speak_to_the_terminal() -> None:
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter())
    try:
        raise ValueError("two\nlines")
    except ValueError:
        told = (
            "docnats",
            logging.INFO,
            "here",
            1,
            "%s",
            ("a\x1b[2J\nINFO \u202eé",),
            sys.exc_info(),
        )
    handler.handle(logging.LogRecord(*told))
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("a\\x1b[2J\\nINFO \\u202eé")
    assert rest[-2:] == ["ValueError: two", "lines"], "a traceback keeps its lines"


def test_a_line_about_a_job_has_its_ids_and_those_after_it_do_not(lines: StringIO) -> None:
    with about_job("b", "j", "7ac3"):
        log.info("begun")
    log.info("idle")
    about, after = logged(lines)
    assert (about["batch"], about["job_id"], about["trace_id"]) == ("b", "j", "7ac3")
    assert "job_id" not in after


async def test_tasks_that_a_job_starts_are_about_it_too_and_jobs_do_not_mix(
    lines: StringIO,
) -> None:
    async def work(job_id: str) -> None:
        with about_job("b", job_id):
            await asyncio.sleep(0)
            await asyncio.create_task(deeper(job_id))

    async def deeper(job_id: str) -> None:
        log.info("%s", job_id)

    await asyncio.gather(*(work(f"j{number}") for number in range(5)))
    assert len(logged(lines)) == 5
    assert all(line["job_id"] == line["message"] for line in logged(lines))


async def test_what_a_worker_logs_of_a_job_has_its_ids(lines: StringIO) -> None:
    world = World(options={"password": "open-sesame"})
    await world.submit()
    assert (await world.work()).state is JobState.DONE
    about = [line for line in logged(lines) if JOB in line["message"]]
    assert {(line["batch"], line["job_id"]) for line in about} == {("b", JOB)}
    assert "open-sesame" not in lines.getvalue()


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_what_opens_an_object_is_blotted_out(formatter: logging.Formatter) -> None:
    """A library put it into an error that is shown with its traceback."""
    try:
        raise OSError(f"cannot connect to {SIGNED}")
    except OSError:
        info = sys.exc_info()
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "lost %s", (SIGNED,), info)
    line = formatter.format(record)
    assert "raw/1.pdf" in line
    assert "***" in line
    assert [secret for secret in SECRETS if secret in line] == []


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("nats://ann:p%40w@h:4222, x", "nats://***@h:4222, x"),
        ("https://token@h/path?q=a@b", "https://***@h/path?q=a@b"),
        ("see http://h:1/a, mail ann@h", "see http://h:1/a, mail ann@h"),
        (
            "x?AWSAccessKeyId=AK&Signature=s%3D&Expires=1",
            "x?AWSAccessKeyId=***&Signature=***&Expires=1",
        ),
    ],
)
def test_credentials_in_urls_are_blotted_out_and_nothing_else(told: str, shown: str) -> None:
    assert without_secrets(told) == shown


@pytest.fixture
def root_logger() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("docnats")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before


@pytest.mark.usefixtures("root_logger")
def test_the_log_on_stderr_can_be_set_up_again(capsys: pytest.CaptureFixture[str]) -> None:
    """As ``docnats worker`` does, which knows its options later than the command line begins."""
    log_to_stderr("text", logging.WARNING)
    log.info("unheard")
    log_to_stderr("json", logging.INFO)
    log.info("heard")
    logging.getLogger("urllib3").info("unheard")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "heard"
