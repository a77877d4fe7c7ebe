"""Which lines repeat an earlier one, with bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.pipeline import spill as module
from batchyard.pipeline.spill import Spill
from tests.support.memory_disk import MemoryDisk


def found_in(contents: list[int], disk: MemoryDisk, hash_of: dict[int, int] | None = None) -> dict[int, int]:
    spill = Spill(disk, "spill")
    for place, content in enumerate(contents):
        spill.add(content if hash_of is None else hash_of[content], place)
    pairs = {later: first for first, later in spill.repeats(lambda one, two: contents[one] == contents[two])}
    spill.close()
    return pairs


def expected(contents: list[int]) -> dict[int, int]:
    firsts = {content: contents.index(content) for content in contents}
    return {place: firsts[content] for place, content in enumerate(contents) if firsts[content] < place}


@given(st.lists(st.integers(-(2**63), 2**64 - 1) | st.integers(0, 3)))
def test_every_repeat_is_found_with_its_first(contents: list[int]) -> None:
    assert found_in(contents, MemoryDisk()) == expected(contents)


@pytest.mark.parametrize("room", [1, 7])
def test_what_does_not_fit_is_written_and_found_again(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PENDING_RECORDS", room)
    contents = [place * 77 % 60 for place in range(200)]
    disk = MemoryDisk()
    assert found_in(contents, disk) == expected(contents)
    assert disk.opened, "nothing was written"
    assert disk.files == {}, "the spill was left behind"


def test_an_equal_hash_alone_makes_no_pair() -> None:
    contents = [1, 2, 3, 2, 1, 3, 3]
    assert found_in(contents, MemoryDisk(), {1: 9, 2: 9, 3: 9}) == expected(contents)


def test_places_that_do_not_count_neither_lead_nor_follow() -> None:
    spill = Spill(MemoryDisk(), "spill")
    for place in range(4):
        spill.add(5, place)
    assert list(spill.repeats(lambda first, later: first < later, lambda place: place not in (0, 2))) == [(1, 3)]


def test_a_small_file_touches_no_disk() -> None:
    disk = MemoryDisk()
    found_in(list(range(1000)), disk)
    assert disk.opened == []
