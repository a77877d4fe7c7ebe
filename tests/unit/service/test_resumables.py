"""Files over many calls: cut off, sent twice, from several callers at once, and after a power cut."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.domain.access import Caller, Quota, Role
from batchyard.domain.errors import Conflict, Forbidden, Invalid, NotFound, QuotaExceeded, TooLarge, Unavailable
from batchyard.domain.file import File
from batchyard.service import resumables
from batchyard.service.resumables import CreateResumable, Received
from batchyard.service.rules import FileRules, UploadRules
from tests.simulation.disk import Faults, PowerCut
from tests.support.house import House, Rules, a_disk, open_house
from tests.support.tenants import OURS, THEM, US, FakeClock, pieces, poured

DATA = Random(1).randbytes(5000)


@pytest.fixture
async def house() -> House:
    return await open_house()


async def begin(house: House, **asked: object) -> str:
    return (await house.resumables.create(US, CreateResumable(**asked)))[1]  # pyright: ignore[reportArgumentType]


async def send(house: House, secret: str, offset: int, data: bytes, *, last: bool = False) -> Received:
    return await house.resumables.receive(US, secret, offset, poured(pieces(data, 700)), last=last)


async def broken_off(data: bytes) -> AsyncIterator[bytes]:
    yield data
    raise ConnectionResetError


async def test_chunks_become_a_file_with_all_that_was_said_of_it(house: House) -> None:
    secret = await begin(house, filename="in.jsonl", name="mine", display_name="Mine", mime_type="jsonl", bytes=5000)
    assert await send(house, secret, 0, DATA[:2000]) == Received(2000)
    assert await send(house, secret, 2000, DATA[2000:2001]) == Received(2001)
    assert await house.resumables.get(US, secret) == Received(2001)
    received = await send(house, secret, 2001, DATA[2001:], last=True)
    file = received.file
    assert file is not None and received.bytes == 5000
    assert (file.filename, file.name, file.display_name, file.mime_type) == ("in.jsonl", "mine", "Mine", "jsonl")
    assert (file.purpose, file.bytes, file.sha256) == ("user_data", 5000, hashlib.sha256(DATA).hexdigest())
    assert file.expires_at == house.clock.at() + 172_800
    assert await house.files.named(US, "mine") == file and await house.bytes_of(file.id) == DATA
    assert await house.resumables.get(US, secret) == received


@pytest.mark.parametrize("size", [0, 1])
async def test_the_smallest_files_come_in_one_call(house: House, size: int) -> None:
    file = (await send(house, await begin(house, bytes=size), 0, DATA[:size], last=True)).file
    assert file is not None and await house.bytes_of(file.id) == DATA[:size]
    assert await house.files.named(US, file.id.removeprefix("file-")) == file


async def test_how_long_files_live_is_a_rule() -> None:
    house = await open_house(Rules(files=FileRules(gemini_expiry_seconds=None)))
    file = (await send(house, await begin(house), 0, DATA, last=True)).file
    assert file is not None and file.expires_at is None


async def test_bytes_that_are_there_already_are_not_taken_again(house: House) -> None:
    secret = await begin(house, bytes=5000)
    for _ in range(2):
        assert await send(house, secret, 0, DATA[:2000]) == Received(2000)
    assert await send(house, secret, 500, b"?" * 100) == Received(2000)
    assert await send(house, secret, 1500, DATA[1500:3000]) == Received(3000)
    done = await send(house, secret, 3000, DATA[3000:], last=True)
    assert done.file is not None and await house.bytes_of(done.file.id) == DATA
    assert await send(house, secret, 3000, DATA[3000:], last=True) == done
    assert await send(house, secret, 0, DATA[:2000]) == done
    assert len((await house.files.list(US)).rows) == 1


async def test_an_offset_beyond_what_is_there_is_refused(house: House) -> None:
    secret = await begin(house)
    await send(house, secret, 0, DATA[:10])
    with pytest.raises(Invalid, match="only 10 bytes were received"):
        await send(house, secret, 11, DATA)
    assert await house.resumables.get(US, secret) == Received(10)


async def test_what_came_before_a_call_broke_off_is_kept(house: House) -> None:
    secret = await begin(house, bytes=5000)
    await send(house, secret, 0, DATA[:1000])
    with pytest.raises(ConnectionResetError):
        await house.resumables.receive(US, secret, 1000, poured(broken_off(DATA[1000:1700])), last=False)
    assert await house.resumables.get(US, secret) == Received(1700)
    file = (await send(house, secret, 1000, DATA[1000:], last=True)).file
    assert file is not None and await house.bytes_of(file.id) == DATA


async def test_a_newer_call_takes_over_from_one_that_hangs(house: House) -> None:
    secret, here = await begin(house, bytes=5000), asyncio.Event()

    async def hanging() -> AsyncIterator[bytes]:
        yield DATA[:1500]
        here.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        old = group.create_task(_outcome(house.resumables.receive(US, secret, 0, poured(hanging()), last=True)))
        await here.wait()
        received = await send(house, secret, 0, DATA, last=True)
    assert isinstance(old.result(), Conflict)
    assert received.file is not None and await house.bytes_of(received.file.id) == DATA


async def test_of_many_calls_at_once_only_whole_bytes_remain(house: House) -> None:
    secret = await begin(house, bytes=5000)
    told = await asyncio.gather(*(_outcome(send(house, secret, 0, DATA, last=True)) for _ in range(8)))
    files = {each.file for each in told if isinstance(each, Received)}
    (file,) = files
    assert isinstance(file, File) and await house.bytes_of(file.id) == DATA
    assert all(isinstance(each, Conflict | Received) for each in told)
    await house.sweep.run_once()
    assert await house.blobs_kept() == 1


async def test_neither_fewer_nor_more_bytes_than_announced_become_a_file(house: House) -> None:
    secret = await begin(house, bytes=100)
    with pytest.raises(Invalid, match="100 bytes were announced, but there are 60"):
        await send(house, secret, 0, DATA[:60], last=True)
    with pytest.raises(Invalid, match="more came"):
        await send(house, secret, 60, DATA[60:200], last=True)
    file = (await send(house, secret, 60, DATA[60:100], last=True)).file
    assert file is not None and await house.bytes_of(file.id) == DATA[:100]


async def test_what_nobody_could_keep_is_refused_at_once_and_on_the_way() -> None:
    quota = Quota(file_bytes=2000, total_bytes=3000, files=2)
    house = await open_house(Rules(quotas={OURS: quota}))
    with pytest.raises(TooLarge):
        await begin(house, bytes=2001)
    large = await begin(house)
    with pytest.raises(TooLarge):
        await send(house, large, 0, DATA[:2001])
    await house.resumables.cancel(US, large)
    first = await begin(house, bytes=2000)
    await send(house, first, 0, DATA[:1990])
    with pytest.raises(QuotaExceeded):
        await begin(house, bytes=1100)
    with pytest.raises(QuotaExceeded):
        await send(house, await begin(house), 0, DATA[:1100])
    announced = house.resumables.receive(
        US, await begin(house), 0, poured(pieces(b"")), last=True, announced_bytes=1100
    )
    with pytest.raises(QuotaExceeded):
        await announced
    assert (await send(house, first, 1990, DATA[1990:2000], last=True)).file is not None
    assert (await send(house, await begin(house), 0, b"x", last=True)).file is not None
    with pytest.raises(QuotaExceeded, match="2 files"):
        await begin(house)


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a" * 41, "a/b", "batch-" + "0" * 32, "files/a", "ä"])
async def test_a_name_of_another_form_is_refused(house: House, name: str) -> None:
    with pytest.raises(Invalid) as told:
        await begin(house, name=name)
    assert told.value.param == "name"


@pytest.mark.parametrize("name", ["a", "a-b", "0", "a" * 40, "batch-1"])
async def test_a_name_is_given_once(house: House, name: str) -> None:
    first, second = await begin(house, name=name), await begin(house, name=name)
    file = (await send(house, first, 0, b"x", last=True)).file
    assert file is not None
    with pytest.raises(Conflict) as told:
        await send(house, second, 0, b"y", last=True)
    assert told.value.reason == "name_taken"
    with pytest.raises(Conflict):
        await begin(house, name=name)
    await house.files.delete(US, file.id)
    again = (await send(house, second, 0, b"y", last=True)).file
    assert again is not None and await house.bytes_of(again.id) == b"y"


async def test_a_name_that_another_file_goes_by_is_taken(house: House) -> None:
    file = await house.a_file()
    with pytest.raises(Conflict):
        await begin(house, name=file.id.removeprefix("file-"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("display_name", "x" * 513), ("mime_type", "a\nb"), ("mime_type", "ä"), ("mime_type", "x" * 256), ("bytes", -1)],
)
async def test_a_field_beyond_its_bounds_is_refused(house: House, field: str, value: object) -> None:
    with pytest.raises(Invalid):
        await begin(house, **{field: value})


async def test_cancelled_it_is_gone_with_its_bytes(house: House) -> None:
    secret = await begin(house)
    await send(house, secret, 0, DATA)
    for _ in range(2):
        await house.resumables.cancel(US, secret)
    with pytest.raises(Invalid, match="cancelled"):
        await send(house, secret, 5000, b"x", last=True)
    assert await house.sweep.run_once() == 1
    assert await house.blobs_kept() == 0
    with pytest.raises(NotFound):
        await house.resumables.get(US, secret)


async def test_cancelled_while_it_receives_it_makes_no_file(house: House) -> None:
    secret = await begin(house)

    async def cancelling() -> AsyncIterator[bytes]:
        yield DATA
        await house.resumables.cancel(US, secret)
        await house.sweep.run_once()

    with pytest.raises((Invalid, NotFound)):
        await house.resumables.receive(US, secret, 0, poured(cancelling()), last=True)
    assert (await house.files.list(US)).rows == [] and await house.blobs_kept() == 0


async def test_it_expires_with_its_bytes_and_a_whole_one_is_forgotten() -> None:
    house = await open_house(Rules(uploads=UploadRules(lifetime_seconds=60)))
    secret, whole = await begin(house), await begin(house)
    await send(house, secret, 0, DATA)
    await send(house, whole, 0, DATA, last=True)
    house.clock.time += 60
    with pytest.raises(Invalid, match="expired"):
        await send(house, secret, 5000, b"x", last=True)
    with pytest.raises(Invalid, match="expired"):
        await house.resumables.cancel(US, secret)
    await house.sweep.run_once()
    assert await house.blobs_kept() == 1
    for gone in (secret, whole):
        with pytest.raises(NotFound):
            await house.resumables.get(US, gone)


async def test_only_those_who_change_files_send_them(house: House) -> None:
    viewer = Caller(OURS, Role.VIEWER)
    for call in (
        house.resumables.create(viewer, CreateResumable()),
        house.resumables.receive(viewer, "x", 0, poured(pieces(b"")), last=True),
        house.resumables.get(viewer, "x"),
        house.resumables.cancel(viewer, "x"),
    ):
        with pytest.raises(Forbidden):
            await call


async def test_a_secret_opens_nothing_to_another_project(house: House) -> None:
    secret = await begin(house)
    for call in (
        house.resumables.receive(THEM, secret, 0, poured(pieces(b"x")), last=True),
        house.resumables.get(THEM, secret),
        house.resumables.cancel(THEM, secret),
    ):
        with pytest.raises(NotFound):
            await call
    assert await house.resumables.beginner(secret) == (OURS, None)
    with pytest.raises(NotFound):
        await house.resumables.beginner("no")


async def test_a_long_call_makes_its_bytes_safe_on_the_way(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumables, "SECURED_BYTES", 2000)
    secret, seen = await begin(house), list[int]()

    async def watched() -> AsyncIterator[bytes]:
        for start in range(0, 5000, 1000):
            yield DATA[start : start + 1000]
            seen.append((await house.resumables.get(US, secret)).bytes)

    await house.resumables.receive(US, secret, 0, poured(watched()), last=False)
    assert seen == [0, 2000, 2000, 4000, 4000]


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400), st.booleans()), max_size=8))
@settings(max_examples=40, deadline=None)
async def test_however_often_it_breaks_off_the_bytes_are_those_that_were_sent(
    calls: list[tuple[int, int, bool]],
) -> None:
    house, data = await open_house(), DATA[:1000]
    secret = await begin(house, bytes=1000)
    for back, forth, breaks in calls:
        there = (await house.resumables.get(US, secret)).bytes
        start, end = max(there - back, 0), min(there + forth, 1000)
        sent = broken_off(data[start:end]) if breaks else pieces(data[start:end], 90)
        told = await _outcome(house.resumables.receive(US, secret, start, poured(sent), last=False))
        assert isinstance(told, Received | ConnectionResetError)
        assert (await house.resumables.get(US, secret)).bytes == max(there, end)
    there = (await house.resumables.get(US, secret)).bytes
    file = (await send(house, secret, there, data[there:], last=True)).file
    assert file is not None and await house.bytes_of(file.id) == data
    assert file.sha256 == hashlib.sha256(data).hexdigest()


async def test_a_power_cut_anywhere_costs_at_most_what_nobody_was_told_to_be_safe(tmp_path: Path) -> None:
    """The store is a real file, which the cut leaves as it is; the disk below the blobs forgets what was not synced."""
    for call in range(1, 60):
        path, clock = str(tmp_path / f"facts-{call}.db"), FakeClock()
        disk = a_disk(seed=call)
        house = await open_house(disk=disk, path=path, clock=clock)
        secret, told = await begin(house, bytes=5000), 0
        disk.faults.cut_at_call = disk.calls + call
        done = False
        try:
            told = (await send(house, secret, 0, DATA[:1000])).bytes
            told = (await send(house, secret, 1000, DATA[1000:3000])).bytes
            done = (await send(house, secret, 3000, DATA[3000:], last=True)).file is not None
        except (PowerCut, Unavailable):  # the latter while the cut is on its way up
            pass
        await house.store.close()
        house = await open_house(disk=disk.cut(Faults()), path=path, clock=clock)
        await house.sweep.orphans()
        received = await house.resumables.get(US, secret)
        assert received.bytes >= told and (received.file is not None) >= done
        file = (await send(house, secret, received.bytes, DATA[received.bytes :], last=True)).file
        assert file is not None and await house.bytes_of(file.id) == DATA
        assert file.sha256 == hashlib.sha256(DATA).hexdigest()
        await house.sweep.run_once()
        assert await house.blobs_kept() == 1
        await house.store.close()
        if done:
            return
    raise AssertionError("it took more steps than were looked at")


async def _outcome(call: object) -> object:
    try:
        return await call  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
    except (Exception, asyncio.CancelledError) as error:
        return error
