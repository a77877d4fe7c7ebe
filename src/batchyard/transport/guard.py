"""Stands between us and a program that we start: once we are gone, so is the program and everything that it forked.

Run as a script, `python -I -S guard.py LOG MAX_BYTES GRACE_SECONDS PROGRAM ARGUMENT...`, so it needs the standard
library only and costs a few megabytes. Inference servers fork workers that outlive a killed parent and keep the
accelerator's memory; the guard gives the program a process group of its own, adopts what it leaves behind (Linux) and
kills it.

    standard input   its end (also by our own death): SIGTERM, and SIGKILL after the grace; a byte: SIGKILL now
    standard output  one line, the program's process id
    LOG              what the program prints; at MAX_BYTES it becomes LOG.1, and a new one begins
    exit code        the program's, 128 + n where signal n ended it, 127 where it could not be executed
"""

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_STDIN = 0
_CANNOT_EXECUTE = 127
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in linux/prctl.h
_SET_ADOPTS_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER


class Log:
    """A file that is appended to and starts anew when it is full. A full disk costs lines, never the program."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._open()

    def _open(self) -> None:
        self._file = self._path.open("ab", buffering=0)
        self._bytes = self._file.tell()

    def write(self, data: bytes) -> None:
        with suppress(OSError):
            if self._bytes + len(data) > self._max_bytes:
                self._file.close()
                self._path.replace(f"{self._path}.1")
                self._open()
            self._bytes += self._file.write(data)


def main(arguments: Sequence[str]) -> int:
    path, max_bytes, grace_seconds, *words = arguments
    log = Log(Path(path), int(max_bytes))
    _prctl(_SET_ADOPTS_ORPHANS, 1)
    signals = _signals_as_bytes()
    program, output = _launch(words)
    os.write(1, b"%d\n" % program)
    code = _watch(program, output, signals, log, float(grace_seconds))
    _end_the_rest(program)
    _drain(output, log)
    return code


def _signals_as_bytes() -> int:
    """A file to select on: one byte for each child that ends and each signal that asks us to stop."""
    reads, writes = os.pipe()
    os.set_blocking(reads, False)
    os.set_blocking(writes, False)
    signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: None)
    return reads


def _launch(words: Sequence[str]) -> tuple[int, int]:
    """Start the program in a process group of its own; its process id, and what it prints as a file to read."""
    reads, writes = os.pipe()
    guard = os.getpid()
    program = os.fork()
    if program == 0:
        _become(words, writes, guard)
    with suppress(OSError):  # the child does the same; whoever is first
        os.setpgid(program, program)
    os.close(writes)
    os.set_blocking(reads, False)
    return program, reads


def _become(words: Sequence[str], output: int, guard: int) -> None:
    """In the child: turn into the program. Never returns."""
    try:
        os.setpgid(0, 0)
        _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(_CANNOT_EXECUTE)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.execvp(words[0], list(words))  # noqa: S606 - running a program is what this is for
    except OSError as error:
        os.write(2, f"{words[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(_CANNOT_EXECUTE)


def _watch(program: int, output: int, signals: int, log: Log, grace_seconds: float) -> int:
    """Copy output and obey orders until the program has ended; its exit code."""
    sources = [_STDIN, output, signals]
    deadline: float | None = None
    while True:
        patience = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = select.select(sources, [], [], patience)[0]
        if deadline is not None and time.monotonic() >= deadline:  # also where it still prints busily
            _kill(program, signal.SIGKILL)
            deadline = None
        if output in ready and not _copy(output, log):
            sources.remove(output)
        asked = _STDIN in ready
        if asked:
            sources.remove(_STDIN)
            if os.read(_STDIN, 1):
                _kill(program, signal.SIGKILL)
                continue
        if signals in ready:
            asked = bool(set(os.read(signals, 512)) - {signal.SIGCHLD}) or asked
            code = _reap(program)
            if code is not None:
                return code
        if asked:
            _kill(program, signal.SIGTERM)
            deadline = time.monotonic() + grace_seconds


def _reap(program: int) -> int | None:
    """Collect every child that has ended; the program's exit code where it is among them."""
    code = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == program:
                status = os.waitstatus_to_exitcode(ended[1])
                code = status if status >= 0 else 128 - status
    return code


def _end_the_rest(program: int) -> None:
    """Kill what the program left behind: its process group, and on Linux its orphans wherever they went."""
    with suppress(OSError):
        os.killpg(program, signal.SIGKILL)
    with suppress(OSError):
        while True:
            for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                _kill(int(child), signal.SIGKILL)
            os.waitpid(-1, 0)  # ChildProcessError ends it: nobody is left


def _copy(output: int, log: Log) -> bool:
    """Move what can be read now to the log; False at the end."""
    try:
        data = os.read(output, 65536)
    except BlockingIOError:
        return True
    log.write(data)
    return bool(data)


def _drain(output: int, log: Log) -> None:
    with suppress(OSError):
        while data := os.read(output, 65536):
            log.write(data)


def _kill(process: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the process group alone must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
