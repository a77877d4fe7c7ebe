"""What all blobs keep: see `batchyard.blob`."""

import asyncio
import hashlib
from contextlib import aclosing
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from threading import Event

import pytest

from batchyard.blob import Blobs, Kept, Put
from batchyard.blobs import local
from batchyard.disk import Disk
from batchyard.disks.local import LocalDisk
from batchyard.domain.errors import Invalid, NotFound, Unavailable
from batchyard.offload import Lanes
from tests.simulation.disk import Faults
from tests.support.house import FOLDER, a_disk
from tests.support.tenants import TurnsOffload

KEY = "files/file-1"
SIZES = [0, 1, (1 << 20) - 1, 1 << 20, (5 << 20) + 3]


async def open_on(disk: Disk, folder: str = FOLDER) -> Blobs:
    return await local.open(local.Config(folder=folder), disk, TurnsOffload())


@pytest.fixture(params=["local", "simulated"])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return await open_on(a_disk()) if request.param == "simulated" else await open_on(LocalDisk(), f"{tmp_path}/blobs")


async def put(blobs: Blobs, key: str, data: bytes, piece: int = 300_000) -> None:
    writer = await blobs.create(key)
    for start in range(0, len(data), piece):
        await writer.write(data[start : start + piece])
    await writer.commit()


async def read(blobs: Blobs, key: str, start: int, end: int) -> bytes:
    return b"".join([chunk async for chunk in blobs.read_range(key, start, end)])


@pytest.mark.parametrize("size", SIZES)
async def test_a_blob_is_read_back_with_its_hashes(blobs: Blobs, size: int) -> None:
    data = Random(size).randbytes(size)
    writer = await blobs.create(KEY, md5=True)
    for start in range(0, size, 70_001):
        await writer.write(data[start : start + 70_001])
    kept = await writer.commit()
    assert (kept.bytes, kept.sha256, kept.md5) == (
        size,
        hashlib.sha256(data).hexdigest(),
        hashlib.md5(data).hexdigest(),
    )
    assert await blobs.size(KEY) == size
    assert await read(blobs, KEY, 0, size) == data


async def test_a_blob_may_be_filled_by_steps_that_block(blobs: Blobs) -> None:
    """Before, between and after what is written; each step puts as much as it likes, or nothing."""
    data, writer, start = Random(5).randbytes(3 << 20), await blobs.create(KEY, md5=True), 0
    for size, filled in [
        (5, False),
        (1 << 20, True),
        (0, True),
        (70_000, False),
        (3, True),
        (1 << 20, False),
        (9, True),
    ]:
        piece = data[start : start + size]
        if filled:
            await writer.fill(partial(_put_halves, piece))
        else:
            await writer.write(piece)
        start += size
    kept = await writer.commit()
    expected = data[:start]
    assert (kept.bytes, kept.sha256) == (start, hashlib.sha256(expected).hexdigest())
    assert kept.md5 == hashlib.md5(expected).hexdigest()
    assert await read(blobs, KEY, 0, start) == expected


async def test_a_blob_goes_on_behind_a_step_that_failed(blobs: Blobs) -> None:
    """What it had put is written, is made safe, and is hashed."""

    def fail(put: Put) -> None:
        put(b"half")
        raise ConnectionResetError

    writer = await blobs.grow(KEY, 0)
    with pytest.raises(ConnectionResetError):
        await writer.fill(fail)
    assert await writer.secure() == 4
    await writer.leave()
    writer = await blobs.grow(KEY, 4)
    with pytest.raises(ConnectionResetError):
        await writer.fill(fail)
    await writer.fill(partial(_put_halves, b" and whole"))
    kept = await writer.commit()
    assert await read(blobs, KEY, 0, kept.bytes) == b"halfhalf and whole"
    assert kept.sha256 == hashlib.sha256(b"halfhalf and whole").hexdigest()


