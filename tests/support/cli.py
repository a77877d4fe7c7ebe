"""The installed command as a user has it: a process of its own, in a folder of its own."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

COMMAND = (sys.executable, "-m", "batchyard")
TIMEOUT_SECONDS = 60.0

PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
UNWANTED = (*PROXIES, "OPENAI_API_KEY", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")
"""What the environment of a developer may hold and a test must not see; beside everything of our own."""


@dataclass(frozen=True)
class Done:
    """A command that has ended; a code below zero is the signal that killed it."""

    code: int
    stdout: bytes
    stderr: str


class Running:
    """A command under way. Its standard error is read as it comes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._said = ""
        self._heard = threading.Condition()
        self._out = b""
        self._readers = [threading.Thread(target=self._read_err), threading.Thread(target=self._read_out)]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def said(self) -> str:
        """What stood on standard error until now."""
        with self._heard:
            return self._said

    def wait_for(self, text: str, timeout: float = TIMEOUT_SECONDS) -> None:
        """Return once the text stood on standard error; fail with all that was said where it never does."""
        with self._heard:
            if not self._heard.wait_for(lambda: text in self._said, timeout):
                raise AssertionError(f"{text!r} was never said; said was:\n{self._said}")

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def finish(self, timeout: float = TIMEOUT_SECONDS) -> Done:
        """Wait for the end."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s; said was:\n{self._said}") from None
        for reader in self._readers:
            reader.join()
        return Done(code, self._out, self._said)

    def end(self) -> None:
        """Leave nothing behind."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _read_err(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._heard:
                self._said += line.decode()
                self._heard.notify_all()

    def _read_out(self) -> None:
        assert self._process.stdout is not None
        self._out = self._process.stdout.read()


@dataclass
class Cli:
    """Runs commands in `folder`."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])

    def run(self, *words: str, stdin: bytes = b"", timeout: float = TIMEOUT_SECONDS) -> Done:
        """Run to the end."""
        done = subprocess.run(
            [*COMMAND, *words], cwd=self.folder, env=self._all(), input=stdin, capture_output=True, timeout=timeout
        )
        return Done(done.returncode, done.stdout, done.stderr.decode())

    @contextmanager
    def start(self, *words: str) -> Generator[Running]:
        """A command under way; it is killed at the end of the block if it still is."""
        process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=self.folder,
            env=self._all(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running = Running(process)
        try:
            yield running
        finally:
            running.end()

    def path(self, name: str) -> Path:
        return self.folder / name

    def _all(self) -> Mapping[str, str]:
        """The developer's environment without what would change a run, then the test's own."""
        kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
        kept = {name: value for name, value in kept.items() if not name.startswith(("BATCHYARD_", "_BATCHYARD"))}
        return kept | self.environment
