"""The process of a server: what it asks of the interpreter, of the system and of the C library."""

import ctypes
import resource
import sys

SWITCH_SECONDS = 0.0005
"""How long a thread at work may keep the event loop waiting for the interpreter; Python's own choice is ten times that,
at each of several places of a call."""
OPEN_FILES = 65_536
FILES_PER_WALK = 5
FILES_BESIDE = 512
PIECE_BYTES = 8 << 20
"""Larger than any piece of a stream that is in memory at one time."""
SPARE_BYTES = 16 << 20
"""How much of what is free the C library keeps, in each of so many heaps: more than one upload has under way."""
HEAPS = 2

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # numbers of glibc's `mallopt`


def prepare() -> None:
    """Make this process a server's."""
    sys.setswitchinterval(SWITCH_SECONDS)
    _allow_many_files()
    _keep_memory()


def walks_at_once(most: int) -> int:
    """As many batches as we have descriptors for: once more as many may walk where they only end."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return most
    return max(1, min(most, (allowed - FILES_BESIDE) // (2 * FILES_PER_WALK)))


def _allow_many_files() -> None:
    """Take as many descriptors as the system lets us have: each walk needs a few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _keep_memory() -> None:
    """Let pieces of a megabyte lie where earlier ones lay, instead of in pages that the system has yet to clear.

    Left to itself, glibc gives each such piece back at once: a gigabyte that passes through costs a hundred thousand
    page faults. And it makes a heap for almost each thread, though only one of ours at a time asks for memory. Only
    glibc has these settings; others are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if sys.platform == "linux" and mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, PIECE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, SPARE_BYTES)
        mallopt(_M_ARENA_MAX, HEAPS)
