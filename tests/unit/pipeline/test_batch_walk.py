"""The walk of one batch, station by station: what the wire tests cannot reach."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import msgspec
import pytest

from batchyard.domain.access import Quota
from batchyard.domain.batch import Batch, BatchId, BatchState, Counts
from batchyard.domain.errors import Unavailable
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply, Usage
from batchyard.engine import Abilities
from batchyard.engines import echo
from batchyard.pipeline.batch_parts import BatchParts
from batchyard.pipeline.batch_walk import tidy, walk_batch
from batchyard.pipeline.leash import Leash
from batchyard.pipeline.share import Sharing
from batchyard.pipeline.underway import Underway
from batchyard.server.models import Model, Models, Waiting
from batchyard.service.ids import Ids
from batchyard.store import Cursor
from batchyard.wiring.batches import Engines, Yard, batch_parts
from tests.simulation.disk import FaultyDisk
from tests.support.house import House, open_house
from tests.support.tenants import OURS, TurnsOffload, a_batch, an_event

CHAT = "/v1/chat/completions"
RUNS = "/data/runs"


def lines(*texts: str, model: str = "m") -> bytes:
    bodies = ({"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0} for text in texts)
    made = ({"custom_id": f"l{n}", "method": "POST", "url": CHAT, "body": body} for n, body in enumerate(bodies))
    return b"".join(msgspec.json.encode(each) + b"\n" for each in made)


class Walker:
    """A house, and what its batches are walked with."""

    def __init__(self, house: House, script: echo.Script | None, *, several_models: bool = False) -> None:
        self.house, self.engines, self.models = house, Engines(), Models()
        self.several_models = several_models
        self.serve("m", script, "alias")
        self.parts = self.made_parts()

    def serve(self, model: str, script: echo.Script | None, *aliases: str) -> None:
        """Answer to a model from now on."""
        abilities = Abilities(endpoints=frozenset({CHAT}), models=None)
        sharing = Sharing(echo.open(echo.Config(script=script)), abilities, self.house.clock, model=model)
        self.engines.add(model, sharing)
        self.models.add(Model(model, sharing.front(), abilities), aliases=aliases)

    def made_parts(self) -> BatchParts:
        house = self.house
        yard = Yard(
            store=house.store, blobs=house.blobs, disk=house.disk, clock=house.clock, ids=Ids(Random(5)),
            random=Random(6), models=self.models, engines=self.engines, quota_of=lambda _: Quota(), folder=RUNS,
            several_models=self.several_models,
            steps=TurnsOffload(),
            underway=Underway(TurnsOffload()),
        )  # fmt: skip
        return batch_parts(yard)

    async def batch(self, content: bytes | None, **changes: Any) -> Batch:
        """A new batch; None: of a file that nobody has."""
        blob = None
        if content is not None:
            writer = await self.house.blobs.create("files/input")
            await writer.write(content)
            await writer.commit()
            blob = "files/input"
        batch = a_batch(**changes)
        await self.house.store.batches.add(batch, an_event(batch), Quota())
        return msgspec.structs.replace(batch, input_blob=blob)

    async def walk(self, batch: Batch, leash: Leash | None = None) -> Batch:
        found = await self.house.store.batches.get(OURS, batch.id)
        assert found is not None
        store = _WithInput(self.house.store, batch.input_blob)
        parts = msgspec.structs.replace(self.parts, store=store)  # pyright: ignore[reportArgumentType]
        await walk_batch(found, parts, TurnsOffload(), leash or Leash(1))
        after = await self.house.store.batches.get(OURS, batch.id)
        assert after is not None
        return after


class _WithInput:
    """A store whose batches all have the same input."""

    def __init__(self, store: Any, blob: str | None) -> None:
        self._store, self._blob = store, blob
        self.batches = self

    async def get(self, *words: Any) -> Batch:
        return msgspec.structs.replace(await self._store.batches.get(*words), input_blob=self._blob)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store.batches, name)


@asynccontextmanager
async def a_walker(script: echo.Script | None = None, *, several_models: bool = False) -> AsyncGenerator[Walker]:
    house = await open_house()
    walker = Walker(house, script, several_models=several_models)
    await tidy(walker.parts, TurnsOffload())
    try:
        yield walker
    finally:
        await house.store.close()


async def test_a_file_of_blank_lines_fails_as_empty() -> None:
    async with a_walker() as walker:
        batch = await walker.walk(await walker.batch(b"\n \n\n"))
        assert (batch.state, batch.errors[0].code, batch.errors[0].number) == (BatchState.FAILED, "empty_file", 0)
        assert walker.house.disk.names(RUNS) == []


async def test_a_batch_whose_bytes_are_gone_fails_like_one_of_an_unknown_file() -> None:
    async with a_walker() as walker:
        made = await walker.batch(lines("a"))
        await walker.house.blobs.delete("files/input")
        batch = await walker.walk(made)
        assert (batch.state, batch.errors[0].code) == (BatchState.FAILED, "invalid_request")
        assert batch.errors[0].param == "file_id"


async def test_walking_a_batch_that_has_ended_changes_nothing() -> None:
    async with a_walker() as walker:
        made = await walker.batch(lines("a", "b"))
        once = await walker.walk(made)
        events = await walker.house.store.events.after(0, 100)
        assert once.state is BatchState.COMPLETED and await walker.walk(made) == once
        assert await walker.house.store.events.after(0, 100) == events


async def test_a_batch_is_known_by_its_models_own_name() -> None:
    async with a_walker() as walker:
        content = lines("a").replace(b'"model":"m"', b'"model":"alias"')
        assert (await walker.walk(await walker.batch(content))).model == "m"


async def test_where_nobody_answers_for_the_model_the_batch_waits() -> None:
    async with a_walker() as walker:
        made = await walker.batch(lines("a"))
        engines = Engines()
        parts, walker.parts = walker.parts, msgspec.structs.replace(walker.parts, engine_of=engines.of)
        with pytest.raises(Unavailable, match="Nobody here answers"):
            await walker.walk(made)
        waiting = await walker.house.store.batches.get(OURS, made.id)
        assert waiting is not None and waiting.state is BatchState.IN_PROGRESS and waiting.counts.total == 1
        walker.parts = parts
        assert (await walker.walk(made)).state is BatchState.COMPLETED


async def test_a_halted_walk_leaves_the_batch_as_it_is_and_the_next_one_asks_only_for_the_rest() -> None:
    asked: list[str] = []
    leash = Leash(5)

    async def script(request: Request) -> Reply | None:
        asked.append(request.custom_id)
        await asyncio.sleep(0)
        if request.custom_id == "l7":
            leash.halt(5)
        return None

    async with a_walker(script) as walker:
        made = await walker.batch(lines(*(f"text {n}" for n in range(200))))
        halted = await walker.walk(made, leash)
        assert halted.state is BatchState.IN_PROGRESS and len(asked) < 200
        batch = await walker.walk(made)
    assert batch.state is BatchState.COMPLETED and batch.counts.completed == 200
    assert len(asked) == len(set(asked)) == 200
    leash.close()


async def test_a_plan_that_was_lost_is_made_again() -> None:
    leash = Leash(5)

    async def script(request: Request) -> Reply | None:
        leash.halt(5)
        return None

    async with a_walker(script) as walker:
        made = await walker.batch(lines(*(f"text {n}" for n in range(100))))
        await walker.walk(made, leash)
        walker.house.disk.remove(f"{RUNS}/{made.id}/plan")
        batch = await walker.walk(made)
    assert batch.state is BatchState.COMPLETED and batch.counts.completed == batch.counts.total == 100


async def test_a_cancel_during_the_last_writing_wins_and_delivers_all() -> None:
    async with a_walker() as walker:
        made = await walker.batch(lines("a", "a", "b"))
        batches = walker.house.store.batches

        class Cancelling:
            """The owner cancels as soon as the batch is finalizing."""

            async def publish(self, batch: Batch, *words: Any, **names: Any) -> Any:
                cancelled = batch.move(BatchState.CANCELLING, batch.created_at)
                assert await batches.move(batch.state, cancelled, an_event(cancelled))
                return await published(batch, *words, **names)

        published = walker.parts.publisher.publish
        walker.parts = msgspec.structs.replace(walker.parts, publisher=Cancelling())  # pyright: ignore
        batch = await walker.walk(made)
        assert batch.state is BatchState.CANCELLED and batch.counts.completed == 3
        assert batch.output_file_id is not None and batch.error_file_id is None
        files = await walker.house.store.files.list(OURS, Cursor(10), batch.created_at)
        assert files is not None and [file.id for file in files.rows] == [batch.output_file_id]


async def test_an_outage_keeps_no_batch_from_its_end_once_its_deadline_has_passed() -> None:
    async with a_walker() as walker:
        leash = Leash(1)

        def gone(_: str) -> Sharing:
            leash.expire()
            raise Unavailable("The engine is away.")

        walker.parts = msgspec.structs.replace(walker.parts, engine_of=gone)
        batch = await walker.walk(await walker.batch(lines("a", "b")), leash)
    assert batch.state is BatchState.EXPIRED and batch.counts == Counts(2, expired=2)


async def test_an_end_never_stands_without_its_counts() -> None:
    """They are counted and ended at once, and only the counting fails: a database may be free again a moment later."""
    async with a_walker() as walker:
        made = await walker.batch(lines("a", "b", "c"))

        class Failing(_WithInput):
            async def count(self, id: BatchId, counts: Counts, usage: Usage) -> bool:
                if not counts.completed:
                    return bool(await walker.house.store.batches.count(id, counts, usage))
                for _ in range(100):
                    await asyncio.sleep(0)
                raise Unavailable("The database is locked.")

        store: Any = Failing(walker.house.store, made.input_blob)
        with pytest.raises(Unavailable):
            await walk_batch(made, msgspec.structs.replace(walker.parts, store=store), TurnsOffload(), Leash(1))
        batch = await walker.walk(made)
        assert batch.state is BatchState.COMPLETED and batch.counts == Counts(3, 3) and batch.usage == Usage(3, 3)


async def test_tokens_of_a_repeated_request_count_once_for_each_line() -> None:
    async with a_walker() as walker:
        batch = await walker.walk(await walker.batch(lines("two words", "two words", "one")))
    assert (batch.usage.input_tokens, batch.usage.output_tokens) == (5, 5)


async def test_run_folders_of_ended_batches_are_removed_and_others_kept() -> None:
    async def script(request: Request) -> Reply | None:
        leash.halt(5)
        return Answer(200, b"{}")

    leash = Leash(5)
    async with a_walker(script) as walker:
        made = await walker.batch(lines(*(f"text {n}" for n in range(100))))
        await walker.walk(made, leash)
        disk = walker.house.disk
        disk.make_folder(f"{RUNS}/batch_old/journal")
        disk.open(f"{RUNS}/batch_old/journal/000001.jsonl", create=True).close()
        disk.open(f"{RUNS}/batch_old/output.jsonl.partial", create=True).close()
        await tidy(walker.parts, TurnsOffload())
        assert disk.names(RUNS) == [made.id] and disk.names(f"{RUNS}/{made.id}")


# Several models


class Heard:
    """What an engine was asked, and under which name."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.models: set[str] = set()

    async def __call__(self, request: Request) -> Reply | None:
        self.ids.append(request.custom_id)
        self.models.add(request.model)
        return None


