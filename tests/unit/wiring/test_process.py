"""What a server asks of its process. Tried in processes of their own: these settings cannot be taken back."""

import platform
import subprocess
import sys

import pytest

PIECES = 200
FAULTS = """
import resource, sys
from batchyard.wiring import process
if sys.argv[1] == "server":
    process.prepare()
for number in range(2 * {pieces}):
    if number == {pieces}:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pieces = [bytes(1 << 20) for _ in range(4)]
    del pieces
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(kind: str) -> int:
    """Of a process through which some hundred megabytes pass, four at a time."""
    script = FAULTS.format(pieces=PIECES)
    done = subprocess.run([sys.executable, "-c", script, kind], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_bytes_pass_through_memory_that_is_there_already() -> None:
    assert page_faults("server") < PIECES < page_faults("any")