async def test_what_a_step_raises_is_raised_and_the_blob_can_be_given_up(blobs: Blobs) -> None:
    def fail(put: Put) -> None:
        put(b"x" * (2 << 20))
        raise Invalid("no more")

    writer = await blobs.create(KEY)
    await writer.fill(partial(_put_halves, b"before"))
    with pytest.raises(Invalid, match="no more"):
        await writer.fill(fail)
    await writer.abort()
    assert list(await blobs.keys("files")) == []
    other = await blobs.create(KEY)
    with pytest.raises(Invalid, match="no more"):
        await other.fill(fail)
    assert (await other.commit()).bytes == 2 << 20  # what was put stays put


async def test_giving_up_waits_for_a_step_whose_caller_has_left(tmp_path: Path) -> None:
    """The step puts what it has into a file that is there, not into another that has got its descriptor."""
    lanes, begun, go_on, ended = Lanes(2), Event(), Event(), Event()

    def slow(put: Put) -> None:
        begun.set()
        go_on.wait(10)
        put(b"late")
        ended.set()

    blobs = await local.open(local.Config(folder=f"{tmp_path}/blobs"), LocalDisk(), TurnsOffload(), lanes=lanes)
    writer = await blobs.create(KEY)
    async with asyncio.TaskGroup() as group:
        filling = group.create_task(writer.fill(slow))
        assert await asyncio.to_thread(begun.wait, 10)
        filling.cancel()
        await asyncio.wait({filling})
        giving_up = group.create_task(writer.abort())
        await asyncio.sleep(0)
        assert not giving_up.done()
        go_on.set()
        await giving_up
    assert ended.is_set() and list((tmp_path / "blobs/new").iterdir()) == []
    lanes.close()


