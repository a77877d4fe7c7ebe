"""The input of a retry: the lines that an error file names, and no other."""

from itertools import compress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.domain.access import Quota
from batchyard.domain.batch import BatchState
from batchyard.pipeline.gather import Choose, by_id, by_place, copy_lines
from batchyard.pipeline.stop import Stopped
from tests.support.memory_disk import MemoryDisk
from tests.support.tenants import START, a_batch, a_file, an_event, changed
from tests.unit.pipeline.test_batch_walk import Walker, a_walker, lines


def custom_id(line: bytes) -> str:
    return msgspec.json.decode(line)["custom_id"]


def written(*ids: str) -> bytes:
    return b"".join(msgspec.json.encode({"id": "x", "custom_id": id}) + b"\n" for id in ids)


def copied(source: bytes, results: bytes, choose: Choose | None = None) -> tuple[bool, bytes]:
    disk = MemoryDisk()
    disk.make_folder("/f")
    for path, content in (("/f/source", source), ("/f/results", results), ("/f/output", b"half of one, from before")):
        disk.open(path, create=True).append(content)
    fitting = copy_lines(
        disk, "/f/source", "/f/results", "/f/output", choose or by_id(custom_id), 1_000, lambda _: None
    )
    return fitting, disk.open("/f/output").read_at(0, 1 << 30)


@given(st.lists(st.tuples(st.text(max_size=9), st.booleans()), max_size=30, unique_by=lambda each: each[0]))
def test_exactly_the_named_lines_are_copied_as_they_are(asked: list[tuple[str, bool]]) -> None:
    ids, failed = [id for id, _ in asked], [each for _, each in asked]
    made = [written(id) for id in ids]
    fitting, output = copied(b"\n \n".join([b"\xef\xbb\xbf", *made])[:-1], written(*compress(ids, failed)))
    assert fitting
    assert output.splitlines() == [line.strip() for line in compress(made, failed)]


@pytest.mark.parametrize("named", [("c", "a"), ("a", "d"), ("a", "a")])
def test_an_error_file_that_does_not_fit_is_noticed(named: tuple[str, ...]) -> None:
    assert not copied(written("a", "b", "c"), written(*named))[0]


@given(st.lists(st.booleans(), max_size=30), st.integers(-1, 1))
def test_lines_whose_result_in_one_file_is_an_error_are_copied(failed: list[bool], more: int) -> None:
    source = b"".join(b"%d\n \r\n" % place for place in range(len(failed)))
    results = b"".join(b"bad\n" if each else b"good\n" for each in [*failed, True][: len(failed) + more])
    fitting, output = copied(source, results, by_place(lambda line: line == b"bad"))
    assert fitting == (more == 0 or (more < 0 and not failed))
    if fitting:
        assert output.split() == [b"%d" % place for place, bad in enumerate(failed) if bad]


def test_gathering_can_be_stopped() -> None:
    disk = MemoryDisk()
    disk.make_folder("/f")
    disk.open("/f/source", create=True).append(written("a"))

    def stop(_: bytes) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        copy_lines(disk, "/f/source", "/f/source", "/f/output", by_id(custom_id), 1_000, stop)


@pytest.mark.parametrize(
    ("blobs", "why"),
    [
        ({}, "its input file is gone"),
        ({"files/a": lines("x")}, "its result file is gone"),
        ({"files/a": lines("x"), "files/b": written("other")}, "its results do not fit its input"),
    ],
)
async def test_a_retry_whose_lines_are_gone_fails_and_says_so(blobs: dict[str, bytes], why: str) -> None:
    async with a_walker() as walker:
        for blob, content in blobs.items():
            await keep(walker, blob, content)
        store = walker.house.store
        source, errors = a_file(blob="files/a"), a_file(blob="files/b")
        for file in (source, errors):
            await store.files.add(file, Quota())
        old = a_batch(input_file_id=source.id)
        old = await store.batches.add(old, an_event(old), Quota())
        for state in (BatchState.CANCELLING, BatchState.CANCELLED):
            moved = changed(old.move(state, START), error_file_id=errors.id)
            assert await store.batches.move(old.state, moved, an_event(moved))
            old = moved
        retry = a_batch(retry_of=old.id)
        after = await walker.walk(await store.batches.add(retry, an_event(retry), Quota()))
    assert (after.state, after.errors[0].code) == (BatchState.FAILED, "retry_not_possible")
    assert why in after.errors[0].message


async def keep(walker: Walker, blob: str, content: bytes) -> None:
    writer = await walker.house.blobs.create(blob)
    await writer.write(content)
    await writer.commit()
