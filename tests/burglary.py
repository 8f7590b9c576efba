"""What a document does to a parser process that it has taken over."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import socket
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

_PR_GET_DUMPABLE = 3

_kept: list[object] = []


def attempt(deed: Callable[..., object], *args: object) -> str:
    """Return how an attempt ended: ``done``, or the name of the error number."""
    try:
        deed(*args)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    return "done"


def open_socket(family: int, kind: int) -> None:
    socket.socket(family, kind).close()


def write(path: str) -> None:
    Path(path).write_text("mine")


def read(path: str) -> None:
    Path(path).read_bytes()


def empty(path: str) -> None:
    """Empty a file that is opened for reading only."""
    os.close(os.open(path, os.O_RDONLY | os.O_TRUNC))


def remove(path: str) -> None:
    Path(path).unlink()


def link(target: str, folder: str) -> None:
    """Have the worker send another file as the result."""
    (Path(folder) / "words.parquet").symlink_to(target)


def make_named_pipe(folder: str) -> None:
    """Have the worker wait for ever when it opens the result."""
    os.mkfifo(Path(folder) / "pages.parquet")


def read_environment(pid: int) -> None:
    read(f"/proc/{pid}/environ")


def read_memory(pid: int, address: int) -> None:
    """Read a byte of another process."""
    here = ctypes.create_string_buffer(1)
    ours = (ctypes.c_size_t * 2)(ctypes.addressof(here), 1)
    theirs = (ctypes.c_size_t * 2)(address, 1)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.process_vm_readv(pid, ours, 1, theirs, 1, 0) != 1:
        raise OSError(ctypes.get_errno(), "process_vm_readv")


def start_thread() -> None:
    thread = threading.Thread(target=time.sleep, args=(0,))
    thread.start()
    thread.join()


def send_signal(pid: int) -> None:
    os.kill(pid, 0)


def have_signal_sent(pid: int) -> None:
    """Have the kernel send a signal, to end the worker for example, when a pipe can be read."""
    reading, writing = os.pipe()
    try:
        fcntl.fcntl(reading, fcntl.F_SETOWN, pid)
    finally:
        os.close(reading)
        os.close(writing)


def tighten_limits(pid: int) -> None:
    """Set the limits of another process, of processor time for example: that ends it."""
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def slow_down(pid: int) -> None:
    os.sched_setaffinity(pid, os.sched_getaffinity(pid))


def send_datagram(path: str) -> None:
    """Send a message by a socket that was made as one of a pair."""
    ours, _other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.sendto(b"a document", path)


def open_to_all(path: str) -> None:
    Path(path).chmod(0o777)


def open_to_all_by_folder(path: str) -> None:
    """Do it by the call that starts from a folder; one that is not read may be opened so."""
    folder = os.open(Path(path).parent, os.O_PATH)
    try:
        os.chmod(Path(path).name, 0o644, dir_fd=folder)
    finally:
        os.close(folder)


def give_away(path: str) -> None:
    os.chown(path, -1, os.getgid())


def change_times(path: str) -> None:
    os.utime(path, (0, 0))


def label(path: str) -> None:
    os.setxattr(path, "user.label", b"mine")


def share_memory() -> None:
    """Make memory that any process of the user can be given."""
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(0, 1, 0o600)
    if segment < 0:
        raise OSError(ctypes.get_errno(), "shmget")
    libc.shmctl(segment, 0, None)  # IPC_RMID


def become_program_in_memory() -> None:
    """Run a program that no rule about files is asked about."""
    program = os.memfd_create("program")
    os.write(program, Path("/bin/true").read_bytes())
    os.execve(program, ["true"], {})  # noqa: S606 - the point


def call(number: int) -> None:
    """Make a system call whose arguments make no sense."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    if libc.syscall(ctypes.c_long(number), *(ctypes.c_long(-1),) * 6) < 0:
        raise OSError(ctypes.get_errno(), str(number))


def start_process() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def become_program() -> None:
    os.execv(sys.executable, [sys.executable, "-c", ""])  # noqa: S606 - the point


def descriptors() -> dict[int, str]:
    """Return what is behind each open file descriptor."""
    found = {}
    for entry in tuple(Path("/proc/self/fd").iterdir()):
        try:
            found[int(entry.name)] = str(entry.readlink())
        except FileNotFoundError:  # by which the list was read
            continue
    return found


def environment() -> dict[str, str]:
    return dict(os.environ)


def is_dumpable() -> bool:
    return bool(ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0))


def write_far(path: str, size: int) -> None:
    """Make a file of this size, most of which is a hole."""
    with Path(path).open("wb") as file:
        os.pwrite(file.fileno(), b"x", size - 1)


def open_many(count: int) -> int:
    """Open a file so many times and keep all open."""
    _kept.extend([os.dup(0) for _ in range(count)])
    return count


def lift_limit(kind: int) -> None:
    try:
        resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except ValueError as error:
        raise PermissionError(errno.EPERM, str(error)) from error


def processor_time_left(burn: float) -> float:
    """Work for some seconds; return those left before the kernel ends this process."""
    end = time.process_time() + burn
    while time.process_time() < end:
        pass
    return resource.getrlimit(resource.RLIMIT_CPU)[0] - time.process_time()


def work_for_ever() -> None:
    while True:
        pass


def temporary_folder() -> tuple[str, int]:
    """Return where temporary files go, and its mode."""
    folder = tempfile.mkdtemp()
    (Path(folder) / "note").write_text("private")
    parent = Path(folder).parent
    return folder, stat.S_IMODE(parent.stat().st_mode)


class Trojan:
    """Runs a function in whoever unpickles it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return write, (self._path,)


def send_trojan(path: str) -> Trojan:
    return Trojan(path)


def send_too_much(size: int) -> bytes:
    return bytes(size)