def of_models(*models: str, count: int = 10) -> bytes:
    """Lines of several models in turn, with ids of their own."""
    rows = [lines(f"text {n}", model=models[n % len(models)]).replace(b'"l0"', b'"l%d"' % n) for n in range(count)]
    return b"".join(rows)


async def test_lines_go_to_the_engine_of_their_own_model() -> None:
    one, other = Heard(), Heard()
    async with a_walker(one, several_models=True) as walker:
        walker.serve("n", other, "also")
        batch = await walker.walk(await walker.batch(of_models("m", "n", "alias", "also", count=12)))
        assert (batch.state, batch.model) == (BatchState.COMPLETED, None)
        assert batch.counts.completed == batch.counts.total == 12
    assert sorted(one.ids) == sorted(f"l{n}" for n in range(12) if n % 2 == 0) and one.models == {"m"}
    assert sorted(other.ids) == sorted(f"l{n}" for n in range(12) if n % 2) and other.models == {"n"}


async def test_names_of_one_model_are_one_model_and_the_batch_is_known_by_it() -> None:
    for several_models in (True, False):
        async with a_walker(several_models=several_models) as walker:
            batch = await walker.walk(await walker.batch(of_models("m", "alias")))
            assert (batch.state, batch.model) == (BatchState.COMPLETED, "m")


