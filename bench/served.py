"""A server in a process of its own, seen from outside: calls, processor time, memory, and what it asks of the disk."""

import mmap
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
from msgspec import Struct

from bench.command import HERE, cores

CHAT = "/v1/chat/completions"
START_SECONDS = 60
_BOUNDARY = "bench-bench-bench"


class Used(Struct, frozen=True, kw_only=True):
    """What a server has used so far, with its children. `peak_bytes` is resident memory of the server itself."""

    wall_seconds: float
    cpu_seconds: float
    syncs: int
    opens: int
    renames: int
    removes: int
    folders: int
    peak_bytes: int = 0

    def since(self, before: "Used") -> "Used":
        """What was used between two looks; the peak is the later one's."""
        fields = {name: getattr(self, name) - getattr(before, name) for name in self.__struct_fields__}
        return Used(**fields | {"peak_bytes": self.peak_bytes})


class Refused(Exception):
    """A call was answered with an error."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body.decode(errors='replace')}")
        self.status = status


class Caller:
    """One connection, kept alive. Blocking, and as lean as can be: it measures others."""

    def __init__(self, port: int, secret: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._secret = secret

    def call(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
        """The body of the answer. Raises Refused."""
        head = f"{method} {path} HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {self._secret}\r\n"
        if body:
            head += f"content-type: {kind}\r\ncontent-length: {len(body)}\r\n"
        self._socket.sendall(head.encode() + b"\r\n" + body)
        return self._answer()

    def json(self, method: str, path: str, value: object = None) -> Any:
        body = b"" if value is None else msgspec.json.encode(value)
        return msgspec.json.decode(self.call(method, path, body))

    def upload(self, content: bytes) -> str:
        """The id of a new input file."""
        parts = (
            f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
        )
        body = parts.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
        answer = self.call("POST", "/v1/files", body, f"multipart/form-data; boundary={_BOUNDARY}")
        return msgspec.json.decode(answer)["id"]

    def create(self, file: str) -> str:
        """The id of a new batch."""
        asked = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
        return self.json("POST", "/v1/batches", asked)["id"]

    def batch(self, id: str) -> dict[str, Any]:
        return self.json("GET", f"/v1/batches/{id}")

    def close(self) -> None:
        self._socket.close()

    def _answer(self) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        status, length = int(head[9:12]), 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        pieces = [body]
        left = length - len(body)
        while left > 0:
            pieces.append(self._more())
            left -= len(pieces[-1])
        if status >= 400:
            raise Refused(status, b"".join(pieces))
        return b"".join(pieces)

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server has closed")
        return data


class Served:
    """A running `batchyard serve` with the echo engine. Made by `served`."""

    def __init__(self, process: "subprocess.Popen[bytes]", folder: Path, port: int, counts: mmap.mmap | None) -> None:
        self.folder = folder
        self.secret = (folder / "admin.key").read_text().strip()
        self._process = process
        self._port = port
        self._counts = counts

    def caller(self, secret: str | None = None) -> Caller:
        return Caller(self._port, secret or self.secret)

    def used(self) -> Used:
        root = psutil.Process(self._process.pid)
        times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
        counted = memoryview(self._counts).cast("Q") if self._counts is not None else [0] * 5
        return Used(
            wall_seconds=time.perf_counter(),
            cpu_seconds=sum(each.user + each.system for each in times)
            + times[0].children_user
            + times[0].children_system,
            syncs=counted[0],
            opens=counted[1],
            renames=counted[2],
            removes=counted[3],
            folders=counted[4],
            peak_bytes=_peak_bytes(self._process.pid),
        )


@contextmanager
def served(folder: Path, *flags: str, engine: Sequence[str] = ("--engine", "echo")) -> Generator[Served]:
    """Serve an engine from a fresh data folder below `folder`, on the first core."""
    data, log = folder / "data", folder / "server.log"
    environment, counts = _counting(folder)
    words = [sys.executable, "-m", "batchyard", "serve", *engine, "--port", "0", "--data-dir", str(data)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*words, *flags],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            preexec_fn=lambda: os.sched_setaffinity(0, {cores()[0]}),
        )
    try:
        yield Served(process, data, _port(process, log), counts)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    said = log.read_text()
    if process.returncode or "Traceback" in said or "WARNING" in said:
        print(said, file=sys.stderr)


def _counting(folder: Path) -> tuple[dict[str, str], mmap.mmap | None]:
    """What lets a server's calls of the file system be counted; nothing where that is not possible."""
    if sys.platform != "linux":
        return {}, None
    library, counted = folder / "count_calls.so", folder / "counts"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, HERE / "count_calls.c", "-ldl"], check=True)
    counted.write_bytes(bytes(40))
    with counted.open("r+b") as file:
        return {"LD_PRELOAD": str(library), "COUNT_CALLS": str(counted)}, mmap.mmap(file.fileno(), 40)


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    ends = time.perf_counter() + START_SECONDS
    while time.perf_counter() < ends and process.poll() is None:
        said = log.read_text()
        found = re.search(r"Listening on http://\S+:(\d+)", said)
        if found and "Ready:" in said:
            return int(found[1])
        time.sleep(0.05)
    raise RuntimeError(log.read_text())


def _peak_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return 0
