"""Cutting a file into lines, and finding them again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.domain.errors import Conflict
from batchyard.pipeline import lines as module
from batchyard.pipeline.lines import Block, LongLine, Reader, blocks
from batchyard.pipeline.plan import Entry, check_of
from tests.support.memory_disk import MemoryDisk


def cut(data: bytes, most: int = 10**6) -> list[tuple[int, bytes | int]]:
    """Offset and line of each line; its length where it is too long to keep."""
    found: list[tuple[int, bytes | int]] = []
    for block in blocks(MemoryDisk(f=data).open("f"), most, lambda _: None):
        if isinstance(block, LongLine):
            found.append((block.offset, block.length))
            continue
        offset = block.offset
        for line in block.lines:
            found.append((offset, line))
            offset += len(line) + 1
    return found


def entry_of(offset: int, line: bytes, number: int = 1) -> Entry:
    return Entry(offset, 0, 0, len(line), number, check_of(line), -1, 0, 0, 0)


@pytest.fixture(params=[1, 2, 3, 7, 64])
def small_chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", max(3, request.param))


@given(st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line)), st.booleans(), st.integers(3, 40))
def test_lines_come_whole_whatever_the_chunks(lines: list[bytes], ended: bool, chunk: int) -> None:
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    if data.startswith(b"\xef\xbb\xbf"):
        data = b"x" + data
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_BYTES", chunk)
        found = cut(data)

    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert [line for _, line in found] == expected
    assert all(isinstance(line, bytes) and data[offset : offset + len(line)] == line for offset, line in found)


def test_the_byte_order_mark_is_not_part_of_the_first_line() -> None:
    assert cut(b"\xef\xbb\xbfa\nb") == [(3, b"a"), (5, b"b")]
    assert cut(b"\xef\xbb\xbf") == []


@pytest.mark.usefixtures("small_chunks")
def test_a_line_beyond_the_limit_is_not_kept() -> None:
    data = b"ab\n" + b"x" * 500 + b"\ncd\n" + b"y" * 300
    found = cut(data, most=100)
    assert found == [(0, b"ab"), (3, 500), (504, b"cd"), (507, 300)]


def test_a_long_line_costs_no_memory() -> None:
    import tracemalloc

    data = b"x" * (30 << 20) + b"\nab\n"
    handle = MemoryDisk(f=data).open("f")
    tracemalloc.start()
    try:
        found = [block for block in blocks(handle, 1 << 20, lambda _: None) if isinstance(block, LongLine)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [block.length for block in found] == [30 << 20]
    assert peak < 8 << 20


def test_every_byte_is_shown_once() -> None:
    data = b"\xef\xbb\xbfab\n" + b"x" * 50 + b"\n\ncd"
    seen: list[bytes] = []
    list(blocks(MemoryDisk(f=data).open("f"), 10, seen.append))
    assert b"".join(seen) == data


def test_a_block_knows_where_it_begins() -> None:
    [block] = blocks(MemoryDisk(f=b"a\nb\n").open("f"), 10, lambda _: None)
    assert isinstance(block, Block)
    assert (block.offset, block.lines) == (0, [b"a", b"b"])


@pytest.mark.usefixtures("small_chunks")
@given(order=st.permutations(range(8)))
def test_planned_lines_are_found_in_any_order(order: list[int]) -> None:
    lines = [bytes([65 + number]) * (number * 5 + 1) for number in range(8)]
    offsets = [sum(len(line) + 1 for line in lines[:number]) for number in range(8)]
    reader = Reader(MemoryDisk(f=b"\n".join(lines)), "f")
    for number in order:
        assert reader.line(entry_of(offsets[number], lines[number])) == lines[number]


def test_lines_in_order_cost_few_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [b"line %d" % number for number in range(1000)]
    disk = MemoryDisk(f=b"\r\n".join(lines))
    reader = Reader(disk, "f")
    handle = disk.opened[0]
    reads: list[int] = []
    read_at = handle.read_at
    monkeypatch.setattr(handle, "read_at", lambda offset, size: reads.append(size) or read_at(offset, size))  # pyright: ignore
    offset = 0
    for line in lines:
        assert reader.line(entry_of(offset, line)) == line
        offset += len(line) + 2
    assert len(reads) == 1


@pytest.mark.parametrize("data", [b"one\nTWO\n", b"one\n", b""])
def test_a_changed_line_is_noticed(data: bytes) -> None:
    reader = Reader(MemoryDisk(f=data), "f")
    with pytest.raises(Conflict, match="line 2"):
        reader.line(entry_of(4, b"two", number=2))
