"""What a user may hand in as documents."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from docnats.errors import SourceError
from docnats.service.sources import Sources, expand_sources
from tests.fakes.storage import FakeStorage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a/x.pdf", "b/x.pdf", "b/deep/y.PDF", "b/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%PDF-1.7 " + name.encode())
    return tmp_path


async def names(sources: Sources) -> list[str]:
    return [source.name for source in await expand_sources(sources, FakeStorage())]


async def test_a_directory_stands_for_its_pdfs_at_any_depth(folder: Path) -> None:
    assert await names(folder) == ["a/x.pdf", "b/deep/y.PDF", "b/x.pdf"]


async def test_a_single_file_is_named_by_its_last_part(folder: Path) -> None:
    assert await names(folder / "a" / "x.pdf") == ["x.pdf"]


async def test_a_glob_stands_for_the_files_it_matches(folder: Path) -> None:
    assert await names(f"{folder}/**/x.pdf") == ["a/x.pdf", "b/x.pdf"]


async def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path) -> None:
    (folder / "report[1].pdf").write_bytes(b"%PDF")
    assert await names(str(folder / "report[1].pdf")) == ["report[1].pdf"]


async def test_a_list_keeps_its_order_and_its_repetitions(folder: Path) -> None:
    paths = [folder / "b/x.pdf", str(folder / "a/x.pdf"), folder / "b/x.pdf"]
    assert await names(paths) == ["b/x.pdf", "a/x.pdf", "b/x.pdf"]


async def test_a_series_and_a_generator_are_lists_too(folder: Path) -> None:
    paths = [str(folder / "a/x.pdf"), str(folder / "b/x.pdf")]
    assert await names(pd.Series(paths, index=[7, 3])) == ["a/x.pdf", "b/x.pdf"]
    assert await names(path for path in paths) == ["a/x.pdf", "b/x.pdf"]


async def test_named_bytes_come_alone_in_lists_and_in_mappings() -> None:
    assert await names(("one.pdf", b"1")) == ["one.pdf"]
    assert await names([("one.pdf", b"1"), ("two.pdf", b"22")]) == ["one.pdf", "two.pdf"]
    (source,) = await expand_sources({"three.pdf": b"333"}, FakeStorage())
    assert (source.name, source.size, source.data) == ("three.pdf", 3, b"333")


async def test_an_s3_prefix_stands_for_the_pdfs_below_it() -> None:
    storage = FakeStorage()
    await storage.ensure_bucket()
    for key in ("in/1.pdf", "in/2.pdf", "in/readme.md", "other/3.pdf"):
        await storage.put_bytes(key, b"%PDF")
    found = await expand_sources(f"s3://{storage.bucket}/in/", storage)
    assert [(source.bucket, source.key) for source in found] == [
        (storage.bucket, "in/1.pdf"),
        (storage.bucket, "in/2.pdf"),
    ]


async def test_all_missing_files_are_named(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"no such file: .*p\.pdf, .*q\.pdf"):
        await names([folder / "p.pdf", folder / "a/x.pdf", folder / "q.pdf"])


async def test_many_missing_files_are_counted(folder: Path) -> None:
    with pytest.raises(SourceError, match="and 15 more"):
        await names([folder / f"{i}.pdf" for i in range(20)])


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], "nothing to submit"),
        (b"%PDF", "give bytes a name"),
        (42, "cannot submit a int"),
        (["a.pdf", None], "source 1 is a NoneType"),
        (pd.DataFrame({"path": ["a.pdf"]}), "one column"),
        ("s3:///key", "names no bucket"),
        ("s3://private/a.pdf", "S3_READ_BUCKETS"),
        ("nowhere/*.pdf", "no file matches"),
    ],
)
async def test_what_cannot_be_submitted_is_explained(sources: Sources, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        await names(sources)


async def test_a_directory_without_pdfs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no \*\.pdf"):
        await names(tmp_path)
