"""What a large batch costs through the API: the real server in a process of its own, a plain client over a socket.

    python -m bench.api [--gigabytes 1] [--line-bytes 2000] [--folder DIR] [--no-kill]

Sends a batch file while it is made, creates the batch, kills the server half way through it, starts it again, and reads
the output. Tells at each step what it took in time, in processor time of the server, and in memory of it and of its
children, what calls for a status took meanwhile, and at which rate the disk writes by itself.
"""

import argparse
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from bench.command import BATCHYARD, HERE

GB = 1_000_000_000
MB = 1_000_000
BLOCK_LINES = 500
LINE_BYTES = 2000
MARK = b"@BLOCK@@"
TICKS = os.sysconf("SC_CLK_TCK")
LOOK_SECONDS = 0.05
WORDS = "alpha beta gamma delta model token batch prefix latency data query movie review the of and to in"
BOUNDARY = "----one-file-in-a-form"
FORM = f"content-type: multipart/form-data; boundary={BOUNDARY}"
TERMINAL = frozenset({"completed", "failed", "expired", "cancelled"})


class Step(Struct, frozen=True, kw_only=True):
    """One step: its time, what the server and its children spent in it, and status calls meanwhile."""

    name: str
    seconds: float
    bytes: int = 0
    server_cpu: float = 0.0
    children_cpu: float = 0.0
    calls: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.bytes / self.seconds if self.seconds else 0.0

    @property
    def cpu_per_gb(self) -> float:
        return self.server_cpu / (self.bytes / GB) if self.bytes else 0.0


class Measured(Struct, kw_only=True):
    """A whole passage. Peaks are of resident memory; `children` is the highest of one child and `together` of all."""

    lines: int = 0
    input_bytes: int = 0
    disk_rate: float = 0.0
    steps: dict[str, Step] = msgspec.field(default_factory=dict[str, Step])
    create_seconds: float = 0.0
    in_progress_seconds: float = 0.0
    listening_seconds: float | None = None
    going_on_seconds: float | None = None
    server_peak: int = 0
    child_peak: int = 0
    together_peak: int = 0
    output_lines: int = 0
    output_bytes: int = 0
    ranges_agree: bool = False


class Server:
    """`batchyard serve` with the echo engine, on a data folder."""

    def __init__(self, folder: Path) -> None:
        self.began = time.perf_counter()
        log = folder / "serve.log"
        with log.open("wb") as said:
            words = [*BATCHYARD, "serve", "--engine", "echo", "--model", "null", "--port", "0"]
            self._process = subprocess.Popen([*words, "--data-dir", folder / "data"], stderr=said, stdout=said)
        self.port = int(_wait(lambda: _found(log, rb"Listening on http://[\d.]+:(\d+)")))
        self.listening_seconds = time.perf_counter() - self.began
        _wait(lambda: _found(log, b"(Ready)"))
        self.key = (folder / "data" / "admin.key").read_text().strip()
        self.log = log
        self.peak = self.child_peak = self.together_peak = 0
        self._children_cpu: dict[int, float] = {}
        self._ended = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)
        self._looking.start()

    def cpu(self) -> float:
        return cpu_of(self._process.pid)

    def children_cpu(self) -> float:
        return sum(self._children_cpu.values())

    def kill(self) -> None:
        self._process.kill()
        self._leave()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._leave()

    def call(self, method: str, path: str, value: object = None) -> Any:
        """One call with JSON in and out."""
        body = b"" if value is None else json.dumps(value).encode()
        with self.connect() as line:
            line.sendall(self.head(method, path, len(body)) + body)
            return json.loads(b"".join(_body(line)))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port))

    def head(self, method: str, path: str, length: int, *fields: str) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "host: bench", f"authorization: Bearer {self.key}", *fields]
        return "\r\n".join([*lines, f"content-length: {length}", "connection: close", "", ""]).encode()

    def _leave(self) -> None:
        self._process.wait(60)
        self._ended.set()
        self._looking.join()

    def _look(self) -> None:
        """Note peaks of memory, and what children spend, which may end at any time."""
        while not self._ended.wait(LOOK_SECONDS):
            children = _children(self._process.pid)
            self.peak = max(self.peak, _memory(self._process.pid, "VmHWM"))
            self.child_peak = max([self.child_peak, *(_memory(child, "VmHWM") for child in children)])
            now = [_memory(pid, "VmRSS") for pid in (self._process.pid, *children)]
            self.together_peak = max(self.together_peak, sum(now))
            for child in children:
                self._children_cpu[child] = max(self._children_cpu.get(child, 0.0), cpu_of(child))


