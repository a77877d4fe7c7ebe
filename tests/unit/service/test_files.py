"""Files, as a caller has them."""

import asyncio
import hashlib
import re
from contextlib import suppress
from random import Random

import pytest

from batchyard.blob import Put
from batchyard.domain.access import Caller, Quota, Role
from batchyard.domain.errors import Conflict, Forbidden, Invalid, NotFound, QuotaExceeded, TooLarge, Unavailable
from batchyard.domain.file import INLINE, ExpiresAfter, FileStatus
from batchyard.service.files import Files
from batchyard.service.ids import Ids
from batchyard.service.rules import FileRules
from batchyard.store import Direction
from tests.simulation.disk import Faults
from tests.support.house import A_LINE, House, Rules, a_disk, open_house
from tests.support.tenants import OURS, START, US, a_file, pieces


@pytest.fixture
async def house() -> House:
    return await open_house()


async def refused(house: House, data: bytes = A_LINE, purpose: str = "batch", **asked: object) -> Invalid:
    with pytest.raises(Invalid) as told:
        await house.files.upload(US, "in.jsonl", purpose, pieces(data), **asked)  # pyright: ignore[reportArgumentType]
    assert await house.blobs_kept() == 0
    return told.value


async def test_a_file_goes_by_its_own_name_or_by_its_id_and_never_where_it_is_inline(house: House) -> None:
    named = await house.store.files.add(a_file(name="mine"), None)
    inline = await house.store.files.add(a_file(name="hidden", purpose=INLINE), None)
    other = await house.a_file()
    assert await house.files.named(US, "mine") == named
    assert await house.files.named(US, other.id.removeprefix("file-")) == other
    for name in ("hidden", inline.id.removeprefix("file-"), "none", ""):
        with pytest.raises(NotFound):
            await house.files.named(US, name)


async def test_a_file_is_what_was_sent(house: House) -> None:
    data = A_LINE * 30_000
    file = await house.files.upload(US, "night.jsonl", "batch", pieces(data, 65_536))
    assert (file.filename, file.purpose, file.bytes, file.status) == ("night.jsonl", "batch", len(data), "processed")
    assert file.sha256 == hashlib.sha256(data).hexdigest()
    assert file.id.startswith("file-")
    assert re.fullmatch(r"file-[0-9a-z]{25}", file.id)
    assert await house.files.get(US, file.id) == file
    assert await house.bytes_of(file.id) == data


async def test_a_range_of_a_file_is_read(house: House) -> None:
    file = await house.a_file(b"0123456789", purpose="user_data")
    for start, end, expected in [
        (2, 5, b"234"),
        (7, None, b"789"),
        (0, 99, b"0123456789"),
        (-4, 2, b"01"),
        (9, 3, b""),
    ]:
        assert await house.bytes_of(file.id, US, start, end) == expected


async def test_name_and_purpose_may_come_after_the_bytes(house: House) -> None:
    async with house.files.receive(US) as receiving:
        await receiving.write(A_LINE)
        file = await receiving.keep("late.jsonl", "batch", ExpiresAfter(7_200))
    assert (file.filename, file.expires_at) == ("late.jsonl", START + 7_200)


async def test_a_file_that_is_not_kept_leaves_nothing(house: House) -> None:
    async with house.files.receive(US) as receiving:
        await receiving.write(b"x" * (2 << 20))
    assert (await house.files.list(US)).rows == []
    assert await house.blobs_kept() == 0


async def test_a_caller_that_goes_away_leaves_nothing(house: House) -> None:
    begun = asyncio.Event()

    async def send() -> None:
        async with house.files.receive(US) as receiving:
            await receiving.write(b"x" * (2 << 20))
            begun.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(send())
        await begun.wait()
        sending.cancel()
    assert await house.blobs_kept() == 0


@pytest.mark.parametrize(
    ("purpose", "asked", "lifetime"),
    [
        ("batch", None, 2_592_000),
        ("batch", 3_600, 3_600),
        ("batch", 2_592_000, 2_592_000),
        ("user_data", None, None),
        ("user_data", 3_600, 3_600),
    ],
)
async def test_a_file_expires_as_asked_or_as_its_purpose_says(
    house: House, purpose: str, asked: int | None, lifetime: int | None
) -> None:
    expires_after = None if asked is None else ExpiresAfter(asked)
    file = await house.files.upload(US, "a", purpose, pieces(A_LINE), expires_after)
    assert file.expires_at == (None if lifetime is None else START + lifetime)


