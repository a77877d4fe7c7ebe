"""What a file costs that comes over Gemini's wire, chunk by chunk: the real server, a plain client over a socket.

    python -m bench.uploads [--gigabytes 2] [--chunk-mib 8] [--folder DIR]

The source is a sparse file. Half way the connection is cut inside a chunk; the client asks how far the server came, and
sends that chunk again. Tells the rate, processor time of the server per gigabyte, and its peak memory.
"""

import argparse
import mmap
import tempfile
import time
from pathlib import Path

from msgspec import Struct

from bench.api import GB, MB, Server
from tests.support.resumable import LAST, QUERY, UPLOAD, Sender, begin, begin_chunk


class Uploaded(Struct, frozen=True, kw_only=True):
    """One passage. `received_at_cut` is how much was kept of what came before the connection was cut."""

    bytes: int
    seconds: float
    server_cpu: float
    server_peak: int
    cut_at: int
    received_at_cut: int
    kept_bytes: int

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.bytes / self.seconds

    @property
    def cpu_per_gb(self) -> float:
        return self.server_cpu / (self.bytes / GB)

    def report(self) -> str:
        return (
            f"{self.bytes / GB:.2f} GB in {self.seconds:.1f} s: {self.rate / MB:.0f} MB/s, {self.cpu_per_gb:.2f} s of "
            f"processor per GB, {self.server_peak / MB:.0f} MB at most; cut at {self.cut_at}, of which "
            f"{self.received_at_cut} were kept"
        )


def upload(folder: Path, size: int, chunk: int = 8 << 20) -> Uploaded:
    """Send a sparse file of a size to a fresh server, with a cut half way."""
    source = folder / "sparse"
    with source.open("wb") as file:
        file.truncate(size)
    server = Server(folder)
    try:
        with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _sent(server, memoryview(data), chunk, folder)
    finally:
        server.stop()
        source.unlink()


def _sent(server: Server, data: memoryview, chunk: int, folder: Path) -> Uploaded:
    size = len(data)
    cut = size // 2 // chunk * chunk
    cpu, began = server.cpu(), time.perf_counter()
    address = begin(server.port, server.key, size)
    sender = Sender(server.port)
    for start in range(0, cut, chunk):
        sender.send(address, UPLOAD, start, data[start : start + chunk])
    line = begin_chunk(server.port, address, UPLOAD, cut, chunk, data[cut : cut + chunk // 2])
    line.close()
    received = sender.send(address, QUERY).received or 0
    *others, last = range(cut, size, chunk)
    for start in others:
        sender.send(address, UPLOAD, start, data[start : start + chunk])
    told = sender.send(address, LAST, last, data[last:])
    seconds = time.perf_counter() - began
    sender.close()
    data.release()
    assert told.file is not None, told
    (kept,) = (folder / "data" / "blobs" / "files").iterdir()
    return Uploaded(
        bytes=size,
        seconds=seconds,
        server_cpu=server.cpu() - cpu,
        server_peak=server.peak,
        cut_at=cut + chunk // 2,
        received_at_cut=received,
        kept_bytes=kept.stat().st_size,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--chunk-mib", type=int, default=8)
    parser.add_argument("--folder")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        print(upload(Path(folder), int(asked.gigabytes * GB), asked.chunk_mib << 20).report())


if __name__ == "__main__":
    main()