def _put_halves(data: bytes, put: Put) -> None:
    for half in (data[: len(data) // 2], data[len(data) // 2 :]):
        if half:
            put(half)


async def test_any_range_is_read(blobs: Blobs) -> None:
    data = Random(1).randbytes((2 << 20) + 17)
    await put(blobs, KEY, data)
    for start, end in [(0, 0), (0, 1), (5, 9), ((1 << 20) - 1, (1 << 20) + 1), (len(data) - 1, len(data)), (9, 5)]:
        assert await read(blobs, KEY, start, end) == data[start:end]


async def test_a_blob_cut_short_is_no_blob(blobs: Blobs) -> None:
    await put(blobs, KEY, b"12345")
    with pytest.raises(Unavailable):
        await read(blobs, KEY, 0, 6)


async def test_nothing_is_seen_before_the_commit_or_after_giving_up(blobs: Blobs) -> None:
    writer = await blobs.create(KEY)
    await writer.write(b"x" * (3 << 20))
    assert list(await blobs.keys("files")) == []
    with pytest.raises(NotFound):
        await blobs.size(KEY)
    await writer.abort()
    await writer.abort()
    with pytest.raises(Unavailable):
        await writer.commit()
    assert list(await blobs.keys("files")) == []


async def test_giving_up_after_the_commit_changes_nothing(blobs: Blobs) -> None:
    writer = await blobs.create(KEY)
    await writer.write(b"x")
    await writer.commit()
    await writer.abort()
    assert await read(blobs, KEY, 0, 1) == b"x"


async def test_blobs_are_written_side_by_side(blobs: Blobs) -> None:
    first, second = await blobs.create("files/a"), await blobs.create("parts/a")
    await first.write(b"first")
    await second.write(b"second")
    await second.commit()
    await first.commit()
    assert await read(blobs, "files/a", 0, 5) == b"first"
    assert await read(blobs, "parts/a", 0, 6) == b"second"
    assert list(await blobs.keys("files")) == ["files/a"]
    assert list(await blobs.keys("parts")) == ["parts/a"]


async def test_a_deleted_blob_is_gone_but_read_to_its_end(blobs: Blobs) -> None:
    data = b"x" * (3 << 20)
    await put(blobs, KEY, data)
    async with aclosing(blobs.read_range(KEY, 0, len(data))) as chunks:
        seen = await anext(chunks)
        await blobs.delete(KEY)
        await blobs.delete(KEY)
        async for chunk in chunks:
            seen += chunk
    assert seen == data
    with pytest.raises(NotFound):
        await read(blobs, KEY, 0, 1)
    with pytest.raises(NotFound):
        await blobs.size(KEY)


@pytest.mark.parametrize("key", ["files/../../etc/passwd", "/etc/passwd", "files/", "other/a", "files/a/b", "files/.."])
async def test_only_keys_of_ours_name_blobs(blobs: Blobs, key: str) -> None:
    with pytest.raises(ValueError, match="not the key"):
        await blobs.create(key)
    with pytest.raises(ValueError, match="not the key"):
        await blobs.delete(key)


async def test_the_bytes_can_be_read_in_place(tmp_path: Path) -> None:
    blobs = await open_on(LocalDisk(), f"{tmp_path}/blobs")
    await put(blobs, KEY, b"in place")
    path = blobs.path(KEY)
    assert path is not None
    assert Path(path).read_bytes() == b"in place"  # noqa: ASYNC240 - a test may wait


async def test_a_file_becomes_a_blob_and_survives_a_power_cut() -> None:
    data = Random(2).randbytes((2 << 20) + 5)
    for seed in range(10):
        disk = a_disk(seed=seed)
        blobs = await open_on(disk)
        disk.open("/data/results", create=True).append(data)
        kept = await blobs.adopt(KEY, "/data/results")
        assert (kept.bytes, kept.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert not disk.exists("/data/results")
        with pytest.raises(NotFound):
            await blobs.adopt("files/again", "/data/results")
        after = await open_on(disk.cut(Faults()))
        assert await read(after, KEY, 0, len(data)) == data


async def test_a_committed_blob_survives_any_power_cut_whole() -> None:
    data = Random(1).randbytes((3 << 20) + 5)
    for seed in range(20):
        disk = a_disk(seed=seed)
        blobs = await open_on(disk)
        await put(blobs, KEY, data)
        begun = await blobs.create("files/begun")
        await begun.write(b"x" * (2 << 20))
        after = await open_on(disk.cut(Faults()))
        assert list(await after.keys("files")) == [KEY]
        assert await read(after, KEY, 0, len(data)) == data


async def test_opening_clears_what_was_begun() -> None:
    disk = a_disk()
    begun = await (await open_on(disk)).create(KEY)
    await begun.write(b"x" * (2 << 20))
    disk = disk.kill(Faults())
    await open_on(disk)
    assert disk.files() == {}


async def test_a_full_disk_is_told_and_leaves_nothing() -> None:
    disk = a_disk(Faults(capacity_bytes=3 << 20))
    blobs = await open_on(disk)
    writer = await blobs.create(KEY)
    with pytest.raises(Unavailable) as told:
        for _ in range(10):
            await writer.write(b"x" * (1 << 20))
    assert told.value.reason == "disk_full"
    await writer.abort()
    assert disk.files() == {}
    filled = await blobs.create(KEY)
    with pytest.raises(Unavailable) as told_again:
        for _ in range(10):
            await filled.fill(partial(_put_halves, b"x" * (1 << 20)))
    assert told_again.value.reason == "disk_full"
    await filled.abort()
    assert disk.files() == {}
    await put(blobs, KEY, b"small")


@pytest.mark.parametrize("failing_sync", [3, 4])
async def test_a_failing_sync_is_told_and_the_blob_is_not_kept(failing_sync: int) -> None:
    """Syncs 1 and 2 belong to opening; then come the bytes and the name."""
    blobs = await open_on(a_disk(Faults(failing_sync=failing_sync)))
    writer = await blobs.create(KEY)
    await writer.write(b"x")
    with pytest.raises(Unavailable):
        await writer.commit()
    await writer.abort()


# Blobs that grow


async def grown(blobs: Blobs, data: bytes, safe: int = 0, *, commit: bool = False) -> int:
    """Write behind the first so many bytes, and let go; how many bytes are safe then."""
    writer = await blobs.grow(KEY, safe)
    for start in range(0, len(data), 300_000):
        await writer.write(data[start : start + 300_000])
    size = (await writer.commit()).bytes if commit else await writer.secure()
    await writer.leave()
    return size


async def test_a_blob_grows_by_and_by_and_is_hashed_as_a_whole(blobs: Blobs) -> None:
    data = Random(1).randbytes((5 << 20) + 3)
    cuts = [0, 1, 1, 700_000, 2 << 20, len(data)]
    for start, end in pairwise(cuts):
        assert await grown(blobs, data[start:end], start) == end
    with pytest.raises(NotFound):
        await blobs.size(KEY)
    assert list(await blobs.keys("files")) == [KEY] and list(await blobs.keys("parts")) == []
    writer = await blobs.grow(KEY, len(data))
    assert await writer.commit() == Kept(len(data), hashlib.sha256(data).hexdigest())
    await writer.leave()
    assert list(await blobs.keys("files")) == [KEY] and await read(blobs, KEY, 0, len(data)) == data


async def test_what_lies_behind_the_safe_bytes_is_forgotten(blobs: Blobs) -> None:
    await grown(blobs, b"123456789")
    writer = await blobs.grow(KEY, 3)
    assert writer.written == 3
    await writer.write(b"abc")
    assert await writer.commit() == Kept(6, hashlib.sha256(b"123abc").hexdigest())
    await writer.leave()
    assert await blobs.size(KEY) == 6 and await read(blobs, KEY, 0, 6) == b"123abc"


async def test_what_was_not_made_safe_may_be_gone_and_is_told_so(blobs: Blobs) -> None:
    writer = await blobs.grow(KEY, 0)
    await writer.write(b"lost")
    await writer.leave()
    again = await blobs.grow(KEY, 4)
    assert again.written == 0
    await again.leave()


async def test_a_committed_blob_that_nobody_was_told_of_grows_on(blobs: Blobs) -> None:
    data = Random(1).randbytes(3 << 20)
    await grown(blobs, data, commit=True)
    assert await grown(blobs, b"end", len(data)) == len(data) + 3
    with pytest.raises(NotFound):
        await blobs.size(KEY)
    writer = await blobs.grow(KEY, len(data) + 3)
    assert (await writer.commit()).sha256 == hashlib.sha256(data + b"end").hexdigest()
    await writer.leave()


async def test_a_blob_is_deleted_while_it_grows(blobs: Blobs) -> None:
    await grown(blobs, b"12345")
    await blobs.delete(KEY)
    assert list(await blobs.keys("files")) == []
    again = await blobs.grow(KEY, 5)
    assert again.written == 0
    await again.leave()


async def test_safe_bytes_survive_any_power_cut_and_the_process() -> None:
    data = Random(1).randbytes((3 << 20) + 5)
    for seed in range(20):
        disk = a_disk(seed=seed)
        blobs = await open_on(disk)
        await grown(blobs, data)
        further = await blobs.grow(KEY, len(data))
        await further.write(b"x" * (2 << 20))
        blobs = await open_on(disk.cut(Faults()) if seed % 2 else disk.kill(Faults()))
        assert list(await blobs.keys("files")) == [KEY]
        writer = await blobs.grow(KEY, len(data))
        assert writer.written == len(data)
        await writer.write(b"end")
        assert (await writer.commit()).sha256 == hashlib.sha256(data + b"end").hexdigest()
        await writer.leave()


async def test_a_full_disk_costs_only_what_did_not_fit() -> None:
    blobs = await open_on(a_disk(Faults(capacity_bytes=3 << 20)))
    assert await grown(blobs, b"x" * (2 << 20)) == 2 << 20
    with pytest.raises(Unavailable) as told:
        await grown(blobs, b"x" * (5 << 20), 2 << 20)
    assert told.value.reason == "disk_full"
    assert await grown(blobs, b"y", 2 << 20) == (2 << 20) + 1
    writer = await blobs.grow(KEY, (2 << 20) + 1)
    assert (await writer.commit()).sha256 == hashlib.sha256(b"x" * (2 << 20) + b"y").hexdigest()
    await writer.leave()