@pytest.mark.parametrize(
    ("seconds", "anchor", "param", "reason"),
    [
        (3_599, "created_at", "expires_after.seconds", "integer_below_min_value"),
        (2_592_001, "created_at", "expires_after.seconds", "integer_above_max_value"),
        (3_600, "last_used_at", "expires_after.anchor", "invalid_value"),
    ],
)
async def test_an_expiry_out_of_bounds_is_refused(
    house: House, seconds: int, anchor: str, param: str, reason: str
) -> None:
    told = await refused(house, expires_after=ExpiresAfter(seconds, anchor))
    assert (told.param, told.reason) == (param, reason)


@pytest.mark.parametrize("purpose", ["batch_output", "Batch", "nonsense" * 50, "fine-tune-results"])
async def test_an_unknown_purpose_is_refused_with_the_known_ones(house: House, purpose: str) -> None:
    told = await refused(house, purpose=purpose)
    assert (told.param, told.reason) == ("purpose", "invalid_value")
    assert "'batch'" in told.message
    assert len(told.message) < 500


@pytest.mark.parametrize("name", ["purpose", "filename"])
async def test_what_must_be_there_is_named(house: House, name: str) -> None:
    filename, purpose = (None if name == each else "batch" for each in ("filename", "purpose"))
    async with house.files.receive(US) as receiving:
        await receiving.write(A_LINE)
        with pytest.raises(Invalid) as told:
            await receiving.keep(filename, purpose)
    assert (told.value.param, told.value.reason) == (name, "missing_required_parameter")
    assert f"'{name}'" in told.value.message


@pytest.mark.parametrize(
    "data", [b"", b"\n \r\n", b"\xef\xbb\xbf", b"custom_id,body\n1,2\n", b"\x1f\x8b\x08\x00", b"{'a':1}"]
)
async def test_what_is_no_jsonl_is_no_batch_input(house: House, data: bytes) -> None:
    told = await refused(house, data)
    assert "Invalid file format" in told.message
    assert ".jsonl" in told.message
    assert (told.param, told.reason) == (None, None)
    await house.a_file(data, purpose="user_data")


@pytest.mark.parametrize("data", [b"\n\n{}\n", b"\xef\xbb\xbf{}", b"{}\nnot json\n", b"{}\r\n", b'"any JSON"'])
async def test_only_the_first_line_is_looked_at(house: House, data: bytes) -> None:
    assert (await house.a_file(data)).bytes == len(data)


async def test_the_name_is_looked_at_only_where_the_server_is_strict() -> None:
    await (await open_house()).files.upload(US, "upload", "batch", pieces(A_LINE))
    strict = await open_house(Rules(files=FileRules(require_jsonl_name=True)))
    with pytest.raises(Invalid, match=r"Invalid file format.*\.jsonl"):
        await strict.files.upload(US, "upload", "batch", pieces(A_LINE))
    await strict.files.upload(US, "upload", "user_data", pieces(A_LINE))
    await strict.files.upload(US, "a.jsonl", "batch", pieces(A_LINE))


async def test_a_file_that_is_too_large_is_refused_as_soon_as_it_is() -> None:
    house = await open_house(Rules(quotas={OURS: Quota(file_bytes=100)}))
    sent = 0
    with pytest.raises(TooLarge) as told:
        async with house.files.receive(US) as receiving:
            while sent < 10_000:
                await receiving.write(b"x" * 10)
                sent += 10
    assert sent == 100
    assert (told.value.param, told.value.reason) == ("file", "file_too_large")
    assert (await house.a_file(b"x" * 100, purpose="user_data")).bytes == 100
    assert await house.blobs_kept() == 1


async def test_a_full_project_is_told_before_it_sends() -> None:
    house = await open_house(Rules(quotas={OURS: Quota(files=1, total_bytes=1_000)}))
    with pytest.raises(QuotaExceeded):
        async with house.files.receive(US, size_bytes=1_001):
            pytest.fail("should not begin")
    await house.a_file()
    with pytest.raises(QuotaExceeded) as told:
        async with house.files.receive(US):
            pytest.fail("should not begin")
    assert told.value.reason == "insufficient_quota"
    assert told.value.remedy


