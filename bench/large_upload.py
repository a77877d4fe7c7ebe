"""What uploads cost: a large file sent again and again to a real server, each time beside calls for a status.

    python -m bench.large_upload [--gigabytes 1] [--runs 5] [--rate MB/S] [--folder DIR]

The system sends the file from its cache, so the sender takes next to no processor. In turn with that, the same bytes
go to a plain server (`peers/keep_body.py`) that only writes them: no form, no hash, no validation. Tells of each upload
its rate, the processor time of the server and of its children (who examine it) per gigabyte, what status calls took
meanwhile, and how many cores other programs had; then the median of each. `--rate` bounds the sender, as a network
does, and leaves the plain server out. With others at work, calls wait for a core: what they take then says little about
the server.
"""

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.api import GB, LINE_BYTES, MB, TICKS, Bench, bench, cpu_of, disk_rate, send_file
from bench.command import HERE

HEAD = f"{'MB/s':>14}{'CPU s/GB':>10}{'child s/GB':>12}{'calls':>8}{'p50 ms':>8}{'p99 ms':>8}{'max ms':>8}{'others':>8}"


class Plain:
    """The plain server."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self._process = process
        self._port = port

    def row(self, source: Path) -> list[float]:
        """The rate of one upload, and processor seconds per gigabyte."""
        began, spent, size = time.perf_counter(), cpu_of(self._process.pid), source.stat().st_size
        with socket.create_connection(("127.0.0.1", self._port)) as line:
            line.sendall(b"PUT / HTTP/1.1\r\nhost: bench\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % size)
            send_file(line, source)
            answer = b"".join(iter(lambda: line.recv(1 << 16), b""))
        if not answer.endswith(b"%d" % size):
            raise RuntimeError(f"the plain server kept something else: {answer!r}")
        seconds = time.perf_counter() - began
        return [size / seconds / MB, (cpu_of(self._process.pid) - spent) / (size / GB)]


@contextmanager
def plain_server(folder: Path) -> Generator[Plain]:
    words = [sys.executable, str(HERE / "peers" / "keep_body.py"), str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = re.search(rb"Listening on (\d+)", process.stdout.readline())
        assert found is not None
        try:
            yield Plain(process, int(found[1]))
        finally:
            process.kill()


def row(made: Bench, source: Path | None, rate: float | None) -> list[float]:
    """The figures of one upload."""
    began, all_busy, we_busy = time.perf_counter(), busy(), sum(os.times()[:4])
    step = made.upload(source, rate)
    ours = sum(os.times()[:4]) - we_busy + step.server_cpu + step.children_cpu
    others = max(busy() - all_busy - ours, 0.0) / (time.perf_counter() - began)
    times = (step.p50_ms, step.p99_ms, step.max_ms)
    return [step.rate / MB, step.cpu_per_gb, step.children_cpu / (step.bytes / GB), step.calls, *times, others]


def busy() -> float:
    """Seconds that all cores have worked, or were taken away."""
    user, nice, system, _, _, *rest = Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
    return sum(map(int, (user, nice, system, *rest))) / TICKS


def told(figures: Sequence[float]) -> str:
    forms = ("{:>14.0f}", "{:>10.2f}", "{:>12.2f}", "{:>8.0f}", "{:>8.2f}", "{:>8.2f}", "{:>8.1f}", "{:>8.2f}")
    return "".join(form.format(figure) for form, figure in zip(forms, figures, strict=False))


def medians(rows: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.median(each) for each in zip(*rows, strict=True)]


def compare(made: Bench, folder: Path, runs: int) -> None:
    """Uploads to us and to the plain server, in turn."""
    source, ours, theirs = folder / "source.jsonl", list[list[float]](), list[list[float]]()
    with source.open("wb") as file:
        file.writelines(made.blocks())
    with plain_server(folder) as plain:
        for _ in range(runs):
            theirs.append(plain.row(source))
            ours.append(row(made, source, None))
            print(f"{told(ours[-1])}\n{told(theirs[-1])}  plain", flush=True)
    print(f"{told(medians(ours))}  median\n{told(medians(theirs))}  plain, median")
    print(f"{medians(ours)[0] / medians(theirs)[0]:>14.2f}  of the plain server's rate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rate", type=float, help="how many megabytes a second the sender sends at most")
    parser.add_argument("--folder", help="where the files go (default: the temporary folder)")
    asked = parser.parse_args()
    lines = int(asked.gigabytes * GB / LINE_BYTES)
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="upload-") as name:
        folder = Path(name)
        print(f"load {os.getloadavg()[0]:.1f}; dd with fsync {disk_rate(folder) / MB:.0f} MB/s\n{HEAD}")
        with bench(folder, lines, LINE_BYTES) as made:
            if asked.rate is None:
                compare(made, folder, asked.runs)
                return
            rows: list[list[float]] = []
            for _ in range(asked.runs):
                rows.append(row(made, None, asked.rate * MB))
                print(told(rows[-1]), flush=True)
            print(f"{told(medians(rows))}  median")


if __name__ == "__main__":
    main()
