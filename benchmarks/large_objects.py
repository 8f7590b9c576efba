"""A large object to S3 and back: ``python -m benchmarks.large_objects``."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import arguments, finish
from benchmarks.outside import Missing, outside, python_with
from benchmarks.rounds import Side, print_rounds, run_rounds
from docnats.stack import LocalStack
from docnats.storage import S3Storage

OURS = "docnats"
KEY = "raw/large"

Copy = Callable[[list[str]], object]
"""Does ``["put", path]`` or ``["get", path]`` with the one object."""


def main() -> int:
    """Let every client upload the same file in turn, then download it."""
    options = _options()
    versions: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="docnats-benchmark-") as name, ExitStack() as exits:
        folder = Path(name)
        source = write_file(folder / "source", options.megabytes)
        stack = exits.enter_context(LocalStack(workers=0, embedded=True))
        server = next(process.pid for process in stack.processes() if process.name == "s3")
        sides: dict[str, Side] = {}
        for client, start in CLIENTS.items():
            try:
                side, found = exits.enter_context(start(stack))
            except Missing as reason:
                print(f"skipped: {client}: {reason}")
                continue
            sides[client] = Side(side.run, (*side.processes, server))
            versions |= found
        results = {}
        for what, path in ("put", source), ("get", folder / "copy"):
            results[what] = run_rounds(sides, [what, str(path)], options.megabytes, options.rounds)
        assert source.stat().st_size == (folder / "copy").stat().st_size
    for what, found in results.items():
        print(f"\n== {what}")
        print_rounds(found, "MB", OURS)
    finish(options.json, {"results": results}, versions=versions)
    return 0


def _options() -> Any:
    parser = arguments("large_objects", __doc__, rounds=3)
    parser.add_argument("--megabytes", type=int, default=500)
    return parser.parse_args()


def write_file(path: Path, megabytes: int) -> Path:
    """Write what cannot be compressed."""
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1_000_000))
    return path


@contextmanager
def docnats(stack: LocalStack) -> Iterator[tuple[Side, dict[str, str]]]:
    """Use docnats's storage, in this process."""
    with asyncio.Runner() as runner:
        storage = runner.run(_opened(S3Storage(stack.s3)))

        def copy(work: list[str]) -> None:
            verb = storage.put_file if work[0] == "put" else storage.get_file
            runner.run(verb(KEY, Path(work[1])))

        yield Side(copy, (os.getpid(),)), {}
        runner.run(storage.__aexit__(None, None, None))


async def _opened(storage: S3Storage) -> S3Storage:
    await storage.__aenter__()
    await storage.ensure_bucket()
    return storage


@contextmanager
def aws(stack: LocalStack) -> Iterator[tuple[Side, dict[str, str]]]:
    """Use ``aws s3 cp``; its process starts anew each time, and that counts."""
    program = python_with(["awscli"]).parent / "aws"
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    yield (
        _command([program, "s3", "cp", "--only-show-errors"], stack),
        {"aws": version.stdout.split()[0]},
    )


@contextmanager
def s5cmd(stack: LocalStack) -> Iterator[tuple[Side, dict[str, str]]]:
    """Use ``s5cmd cp``, if it is installed."""
    program = shutil.which("s5cmd")
    if program is None:
        raise Missing("not on PATH")
    version = subprocess.run([program, "version"], capture_output=True, text=True, check=True)
    yield _command([program, "cp"], stack), {"s5cmd": version.stdout.strip()}


def _command(command: list[str | Path], stack: LocalStack) -> Side:
    variables = stack.environment
    endpoint = variables["S3_ENDPOINT_URL"]
    given = os.environ | variables | {"AWS_ENDPOINT_URL": endpoint, "S3_ENDPOINT_URL": endpoint}
    given.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    remote = f"s3://{stack.s3.bucket_name}/{KEY}"

    def copy(work: list[str]) -> None:
        ends = [work[1], remote] if work[0] == "put" else [remote, work[1]]
        subprocess.run([*command, *ends], env=given, check=True)

    return Side(copy, (os.getpid(),))


def obstore(stack: LocalStack) -> AbstractContextManager[tuple[Side, dict[str, str]]]:
    """Use obstore, in a process of its own."""
    secret = stack.s3.aws_secret_access_key
    assert secret
    variables = {"AWS_ACCESS_KEY_ID": stack.s3.aws_access_key_id or ""}
    os.environ.update(variables | {"AWS_SECRET_ACCESS_KEY": secret.get_secret_value()})
    return outside("with_obstore", ["obstore"], stack.s3.endpoint_url, stack.s3.bucket_name, KEY)


CLIENTS = {OURS: docnats, "aws s3 cp": aws, "obstore": obstore, "s5cmd": s5cmd}


if __name__ == "__main__":
    sys.exit(main())