async def test_files_beyond_the_quota_that_were_sent_at_once_leave_nothing() -> None:
    house = await open_house(Rules(quotas={OURS: Quota(files=2)}))
    done = await asyncio.gather(*(house.a_file() for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(result, QuotaExceeded) for result in done) == 3
    assert await house.blobs_kept() == 2


async def test_a_file_under_one_key_is_created_once(house: House) -> None:
    async def send(data: bytes, name: str = "a") -> str:
        async with house.files.receive(US) as receiving:
            await receiving.write(data)
            return (await receiving.keep(name, "batch", idempotency_key="once")).id

    assert await send(A_LINE) == await send(A_LINE)
    for other in ((A_LINE * 2, "a"), (A_LINE, "b")):
        with pytest.raises(Conflict):
            await send(*other)
    assert len((await house.files.list(US)).rows) == 1
    assert await house.blobs_kept() == 1


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_an_idempotency_key_has_a_length(house: House, key: str) -> None:
    async with house.files.receive(US) as receiving:
        await receiving.write(A_LINE)
        with pytest.raises(Invalid):
            await receiving.keep("a", "batch", idempotency_key=key)


async def test_a_deleted_file_is_gone_for_every_call(house: House) -> None:
    file = await house.a_file()
    assert await house.files.delete(US, file.id) == file
    for call in (house.files.get, house.files.delete, house.files.content):
        with pytest.raises(NotFound) as told:
            await call(US, file.id)
        assert told.value.message == f"No such File object: {file.id}"
        assert told.value.param == "id"
    assert (await house.files.list(US)).rows == []


async def test_an_expired_file_is_gone_without_anybodys_doing(house: House) -> None:
    file = await house.files.upload(US, "a", "batch", pieces(A_LINE), ExpiresAfter(3_600))
    house.clock.time += 3_600
    with pytest.raises(NotFound):
        await house.files.content(US, file.id)


async def test_lists_are_paged_in_both_directions(house: House) -> None:
    ids = list[str]()
    for _ in range(5):
        ids.append((await house.a_file()).id)
        house.clock.time += 0.4
    for direction, expected in ((Direction.ASC, ids), (Direction.DESC, ids[::-1])):
        first = await house.files.list(US, limit=2, direction=direction)
        rest = await house.files.list(US, limit=10**9, after=first.rows[-1].id, direction=direction)
        assert [file.id for file in [*first.rows, *rest.rows]] == expected
        assert (first.more, rest.more) == (True, False)
    assert [file.id for file in (await house.files.list(US)).rows] == ids[::-1]


async def test_a_list_can_be_of_one_purpose(house: House) -> None:
    await house.a_file()
    other = await house.a_file(purpose="evals")
    assert (await house.files.list(US, purpose="evals")).rows == [other]


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_below_one_is_refused(house: House, limit: int) -> None:
    with pytest.raises(Invalid) as told:
        await house.files.list(US, limit=limit)
    assert (told.value.param, told.value.reason) == ("limit", "integer_below_min_value")


async def test_an_unknown_cursor_is_refused(house: House) -> None:
    with pytest.raises(Invalid) as told:
        await house.files.list(US, after="file-no")
    assert told.value.param == "after"


async def test_lost_and_damaged_bytes_are_told_as_our_fault(house: House) -> None:
    lost, damaged = await house.a_file(), await house.a_file()
    await house.blobs.delete(lost.blob)
    house.disk.open(f"/data/blobs/{damaged.blob}").truncate(3)
    for file in (lost, damaged):
        with pytest.raises(Unavailable):
            await house.files.content(US, file.id)


async def test_a_full_disk_refuses_the_file_and_goes_on() -> None:
    house = await open_house(disk=a_disk(Faults(capacity_bytes=1 << 20)))
    with pytest.raises(Unavailable) as told:
        await house.files.upload(US, "a", "user_data", pieces(b"x" * (3 << 20), 1 << 18))
    assert told.value.reason == "disk_full"
    await house.a_file()


@pytest.mark.parametrize(
    ("role", "reads", "writes"),
    [
        (Role.VIEWER, True, False),
        (Role.DATASETS_EDITOR, True, True),
        (Role.EDITOR, True, True),
        (Role.ADMIN, True, True),
    ],
)
async def test_roles_may_read_or_write_files(house: House, role: Role, reads: bool, writes: bool) -> None:
    file, doomed = await house.a_file(), await house.a_file()
    caller = Caller(OURS, role)

    async def may(call: object) -> bool:
        try:
            await call  # pyright: ignore[reportGeneralTypeIssues]
        except Forbidden:
            return False
        return True

    read = [house.files.get(caller, file.id), house.files.list(caller), house.files.content(caller, file.id)]
    assert [await may(call) for call in read] == [reads] * 3
    assert [await may(call) for call in (house.a_file(caller=caller), house.files.delete(caller, doomed.id))] == [
        writes
    ] * 2


async def test_a_file_is_processed_as_soon_as_it_is(house: House) -> None:
    assert (await house.a_file()).status is FileStatus.PROCESSED


async def test_big_files_pass_in_small_pieces(house: House) -> None:
    """What is written is not gathered: the pieces on their way stay below the two megabytes of a write."""
    data = Random(3).randbytes(1 << 16)
    async with house.files.receive(US) as receiving:
        for _ in range(100):
            await receiving.write(data)
        file = await receiving.keep("a", "user_data")
    content = await house.files.content(US, file.id)
    assert {len(chunk) <= 1 << 20 async for chunk in content.read()} == {True}


async def test_bytes_may_come_from_steps_that_block(house: House) -> None:
    def bring(put: Put) -> None:
        put(A_LINE * 2)
        put(A_LINE)

    async with house.files.receive(US) as receiving:
        await receiving.write(A_LINE)
        await receiving.fill(bring)
        file = await receiving.keep("in.jsonl", "batch")
    assert await house.bytes_of(file.id) == A_LINE * 4 and file.sha256 == hashlib.sha256(A_LINE * 4).hexdigest()


async def test_a_step_that_brings_too_much_is_stopped_where_it_is() -> None:
    house, put_so_far = await open_house(Rules(quotas={OURS: Quota(file_bytes=10)})), list[int]()

    def bring(put: Put) -> None:
        for size in (4, 6, 1, 1):
            put(b"x" * size)
            put_so_far.append(size)

    with pytest.raises(TooLarge):
        async with house.files.receive(US) as receiving:
            await receiving.fill(bring)
    assert put_so_far == [4, 6] and await house.blobs_kept() == 0


class Looks:
    """An examiner that notes what it is told."""

    smallest_bytes = 10

    def __init__(self) -> None:
        self.told: list[object] = []
        self.readable: list[int] = []

    def begin(self, blob: str, place: str, first_line: bytes) -> "Looks":
        self.told.append((blob, first_line))
        return self

    def grown(self, readable: int) -> None:
        self.readable.append(readable)

    def whole(self, size: int) -> None:
        self.told.append(size)

    def give_up(self) -> None:
        self.told.append("given up")


@pytest.mark.parametrize(
    ("data", "purpose", "expected"),
    [
        (A_LINE * 3, "batch", [A_LINE[:-1], len(A_LINE) * 3]),
        (A_LINE * 20_000, "batch", [A_LINE[:-1], len(A_LINE) * 20_000]),
        (A_LINE * 3, "user_data", [A_LINE[:-1], "given up"]),
        (b"{}\n", "batch", []),
        (b"not\n" * 9, "batch", [b"not", "given up"]),
    ],
)
async def test_a_batch_input_is_examined_as_it_comes(data: bytes, purpose: str, expected: list[object]) -> None:
    house, looks = await open_house(), Looks()
    files = Files(house.store, house.blobs, house.clock, Ids(Random(3)), lambda _: Quota(), FileRules(), looks)
    with suppress(Invalid):
        await files.upload(US, "in.jsonl", purpose, pieces(data, 1 << 18))
    assert [each[1] if isinstance(each, tuple) else each for each in looks.told] == expected
    assert all(each % (1 << 20) == 0 for each in looks.readable)  # as much as was written; the rest is still gathered


async def test_what_steps_bring_is_examined_as_it_comes() -> None:
    house, looks = await open_house(), Looks()
    files = Files(house.store, house.blobs, house.clock, Ids(Random(3)), lambda _: Quota(), FileRules(), looks)
    piece = A_LINE * ((1 << 20) // len(A_LINE) + 1)
    async with files.receive(US) as receiving:
        for _ in range(4):
            await receiving.fill(lambda put: put(piece))
        await receiving.keep("in.jsonl", "batch")
    assert [each[1] if isinstance(each, tuple) else each for each in looks.told] == [A_LINE[:-1], len(piece) * 4]
    assert len(piece) * 2 in looks.readable and all(each % len(piece) == 0 for each in looks.readable)


async def test_an_upload_that_breaks_off_is_examined_no_more() -> None:
    house, looks = await open_house(), Looks()
    files = Files(house.store, house.blobs, house.clock, Ids(Random(3)), lambda _: Quota(), FileRules(), looks)
    with pytest.raises(ConnectionError):
        async with files.receive(US) as receiving:
            await receiving.write(A_LINE)
            raise ConnectionError
    assert looks.told[1:] == ["given up"]