async def test_one_model_is_the_rule_where_nothing_else_is_said() -> None:
    async with a_walker() as walker:
        walker.serve("n", None)
        batch = await walker.walk(await walker.batch(of_models("m", "n", count=3)))
        assert batch.state is BatchState.FAILED
        assert [(error.code, error.number) for error in batch.errors] == [("mismatched_model", 2)]


async def test_a_model_that_nobody_answers_for_holds_up_no_other_and_the_rest_follows() -> None:
    one, other = Heard(), Heard()
    async with a_walker(one, several_models=True) as walker:
        walker.models.announce(Waiting("n"))
        made = await walker.batch(of_models("m", "n"))
        with pytest.raises(Unavailable, match="for the model 'n'"):
            await walker.walk(made)
        assert len(one.ids) == 5
        waiting = await walker.house.store.batches.get(OURS, made.id)
        assert waiting is not None and waiting.state is BatchState.IN_PROGRESS
        walker.serve("n", other)
        assert (await walker.walk(made)).counts.completed == 10
    assert len(one.ids) == len(other.ids) == 5, "nothing was asked twice"


async def test_equal_requests_of_two_models_are_two_requests() -> None:
    one, other = Heard(), Heard()
    async with a_walker(one, several_models=True) as walker:
        walker.serve("n", other)
        content = lines("same", model="m") + lines("same", model="n").replace(b'"l0"', b'"l1"')
        assert (await walker.walk(await walker.batch(content))).counts.completed == 2
    assert (one.ids, other.ids) == (["l0"], ["l1"])


