"""What a user may hand in as documents, made into a plain list.

A path, a glob, a directory, an ``s3://`` URI or prefix, ``(name, bytes)``, a mapping of names
to bytes, or any list, Series or generator of these.
"""

from __future__ import annotations

import glob
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from docnats.errors import SourceError
from docnats.storage import Storage
from docnats.table.quantities import named

__all__ = ["Source", "Sources", "expand_sources"]

Sources: TypeAlias = (
    str
    | os.PathLike[str]
    | tuple[str, bytes]
    | Mapping[str, bytes]
    | Iterable[str | os.PathLike[str] | tuple[str, bytes]]
)


@dataclass(frozen=True, slots=True)
class Source:
    """One document to submit: exactly one of ``path``, ``data`` and ``key`` is set.

    Attributes
    ----------
    name : str
        What the user knows it by: the column ``filename``.
    size : int
        Bytes.
    bucket, key : str
        Where it already is in S3; it is then processed in place, without a copy.
    """

    name: str
    size: int
    path: Path | None = None
    data: bytes | None = field(default=None, repr=False)
    bucket: str | None = None
    key: str | None = None


async def expand_sources(sources: Sources, storage: Storage) -> list[Source]:
    """Return the documents that some sources stand for, in their order.

    Local files are named by their path below the folder that all of them share, so that
    ``a/x.pdf`` and ``b/x.pdf`` stay apart. The files of a directory are its ``*.pdf`` at any
    depth, sorted.

    Raises
    ------
    SourceError
        A file is missing (all missing ones are named), a directory or a pattern holds no
        documents, or there is nothing at all. Nothing was uploaded then.
    """
    found: list[Source] = []
    missing: list[str] = []
    for position, item in enumerate(_items(sources)):
        try:
            found += [source async for source in _expand_one(item, position, storage)]
        except FileNotFoundError as error:
            missing.append(str(error.filename or item))
    if missing:
        raise SourceError(f"no such file: {named(missing)}. Nothing was uploaded")
    if not found:
        raise SourceError("there is nothing to submit: the list of sources is empty")
    return _named_below_common_folder(found)


def _items(sources: Sources) -> Iterator[object]:
    if isinstance(sources, str | os.PathLike):
        yield sources
    elif isinstance(sources, bytes | bytearray):
        raise SourceError('give bytes a name: submit_many([("report.pdf", data)])')
    elif hasattr(sources, "columns"):
        raise SourceError('give one column of the DataFrame: submit_many(frame["path"])')
    elif isinstance(sources, Mapping):
        yield from sources.items()
    elif _is_named_bytes(sources):
        yield sources
    elif isinstance(sources, Iterable):
        yield from sources
    else:
        raise SourceError(f"cannot submit a {type(sources).__name__}; {_ACCEPTED}")


def _is_named_bytes(item: object) -> bool:
    return (
        isinstance(item, tuple)
        and len(item) == 2
        and isinstance(item[0], str)
        and isinstance(item[1], bytes | bytearray | memoryview)
    )


async def _expand_one(item: object, position: int, storage: Storage) -> AsyncIterator[Source]:
    if isinstance(item, tuple) and _is_named_bytes(item):
        name, data = item
        yield Source(name=name, size=len(data), data=bytes(data))
    elif isinstance(item, str) and item.startswith("s3://"):
        async for source in _in_bucket(item, storage):
            yield source
    elif isinstance(item, str | os.PathLike):
        for path in _local_files(os.fspath(item)):
            yield Source(name=str(path), size=path.stat().st_size, path=path)
    else:
        raise SourceError(
            f"source {position} is a {type(item).__name__} ({item!r:.60}); {_ACCEPTED}"
        )


def _local_files(text: str) -> list[Path]:
    path = Path(text).expanduser()
    if path.is_dir():
        files = [p for p in sorted(path.rglob("*")) if p.suffix.lower() == ".pdf" and p.is_file()]
        if not files:
            raise SourceError(
                f"the directory {text} holds no *.pdf, at any depth. Nothing was uploaded"
            )
        return files
    if not path.exists() and glob.has_magic(text):
        files = [Path(p) for p in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - absolute patterns too
        files = [p for p in files if p.is_file()]
        if not files:
            raise SourceError(f"no file matches {text}. Nothing was uploaded")
        return files
    if not path.is_file():
        raise FileNotFoundError(None, "no such file", text)
    return [path]


async def _in_bucket(uri: str, storage: Storage) -> AsyncIterator[Source]:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise SourceError(f"{uri} names no bucket: write s3://bucket/prefix")
    if bucket not in storage.readable:
        raise SourceError(
            f"{uri} is outside of the bucket {storage.bucket}, and workers read no others unless "
            "told to: name it in S3_READ_BUCKETS, here and on the workers. Nothing was submitted"
        )
    empty = True
    async for stored in storage.list(prefix, bucket=bucket):
        if stored.key == prefix or stored.key.lower().endswith(".pdf"):
            empty = False
            name = f"s3://{bucket}/{stored.key}"
            yield Source(name=name, size=stored.size, bucket=bucket, key=stored.key)
    if empty:
        raise SourceError(f"there is no PDF at {uri}. Nothing was submitted")


def _named_below_common_folder(sources: list[Source]) -> list[Source]:
    paths = [source.path.absolute() for source in sources if source.path]
    if not paths:
        return sources
    common = os.path.commonpath([path.parent for path in paths])
    return [
        replace(source, name=os.path.relpath(source.path.absolute(), common))
        if source.path
        else source
        for source in sources
    ]


_ACCEPTED = (
    "give paths, globs, directories, s3:// URIs or (name, bytes) pairs, or a list or Series of them"
)
