"""The plan: written once, read in chunks, refused where it is not whole."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.domain.errors import Conflict, NotFound
from batchyard.pipeline import plan as format_
from batchyard.pipeline.plan import CHUNK_RECORDS, HEADER, RECORD, Entry, Flag, Plan, PlanWriter, check_of
from tests.support.memory_disk import MemoryDisk

WORD = st.integers(0, 2**32 - 1)
LONG = st.integers(0, 2**64 - 1)
entries = st.builds(
    Entry,
    offset=LONG,
    prefix=LONG,
    digest=LONG,
    length=WORD,
    number=WORD,
    check=WORD,
    leader=st.integers(-1, 2**31 - 1),
    input_tokens=WORD,
    output_tokens=WORD,
    flags=st.sampled_from([0, 1, 2, 3, 4]),
)


def an_entry(number: int, flags: int = 0) -> Entry:
    return Entry(number * 100, 5, 6, 99, number, 7, -1, 8, 9, flags)


def a_plan(disk: MemoryDisk, *written: Entry) -> Plan:
    writer = PlanWriter(disk, "plan")
    for entry in written:
        writer.add(entry)
    writer.seal()
    return Plan.open(disk, "plan")


@given(st.lists(entries, max_size=20))
def test_what_was_written_is_read(written: list[Entry]) -> None:
    plan = a_plan(MemoryDisk(), *written)
    assert plan.lines == len(written)
    assert list(plan.entries()) == list(enumerate(written))
    assert [plan.entry(place) for place in range(plan.lines)] == written
    assert list(plan.flagged()) == [(place, entry) for place, entry in enumerate(written) if entry.flags]
    assert plan.invalid == sum(1 for entry in written if entry.flags)


def test_entries_are_read_in_chunks_from_any_place() -> None:
    disk = MemoryDisk()
    lines = 2 * CHUNK_RECORDS + 3
    plan = a_plan(disk, *(an_entry(number, Flag.INVALID * (number == lines)) for number in range(1, lines + 1)))
    start = CHUNK_RECORDS - 1

    read = list(plan.entries(start))

    assert [place for place, _ in read] == list(range(start, lines))
    assert all(entry.number == place + 1 for place, entry in read)
    assert [place for place, _ in plan.flagged()] == [lines - 1]
    assert disk.opened[-1].largest_read == CHUNK_RECORDS * RECORD.size


def test_marks_are_found_where_they_were_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(format_, "PENDING_MARKS", 2)
    writer = PlanWriter(MemoryDisk(), "plan")
    for number in range(1, 7):
        writer.add(an_entry(number, Flag.INVALID if number == 6 else 0))
    writer.set_leader(4, 2)
    writer.set_leader(3, 0)
    writer.set_duplicate(5, 1)
    writer.set_duplicate(1, 1)
    writer.apply()

    assert [writer.entry(place).leader for place in range(6)] == [-1, -1, -1, 0, 2, -1]
    assert [writer.entry(place).flags for place in range(6)] == [0, 2, 0, 0, 0, 3]
    assert [writer.entry(place).prefix for place in (1, 5, 0)] == [1, 1, 5]
    assert (writer.followers, writer.invalid) == (2, 2)


def test_a_plan_has_its_name_only_when_it_is_whole() -> None:
    disk = MemoryDisk()
    writer = PlanWriter(disk, "plan")
    writer.add(an_entry(1))
    assert not disk.exists("plan")
    writer.seal()
    writer.discard()
    assert set(disk.files) == {"plan"}


def test_a_plan_is_safe_before_it_has_its_name_and_the_name_is_safe_too() -> None:
    disk = MemoryDisk()
    writer = PlanWriter(disk, "folder/plan")
    writer.add(an_entry(1))
    writer.seal()
    assert disk.events == ["sync folder/plan.new", "rename folder/plan.new folder/plan", "sync folder"]


def test_a_plan_that_is_given_up_leaves_nothing() -> None:
    disk = MemoryDisk()
    PlanWriter(disk, "plan").discard()
    assert disk.files == {}


def test_the_rest_of_a_broken_run_is_not_built_upon() -> None:
    disk = MemoryDisk(**{"plan.new": b"x" * 1000})
    assert a_plan(disk, an_entry(1)).lines == 1


@pytest.mark.parametrize("at", [0, 8, 10, 16, 30, 45, 63])
def test_a_damaged_header_is_refused(at: int) -> None:
    disk = MemoryDisk()
    a_plan(disk, an_entry(1))
    disk.files["plan"][at] ^= 1
    with pytest.raises(Conflict, match="--fresh"):
        Plan.open(disk, "plan")


@pytest.mark.parametrize("size", [0, 10, HEADER.size, HEADER.size + RECORD.size - 1])
def test_a_plan_cut_short_is_refused(size: int) -> None:
    disk = MemoryDisk()
    a_plan(disk, an_entry(1))
    del disk.files["plan"][size:]
    with pytest.raises(Conflict):
        Plan.open(disk, "plan")


def test_a_plan_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound):
        Plan.open(MemoryDisk(), "plan")


def test_there_is_no_entry_outside_the_plan() -> None:
    plan = a_plan(MemoryDisk(), an_entry(1))
    for place in (-1, 1):
        with pytest.raises(IndexError):
            plan.entry(place)


def test_a_check_fits_its_field_and_tells_lines_apart() -> None:
    assert 0 <= check_of(b"a") < 2**32
    assert check_of(b"a") != check_of(b"b")


def test_the_format_is_as_the_docstring_says() -> None:
    """A stranger recovers a plan by the docstring alone."""
    disk = MemoryDisk()
    a_plan(disk, an_entry(41), an_entry(42, Flag.DUPLICATE_ID))
    data = bytes(disk.files["plan"])
    text = format_.__doc__ or ""
    sizes = [int(size) for size in re.findall(r"(?:header|size of a record), (\d+)", text)]
    assert sizes == [HEADER.size, RECORD.size] == [64, 52]
    assert data[:8] == b"BATCHYRD" and int.from_bytes(data[16:24], "little") == 2
    second = data[64 + 52 :]
    assert int.from_bytes(second[28:32], "little") == 42
    assert int.from_bytes(second[36:40], "little", signed=True) == -1
    assert int.from_bytes(second[48:52], "little") == 2