class Bench:
    """The passage, step by step."""

    def __init__(self, folder: Path, lines: int, line_bytes: int) -> None:
        self._folder = folder
        self._blocks = lines // BLOCK_LINES
        self._block = make_block(line_bytes)
        self.measured = Measured(lines=self._blocks * BLOCK_LINES, input_bytes=self._blocks * len(self._block))
        self._server = Server(folder)
        self._small = self._small_batch()

    def run(self, *, kill: bool) -> Measured:
        measured = self.measured
        measured.disk_rate = disk_rate(self._folder)
        file = self._upload()
        batch = self._create(file)
        if kill:
            self._wait_for(batch, lambda each: each["request_counts"]["completed"] >= measured.lines // 2, "half")
            self._kill(batch)
        ended = self._wait_for(batch, lambda each: each["status"] in TERMINAL, "rest")
        assert ended["status"] == "completed", ended
        self._download(ended["output_file_id"])
        self._note_peaks()
        return measured

    def close(self) -> None:
        self._server.kill()

    def blocks(self) -> Iterator[bytes]:
        """The bytes of the file."""
        for number in range(self._blocks):
            yield self._block.replace(MARK, b"%08d" % number)

    def upload(self, source: Path | None = None, rate: float | None = None) -> Step:
        """Send the file, at so many bytes a second at most, and forget it once it is kept.

        Where it lies at `source` already, the system sends it from there: the sender takes next to no processor.
        """
        self._server.call("DELETE", f"/v1/files/{self._upload(source, rate)}")
        return self.measured.steps["upload"]

    def _upload(self, source: Path | None = None, rate: float | None = None) -> str:
        size, answer = self.measured.input_bytes, dict[str, Any]()

        def send() -> int:
            start, end = _form("batch")
            with self._server.connect() as line:
                length = len(start) + size + len(end)
                line.sendall(self._server.head("POST", "/v1/files", length, FORM) + start)
                if source is None:
                    _send(line, self.blocks(), rate)
                else:
                    send_file(line, source)
                line.sendall(end)
                answer.update(json.loads(b"".join(_body(line))))
            return size

        self._step("upload", self._small, send)
        assert answer.get("bytes") == size, answer
        return answer["id"]

    def _small_batch(self) -> str:
        """The path of a batch of one line, for whoever asks how it is."""
        lines = make_block(LINE_BYTES)
        start, end = _form("batch")
        body = start + lines[: lines.index(b"\n") + 1] + end
        with self._server.connect() as line:
            line.sendall(self._server.head("POST", "/v1/files", len(body), FORM) + body)
            file = json.loads(b"".join(_body(line)))
        asked = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        return f"/v1/batches/{self._server.call('POST', '/v1/batches', asked)['id']}"

    def _create(self, file: str) -> str:
        began = time.perf_counter()
        asked = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        batch = self._server.call("POST", "/v1/batches", asked)
        self.measured.create_seconds = time.perf_counter() - began
        self._wait_for(batch["id"], lambda each: each["status"] != "validating", "validate")
        self.measured.in_progress_seconds = time.perf_counter() - began
        return batch["id"]

    def _wait_for(self, batch: str, reached: Callable[[Any], bool], name: str) -> Any:
        found: dict[str, Any] = {}

        def wait() -> int:
            while not reached(self._server.call("GET", f"/v1/batches/{batch}")):
                time.sleep(0.02 if name == "validate" else 0.2)
            found.update(self._server.call("GET", f"/v1/batches/{batch}"))
            return 0

        self._step(name, f"/v1/batches/{batch}", wait)
        return found

    def _kill(self, batch: str) -> None:
        """End the server as a crash does, and time how soon it goes on."""
        self._note_peaks()
        self._server.kill()
        self._server = Server(self._folder)
        self.measured.listening_seconds = self._server.listening_seconds
        before = self._server.call("GET", f"/v1/batches/{batch}")["request_counts"]["completed"]
        _wait(lambda: self._server.call("GET", f"/v1/batches/{batch}")["request_counts"]["completed"] > before)
        self.measured.going_on_seconds = time.perf_counter() - self._server.began

    def _download(self, file: str) -> None:
        path, whole = f"/v1/files/{file}/content", hashlib.sha256()

        def read() -> int:
            size = 0
            for chunk in self._chunks(path):
                size += len(chunk)
                self.measured.output_lines += chunk.count(b"\n")
                whole.update(chunk)
            return size

        def read_ranges() -> int:
            pieces, size = hashlib.sha256(), self.measured.output_bytes
            for start in range(0, size, max(size // 8, 1)):
                end = min(start + max(size // 8, 1), size)
                for chunk in self._chunks(path, f"range: bytes={start}-{end - 1}"):
                    pieces.update(chunk)
            self.measured.ranges_agree = pieces.digest() == whole.digest()
            return size

        self._step("download", self._small, read)
        self.measured.output_bytes = self.measured.steps["download"].bytes
        self._step("ranges", self._small, read_ranges)

    def _chunks(self, path: str, *fields: str) -> Iterator[bytes]:
        with self._server.connect() as line:
            line.sendall(self._server.head("GET", path, 0, *fields))
            yield from _body(line)

    def _step(self, name: str, path: str, work: Callable[[], int]) -> None:
        """Do a step beside a process that asks for `path` all the time."""
        server = self._server
        asks = [sys.executable, "-I", "-S", str(HERE / "poll.py"), "127.0.0.1", str(server.port), path, server.key]
        poll = subprocess.Popen(asks, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        cpu, children = server.cpu(), server.children_cpu()
        began = time.perf_counter()
        size = work()
        seconds = time.perf_counter() - began
        time.sleep(2 * LOOK_SECONDS)
        spent, theirs = server.cpu() - cpu, server.children_cpu() - children
        told, _ = poll.communicate()
        self.measured.steps[name] = Step(
            name=name, seconds=seconds, bytes=size, server_cpu=spent, children_cpu=theirs, **json.loads(told)
        )

    def _note_peaks(self) -> None:
        measured, server = self.measured, self._server
        measured.server_peak = max(measured.server_peak, server.peak)
        measured.child_peak = max(measured.child_peak, server.child_peak)
        measured.together_peak = max(measured.together_peak, server.together_peak)


def make_block(line_bytes: int) -> bytes:
    """So many request lines; `MARK` stands for the number of the block, in the id and in the text."""
    lines: list[bytes] = []
    for number in range(BLOCK_LINES):
        head = (
            b'{"custom_id": "request-%b-%03d", "method": "POST", "url": "/v1/chat/completions", "body": {"model": '
            b'"null", "messages": [{"role": "system", "content": "Review %03d."}, {"role": "user", "content": "%b '
        ) % (MARK, number, number % 64, MARK)
        tail = b'"}], "max_tokens": 128, "temperature": 0}}\n'
        room = max(line_bytes - len(head) - len(tail), 0)
        text = (f"{number} {WORDS} " * (room // 20 + 1))[:room].encode()
        lines.append(head + text + tail)
    return b"".join(lines)


def disk_rate(folder: Path) -> float:
    """Bytes per second of a plain write of a gigabyte, synced."""
    target = folder / "rate"
    began = time.perf_counter()
    words = ["dd", "if=/dev/zero", f"of={target}", "bs=1M", "count=1024", "conv=fsync", "status=none"]
    subprocess.run(words, check=True)
    seconds = time.perf_counter() - began
    target.unlink()
    return (1 << 30) / seconds


def _form(purpose: str) -> tuple[bytes, bytes]:
    start = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n--{BOUNDARY}\r\n'
        'Content-Disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
    )
    return start.encode(), f"\r\n--{BOUNDARY}--\r\n".encode()


def _send(line: socket.socket, blocks: Iterable[bytes], rate: float | None) -> None:
    began, sent = time.perf_counter(), 0
    for block in blocks:
        line.sendall(block)
        sent += len(block)
        if rate is not None:
            time.sleep(max(began + sent / rate - time.perf_counter(), 0))


def send_file(line: socket.socket, source: Path) -> None:
    """Have the system send a file."""
    with source.open("rb") as file:
        line.sendfile(file)


def _body(line: socket.socket) -> Iterator[bytes]:
    """The body of the one answer on a connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = line.recv(1 << 16)
        if not more:
            raise RuntimeError(f"the server hung up: {data!r}")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    if not re.match(rb"HTTP/1.1 20\d", head):
        raise RuntimeError((head + rest).decode())
    if rest:
        yield rest
    while chunk := line.recv(1 << 20):
        yield chunk


def _found(path: Path, pattern: bytes) -> bytes | None:
    found = re.search(pattern, path.read_bytes())
    return found[1] if found else None


def _wait(look: Callable[[], Any], seconds: float = 60) -> Any:
    """Look until there is something."""
    due = time.perf_counter() + seconds
    while not (found := look()):
        if time.perf_counter() > due:
            raise TimeoutError("it never came")
        time.sleep(0.005)
    return found


def cpu_of(pid: int) -> float:
    """Processor seconds that a process has used, 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def _memory(pid: int, name: str) -> int:
    try:
        found = re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) << 10 if found else 0


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(each) for task in tasks for each in (task / "children").read_text().split()]
    except OSError:
        return []


@contextmanager
def bench(folder: Path, lines: int, line_bytes: int) -> Generator[Bench]:
    """A bench in a folder, with a server that ends with the block."""
    made = Bench(folder, lines, line_bytes)
    try:
        yield made
    finally:
        made.close()


def report(measured: Measured) -> str:
    """What was measured, for people."""
    rows = [
        f"{measured.lines:,} lines, {measured.input_bytes / GB:.2f} GB; load {os.getloadavg()[0]:.1f}; "
        f"dd with fsync {measured.disk_rate / MB:.0f} MB/s",
        f"{'step':<10}{'s':>8}{'MB/s':>8}{'CPU s':>8}{'CPU s/GB':>10}{'child CPU':>11}"
        f"{'calls':>8}{'p50 ms':>8}{'p99 ms':>8}{'max ms':>8}",
    ]
    rows += [
        f"{step.name:<10}{step.seconds:>8.2f}{step.rate / MB:>8.0f}{step.server_cpu:>8.2f}{step.cpu_per_gb:>10.2f}"
        f"{step.children_cpu:>11.2f}{step.calls:>8}{step.p50_ms:>8.2f}{step.p99_ms:>8.2f}{step.max_ms:>8.1f}"
        for step in measured.steps.values()
    ]
    rows.append(
        f"create {measured.create_seconds * 1e3:.0f} ms, in progress after {measured.in_progress_seconds:.2f} s"
    )
    if measured.listening_seconds is not None:
        rows.append(
            f"after kill -9: listening after {measured.listening_seconds:.2f} s, "
            f"more results after {measured.going_on_seconds:.2f} s"
        )
    rows.append(
        f"peaks: server {measured.server_peak / MB:.0f} MB, its largest child {measured.child_peak / MB:.0f} MB, "
        f"all at one time {measured.together_peak / MB:.0f} MB"
    )
    rows.append(
        f"output: {measured.output_lines:,} lines, {measured.output_bytes / GB:.2f} GB; "
        f"ranges {'agree' if measured.ranges_agree else 'DIFFER'}"
    )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--line-bytes", type=int, default=LINE_BYTES)
    parser.add_argument("--folder", help="where the files go (default: the temporary folder)")
    parser.add_argument("--no-kill", action="store_true", help="let the server live all the time")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="api-") as folder:
        lines = int(asked.gigabytes * GB / asked.line_bytes)
        with bench(Path(folder), lines, asked.line_bytes) as made:
            made.run(kill=not asked.no_kill)
            print(report(made.measured))


if __name__ == "__main__":
    main()
