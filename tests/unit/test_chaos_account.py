"""The account of a chaos run notices what it is there to notice."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.chaos.checks import check_leftovers, check_logs
from benchmarks.chaos.documents import Document, make_documents
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.reading import read_result
from benchmarks.chaos.report import Report
from benchmarks.chaos.schedule import FaultKind, plan_faults
from docnats.config import S3Config
from docnats.errors import ErrorType
from docnats.models import JobRecord, JobState, utc_now
from docnats.names import PAGES, WORDS
from docnats.parsing import ParseOptions, parse_range
from docnats.stack import LocalStack
from tests.pdfs import HTML_PAGE, text_pdf
from tests.waiting import eventually


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Of one batch: a PDF of three pages and a page of HTML."""
    folder = tmp_path_factory.mktemp("documents")
    contents = {"good.pdf": text_pdf(3), "bad.pdf": HTML_PAGE}
    errors = {"bad.pdf": ErrorType.NOT_A_PDF}
    documents = []
    for name, data in contents.items():
        path = folder / name
        path.write_bytes(data)
        documents.append(Document(path, f"digest of {name}", len(data), errors.get(name)))
    return Ledger([documents])


def row(name: str, **fields: object) -> JobRecord:
    good = name == "good.pdf"
    record = JobRecord(
        job_id=f"job-{name[:4].strip('.')}",
        batch="chaos-0",
        filename=name,
        state=JobState.DONE if good else JobState.FAILED,
        error_type=None if good else ErrorType.NOT_A_PDF,
        s3_bucket="documents",
        s3_key="raw/x.pdf",
        sha256=f"digest of {name}",
        pages=3 if good else None,
        pages_failed=0 if good else None,
        submitted_at=utc_now(),
    )
    return record.but(**fields)


ELSEWHERE = S3Config(endpoint_url="http://127.0.0.1:9")
GOOD, BAD = row("good.pdf"), row("bad.pdf")


class TestRows:
    def test_the_rows_of_an_undisturbed_run_are_right(self, ledger: Ledger) -> None:
        assert list(ledger.check_rows([GOOD, BAD])) == []

    @pytest.mark.parametrize(
        ("rows", "promise"),
        [
            ([GOOD], "one row a file"),
            ([GOOD, BAD, BAD.but(job_id="again")], "one row a file"),
            ([GOOD, BAD, GOOD.but(filename="other.pdf")], "one row a file"),
            ([GOOD, BAD.but(state=JobState.RUNNING)], "every row is terminal"),
            ([GOOD, BAD.but(error_type=ErrorType.CRASHED)], "bad files fail as they should"),
            (
                [GOOD, BAD.but(state=JobState.DONE, error_type=None)],
                "bad files fail as they should",
            ),
            ([GOOD.but(state=JobState.CANCELLED), BAD], "good files are done"),
            ([GOOD.but(pages_failed=1), BAD], "good files are read whole"),
            ([GOOD.but(pages=2), BAD], "good files are read whole"),
            ([GOOD.but(sha256="another"), BAD], "rows have the document's digest"),
        ],
    )
    def test_a_row_that_is_wrong_is_noticed(
        self, ledger: Ledger, rows: Sequence[JobRecord], promise: str
    ) -> None:
        assert [violation.promise for violation in ledger.check_rows(rows)] == [promise]


class TestResults:
    @pytest.mark.parametrize(
        ("data", "difference"),
        [
            (text_pdf(3), None),
            (text_pdf(2), "2 pages instead of 3"),
            (text_pdf(3, subject="another house"), "other text on pages [1, 2, 3], 3 in all"),
        ],
    )
    def test_a_result_of_another_document_is_noticed(
        self, ledger: Ledger, tmp_path: Path, data: bytes, difference: str | None
    ) -> None:
        source = tmp_path / "document.pdf"
        source.write_bytes(data)
        parse_range(str(source), str(tmp_path), 1, sys.maxsize, ParseOptions())
        parts = ((tmp_path / part).read_bytes() for part in (PAGES, WORDS))
        found = [violation.what for violation in ledger.check_reading(GOOD, read_result(*parts))]
        assert [what.partition("attempt 0: ")[2] for what in found] == [difference][: len(found)]
        assert bool(found) == bool(difference)


class TestPlan:
    def test_a_seed_stands_for_the_same_documents_and_faults(self, tmp_path: Path) -> None:
        runs = []
        for name in ("one", "two"):
            documents = make_documents(tmp_path / name, 20, seed=7)
            digests = [document.sha256 for document in documents]
            runs.append((digests, plan_faults(200, 2, seed=7)))
        assert runs[0] == runs[1]

    def test_every_kind_of_fault_comes_often_enough_and_before_the_end(self) -> None:
        faults = plan_faults(200, 2, seed=1)
        assert all(sum(fault.kind is kind for fault in faults) >= 2 for kind in FaultKind)
        assert all(0 < fault.at < 180 for fault in faults)

    def test_a_run_in_which_a_fault_did_not_happen_proves_nothing(self) -> None:
        report = Report(seed=1, jobs=1, least=1)
        report.count_faults()
        assert len(report.violations) == len(FaultKind)


class TestLeftovers:
    def test_a_process_that_knows_of_the_run_and_a_file_are_noticed(self, tmp_path: Path) -> None:
        temporary = tmp_path / "tmp"
        temporary.mkdir()
        with LocalStack(home=tmp_path / "home", workers=0, s3=ELSEWHERE):
            found = {violation.promise for violation in check_leftovers(tmp_path)}
            assert found == {"no process is left"}
        # Its supervisor lets go of its users a moment before it ends itself.
        eventually(lambda: not list(check_leftovers(tmp_path)), what="all processes have ended")
        (temporary / "docnats-job-x").touch()
        (left,) = check_leftovers(tmp_path)
        assert left.what == str(temporary / "docnats-job-x")

    def test_a_traceback_in_a_log_is_noticed(self, tmp_path: Path) -> None:
        logs = tmp_path / "home" / "logs"
        logs.mkdir(parents=True)
        (tmp_path / "client.log").write_text("INFO all is well\n")
        (logs / "worker-1.log").write_text("INFO at work\nTraceback (most recent call last):\n")
        (found,) = check_logs(tmp_path)
        assert found.what.startswith("worker-1.log:2")

    def test_what_aiohttp_leaves_to_nobody_is_foreseen_and_nothing_beside_it(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "client.log").write_text(
            "10:00 ERROR   docnats: b\n"
            "10:00 ERROR   asyncio: Task exception: coro=<ClientRequest.write_bytes() done\n"
            "Traceback (most recent call last):\n"
            '  File "aiohttp/client_reqrep.py", line 1580, in write_bytes\n'
            "Traceback (most recent call last):\n"
            '  File "docnats/worker/job.py", line 1, in work\n'
        )
        first, second = check_logs(tmp_path)
        assert first.what.startswith("client.log:1")
        assert second.what.startswith("client.log:5")