async def test_a_batch_of_several_models_that_is_halted_goes_on_where_it_was() -> None:
    one, other, leash = Heard(), Heard(), Leash(5)

    async def halting(request: Request) -> Reply | None:
        if len(other.ids) == 3:
            leash.halt(5)
        return await other(request)

    async with a_walker(one, several_models=True) as walker:
        walker.serve("n", halting)
        made = await walker.batch(of_models("m", "n", count=200))
        assert (await walker.walk(made, leash)).state is BatchState.IN_PROGRESS
        batch = await walker.walk(made)
    leash.close()
    assert batch.state is BatchState.COMPLETED and batch.counts.completed == 200
    assert len(one.ids) == len(other.ids) == 100


async def test_a_batch_of_ten_lines_costs_a_few_syncs_of_the_disk() -> None:
    async with a_walker() as walker:
        made, disk = await walker.batch(lines(*(f"text {n}" for n in range(10)))), walker.house.disk
        assert isinstance(disk, FaultyDisk)
        before = disk.syncs
        assert (await walker.walk(made)).state is BatchState.COMPLETED
        assert disk.syncs - before <= 6, "two names, the journal's two files, the result and its name"


async def test_the_plan_of_a_small_batch_is_made_again_though_its_model_has_gone() -> None:
    async def script(request: Request) -> Reply | None:
        leash.halt(5)
        return Answer(200, b"{}")

    leash = Leash(5)
    async with a_walker(script) as walker:
        made = await walker.batch(lines(*(f"text {n}" for n in range(100))))
        await walker.walk(made, leash)
        names = walker.house.disk.names(f"{RUNS}/{made.id}")
        assert names == ["000001.idx", "000001.jsonl"], "the journal alone"
        walker.models = Models()
        walker.parts = walker.made_parts()
        walker.house.clock.time = made.expires_at
        ended = await walker.walk(made)
        assert ended.state is BatchState.EXPIRED and 0 < ended.counts.completed < 100
        assert ended.counts.completed + ended.counts.expired == 100


async def test_a_batch_that_an_earlier_release_began_goes_on_with_its_journal() -> None:
    asked = 0

    async def script(request: Request) -> Reply | None:
        nonlocal asked
        asked += 1
        if asked <= 20:
            leash.halt(5)
        return Answer(200, b"{}")

    leash = Leash(5)
    async with a_walker(script) as walker:
        made, disk = await walker.batch(lines(*(f"text {n}" for n in range(100)))), walker.house.disk
        await walker.walk(made, leash)
        folder = f"{RUNS}/{made.id}"
        disk.make_folder(f"{folder}/journal")
        for name in ("000001.idx", "000001.jsonl"):
            disk.rename(f"{folder}/{name}", f"{folder}/journal/{name}")
        assert (await walker.walk(made)).counts.completed == 100
        assert asked == 100 and disk.names(RUNS) == []


async def test_a_batch_of_several_models_goes_on_though_they_are_allowed_no_more() -> None:
    leash = Leash(5)

    async def halting(request: Request) -> Reply | None:
        leash.halt(5)
        return None

    async with a_walker(halting, several_models=True) as walker:
        walker.serve("n", None)
        made = await walker.batch(of_models("m", "n", count=200))
        assert (await walker.walk(made, leash)).state is BatchState.IN_PROGRESS
        walker.several_models = False
        walker.parts = walker.made_parts()
        assert (await walker.walk(made)).counts.completed == 200
    leash.close()
