"""Whole servers without doors, one per seed: batches of several projects, cancels, deadlines, and a process that is
killed again and again until every batch has ended; then all is checked. On the way no project ever holds more tokens
than it may. Disks fill up or fail, the database is locked, engines are away and the clock jumps.

Real are the services, the store (in memory: its transactions are atomic and safe), the blobs, the calendar, the walks,
the sharing, the journals and the notifying; simulated are time, the disk, the engine and whoever hears of ends.
"""

import asyncio
import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any, TypeVar

from msgspec import structs

from batchyard.blobs import local
from batchyard.config import DispatchSettings
from batchyard.domain.access import Caller, ModelLimits, Quota, Role
from batchyard.domain.batch import MOVES, TERMINAL, Batch, BatchId, BatchState, Form
from batchyard.domain.errors import Conflict, Unavailable
from batchyard.domain.event import Event
from batchyard.domain.file import FileId
from batchyard.domain.price import Price
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply, usage_of
from batchyard.domain.webhook import WebhookEndpoint
from batchyard.endpoints.embeddings import GROUPED
from batchyard.engine import Abilities
from batchyard.engines import echo
from batchyard.pipeline.batch_parts import SMALL_BYTES, BatchParts
from batchyard.pipeline.batch_walk import tidy, walk_batch
from batchyard.pipeline.calendar import Calendar, CalendarSettings
from batchyard.pipeline.examine import Examinations, Growing, Taking
from batchyard.pipeline.heavy import Terms
from batchyard.pipeline.leash import Leash
from batchyard.pipeline.notice import NoticedStore
from batchyard.pipeline.notify import Notify, NotifySettings
from batchyard.pipeline.parking import NoRoom
from batchyard.pipeline.share import Sharing
from batchyard.pipeline.underway import Underway
from batchyard.pipeline.validate import OnProgress, Verdict, validate
from batchyard.server.models import Model, Models
from batchyard.service.batches import Batches, CreateBatch
from batchyard.service.files import Files
from batchyard.service.ids import Ids
from batchyard.service.model_batches import Checked, CreateModelBatch, ModelBatches
from batchyard.service.results import Results
from batchyard.service.retry import Retries, RetryBatch
from batchyard.service.rules import BatchRules, WhenFull
from batchyard.service.sweep import Sweep
from batchyard.store import Cursor
from batchyard.stores import sqlite
from batchyard.wiring.batches import Engines, Yard, batch_parts, guess_terms
from batchyard.wiring.lines import line_dialect
from tests.simulation.batches import (
    CHAT,
    EMBEDDINGS,
    MODELS,
    WINDOW_SECONDS,
    Asked,
    Bounds,
    Line,
    Trouble,
    asked_for,
    bounds_of,
    troubles_of,
)
from tests.simulation.disk import Faults, FaultyDisk, PowerCut
from tests.simulation.loop import SimulatedLoop
from tests.simulation.offload import InlineOffload
from tests.simulation.phases import Reached, WatchedParking, watched, watched_store
from tests.simulation.trace import Trace
from tests.support.rows import as_line, succeeded
from tests.support.tenants import OURS, START, THEIRS, a_project, an_endpoint, pieces

T = TypeVar("T")
Json = dict[str, Any]

RUNS = "/data/runs"
PRICE = Price(input=1_500_000_000, output=6_000_000_000)
RULES = BatchRules(windows={"24h": 86_400, "short": WINDOW_SECONDS})


LOCKED_SECONDS = 20.0
AWAY_SECONDS = 15.0
GONE_SECONDS = 600.0
JUMPS = {"clock forward": 2 * 86_400, "clock back": -86_400}
HARD_SECONDS = 60
"""How long a server lives on with a disk that fails."""


def simulate_yard(seed: int) -> tuple[int, int]:
    """Run one seed and check it; how many lives it took, and how many batches took over what had been examined.

    Raises AssertionError where a promise was broken.
    """
    random = Random(seed)
    simulation = Simulation(random, asked_for(random), bounds_of(random), troubles_of(random))
    simulation.run()
    return simulation.lives, simulation.taken


class _Clock:
    """Goes on from life to life."""

    def __init__(self) -> None:
        self.begun = float(START)
        self.loop: SimulatedLoop | None = None

    def now(self) -> float:
        return self.begun + (self.loop.time() if self.loop else 0)

    def jump(self, seconds: float) -> None:
        self.begun += seconds

    def end_life(self) -> None:
        self.begun = self.now() + 1
        self.loop = None


class _Steps:
    """The store's offload: each life has its own, and a dead one's is of no use. While the database is `locked`, steps
    wait and then fail, but now and then the lock goes just in time."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.current: InlineOffload | None = None
        self.locked = (0.0, 0.0)

    async def __call__(self, step: Callable[[], T], /) -> T:
        if self.current is None:
            raise PowerCut("the store is gone")
        try:
            return await self.current(partial(self._unless_locked, step))
        except Unavailable:
            await asyncio.sleep(self._random.uniform(0, 0.02))  # the next step may be done before this one is heard of
            raise

    def _unless_locked(self, step: Callable[[], T]) -> T:
        now = asyncio.get_running_loop().time()
        if self.locked[0] <= now < self.locked[1] and self._random.random() < 0.5:
            raise Unavailable("The database is locked.")
        return step()


class Simulation:
    """The lives of one server, each with its trouble."""

    def __init__(self, random: Random, asked: Sequence[Asked], bounds: Bounds, troubles: Sequence[Trouble]) -> None:
        self.random = random
        self.asked = asked
        self.bounds = bounds
        self.troubles = troubles
        self.reached: Counter[str] = Counter()  # phases, in this life
        self.struck: list[Trouble] = []
        self.cancel_all = asyncio.Event()
        self.files: dict[int, str] = {}
        self.ids: dict[int, BatchId] = {}
        self.cancelled: set[int] = set()
        self.retries: dict[int, BatchId] = {}
        self.read: dict[int, tuple[bytes, str | None]] = {}  # what a reader has, and where it goes on
        self.lives = 0
        self.taken = 0
        self.ill = False
        self.trouble = Trouble("none", 0)
        self.away = [0.0, 0.0]
        self.stop = asyncio.Event()
        self.bugs: list[Exception] = []
        self.clock = _Clock()
        self.steps = _Steps(random)
        self.store: sqlite.SqliteStore | None = None
        self.ended: dict[BatchId, Batch] = {}
        self.endpoint = an_endpoint(url="http://ours.example")
        self.heard: dict[BatchId, set[str]] = {}
        self.disk = FaultyDisk(self.random, Trace(), Faults())
        self.disk.make_folder("/data")
        self.disk.sync_folder("/")

    def run(self) -> None:
        for trouble in [*self.troubles, Trouble("none", 0)]:
            self._live(trouble)
        self._once(self._check)

    # Lives

    def _live(self, trouble: Trouble) -> None:
        self.lives += 1
        self.trouble, self.ill, self.away[:], self.steps.locked = trouble, False, (0.0, 0.0), (0.0, 0.0)
        self.reached.clear()
        kind, _, unit = trouble.kind.partition(" at a ")
        if unit == "call":
            self.disk.faults = Faults(cut_at_call=self.disk.calls + trouble.when)
        lost = not self._once(self._serve, cut_at_step=trouble.when if unit == "step" else None)
        self.disk = self.disk.cut(Faults()) if lost and kind == "cut" else self.disk.kill(Faults())
        assert not self.bugs, self.bugs
        self.steps.locked = (0.0, 0.0)
        self._once(self._see_ended)

    def _reach(self, phase: str) -> None:
        self.reached[phase] += 1
        if phase == self.trouble.phase and self.reached[phase] == self.trouble.when:
            self._strike(self.trouble.kind)

    def _begin_trouble(self) -> None:
        """What comes at a time of this life, rather than in some phase of a batch."""
        kind, when = self.trouble.kind, self.trouble.when
        if self.trouble.phase is None and kind in ("full disk", "failing sync"):
            self._strike(kind, when)
        elif self.trouble.phase is None:
            asyncio.get_running_loop().call_later(when, self._strike, kind)

    def _strike(self, kind: str, more: int = 0) -> None:
        """Let the trouble come now. A disk takes so many more kilobytes, or syncs."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        self.struck.append(self.trouble)
        match kind:
            case "kill" | "cut":
                loop.cut_soon(self.random.randint(1, 4))
            case "stop":
                self.stop.set()
            case "cancel":
                self.cancel_all.set()
            case "full disk":
                used = sum(map(len, self.disk.files().values()))
                self.disk.faults = Faults(capacity_bytes=used + more * 1000)
                self._give_in()
            case "failing sync":
                self.disk.faults = Faults(failing_sync=self.disk.syncs + max(more, 1))
                self._give_in()
            case "store locked":
                self.ill, self.steps.locked = True, (loop.time(), loop.time() + LOCKED_SECONDS)
            case "engine away" | "engine gone":
                seconds = AWAY_SECONDS if kind == "engine away" else GONE_SECONDS
                self.away[:] = loop.time(), loop.time() + seconds
            case "clock forward" | "clock back":
                self.clock.jump(JUMPS[kind])
            case _:
                self.struck.pop()

    def _give_in(self) -> None:
        """Somebody sees to the disk, and starts the server again."""
        self.ill = True
        asyncio.get_running_loop().call_later(HARD_SECONDS, self.stop.set)

    def _once(self, main: Callable[[], Any], cut_at_step: int | None = None) -> bool:
        """Run in a loop of its own; False where the process died."""
        loop = SimulatedLoop(cut_at_step=cut_at_step)
        self.clock.loop, self.steps.current = loop, InlineOffload(self.random, 0.002)

        def die() -> None:
            self.steps.current = None
            if main not in (self._check, self._see_ended):
                self.disk.switch_off()

        try:
            loop.run(main(), at_end=die)
            assert not loop.failures, loop.failures
        except PowerCut:
            return False
        except Exception:
            if not self.disk.was_cut and not self.ill:
                raise
            return False  # what a `finally` met afterwards; or the server cannot even start on such a disk
        finally:
            self.clock.end_life()
        return True

    async def _serve(self) -> None:
        """One life of a server: it ends when it is told to, or when all that anybody asked for has ended."""
        self.stop, self.cancel_all = asyncio.Event(), asyncio.Event()
        self._begin_trouble()
        store = await self._opened_store()
        blobs = await local.open(local.Config(folder="/data/blobs"), self.disk, InlineOffload(self.random, 0.002))
        ids, stop = Ids(self.random), self.stop
        await Sweep(store, blobs, self.clock).orphans()
        models = Models()
        examinations = self._examinations(blobs, models)
        parts = self._parts(store, blobs, ids, models, examinations)
        await tidy(parts, InlineOffload(self.random, 0.002))
        await examinations.clear()
        settings = CalendarSettings(at_once=2, grace_seconds=3, halt_seconds=1)
        calendar = Calendar(store, self.clock, partial(self._walk, parts), settings, parts.parking)
        noticed = NoticedStore(watched_store(store, self._reach), calendar.notice)
        files = Files(store, blobs, self.clock, ids, self._quota_of, examiner=examinations)
        batches = Batches(noticed, blobs, self.clock, ids, self._quota_of, RULES)
        retries = Retries(noticed, self.clock, ids, self._quota_of, RULES)

        def of_model(window: str) -> ModelBatches:
            rules = structs.replace(RULES, model_window_seconds=RULES.windows[window])
            return ModelBatches(noticed, blobs, self.clock, ids, self._quota_of, rules, batches, unchecked)

        async with asyncio.TaskGroup() as group:
            group.create_task(calendar.run(stop))
            examining = group.create_task(examinations.run())
            results = Results(store, blobs, self.clock, parts.underway.portion)
            readers = [group.create_task(self._reader(each, results)) for each in self.asked]
            notify = Notify(store, self.clock, self.random, self._hear, NotifySettings())
            notifying = group.create_task(notify.run())
            people = [
                group.create_task(self._patient(each, files, batches, of_model(each.window), retries))
                for each in self.asked
            ]
            cancelling = group.create_task(self._canceller(batches))
            while not stop.is_set():
                await asyncio.sleep(1)
                if await self._is_done(store, people):
                    stop.set()
            for task in (*people, *readers, examining, notifying, cancelling):
                task.cancel()

    async def _is_done(self, store: sqlite.SqliteStore, people: Sequence[asyncio.Task[None]]) -> bool:
        try:
            await self._check_holds(store)
            return all(person.done() for person in people) and not await store.batches.unended()
        except Unavailable:
            assert self.ill
            return False

    async def _canceller(self, batches: Batches) -> None:
        """Cancels whatever there is, once that is wanted."""
        await self.cancel_all.wait()
        for asked in self.asked:
            for id in (self.ids.get(asked.number), self.retries.get(asked.number)):
                with suppress(Conflict):
                    if id is not None:
                        await batches.cancel(Caller(asked.project, Role.EDITOR), id)

    async def _hear(self, endpoint: WebhookEndpoint, event: Event) -> int:
        """Takes its time, and takes an event sooner or later."""
        await asyncio.sleep(self.random.uniform(0, 3))
        if self.random.random() < 0.5:
            return self.random.choice([302, 410, 500])
        self.heard.setdefault(event.batch_id, set()).add(event.id)
        return 200

    async def _opened_store(self) -> sqlite.SqliteStore:
        if self.store is None:
            self.store = await sqlite.open(sqlite.Config(path=":memory:"), self.steps)
        known = {project.id for project in await self.store.projects.list()}
        for project in sorted({OURS, THEIRS} - known):
            await self.store.projects.add(a_project(project))
        if await self.store.webhooks.get(OURS, self.endpoint.id) is None:
            await self.store.webhooks.add(self.endpoint, 1)
        return self.store

    def _examinations(self, blobs: local.LocalBlobs, models: Models) -> Examinations:
        """Of every input, however small; carried out as it would be elsewhere, in its own time."""
        disk, offload = self.disk, InlineOffload(self.random, 0.5)

        async def examine(growing: Growing, plan_path: str, terms: Terms, on_progress: OnProgress) -> Verdict:
            self._reach("examination")
            whole = asyncio.Event()
            growing.follow(lambda: whole.set() if growing.whole else None)
            await whole.wait()
            dialect = line_dialect("examination", terms)
            return await offload(
                lambda: validate(disk, growing.path, plan_path, dialect, dedupe=True, on_progress=on_progress)
            )

        steps, guess = InlineOffload(self.random, 0.002), partial(guess_terms, models=models, several_models=True)
        return Examinations(disk, steps, "/data/examined", examine, guess, blobs.path, 1)

    def _parts(
        self, store: sqlite.SqliteStore, blobs: local.LocalBlobs, ids: Ids, models: Models, examinations: Examinations
    ) -> BatchParts:
        abilities = Abilities(endpoints=frozenset({CHAT, EMBEDDINGS}), models=None, slots=3)
        engines, limits = Engines(), ModelLimits(enqueued_tokens=self.bounds.model)
        for name in MODELS:
            away = self.away if name == "m" else (0.0, 0.0)
            engine = echo.open(echo.Config(script=_Engine(self.random, away, self._reach)))
            sharing = Sharing(engine, abilities, self.clock, grouping=GROUPED)
            engines.add(name, sharing)
            models.add(Model(name, sharing.front(), abilities, price=PRICE, limits=limits))
        yard = Yard(
            store=store, blobs=blobs, disk=self.disk, clock=self.clock, ids=ids, random=self.random, models=models,
            engines=engines, quota_of=self._quota_of, folder=RUNS, steps=InlineOffload(self.random, 0.002),
            examined=self._taken(examinations), small_bytes=self.random.choice((0, SMALL_BYTES)),
            underway=Underway(InlineOffload(self.random, 0.002)),
            dispatch=DispatchSettings(request_timeout_seconds=5, retries=50, engine_down_seconds=6),
            when_full=self.bounds.when_full, several_models=True, parking=WatchedParking(self._reach),
        )  # fmt: skip
        return watched(batch_parts(yard), self._reach)

    def _taken(self, examinations: Examinations) -> Taking:
        async def take(blob: str, terms: Terms, plan_path: str, on_progress: OnProgress) -> Verdict | None:
            verdict = await examinations.take(blob, terms, plan_path, on_progress)
            self.taken += verdict is not None
            return verdict

        return take

    async def _walk(self, parts: BatchParts, batch: Batch, leash: Leash) -> None:
        try:
            await walk_batch(batch, parts, InlineOffload(self.random, 0.002), leash)
        except NoRoom:
            assert self.bounds.when_full is WhenFull.QUEUE
            raise
        except Exception as error:
            if self.disk.was_cut:
                raise PowerCut("what a `finally` met afterwards") from error
            if not isinstance(_innermost(error), Unavailable):
                self.bugs.append(error)  # the calendar goes on whatever happens, and so would hide it
            raise

    def _quota_of(self, project: str) -> Quota:
        return Quota(enqueued_tokens=self.bounds.project)

    async def _patient(
        self, asked: Asked, files: Files, batches: Batches, of_model: ModelBatches, retries: Retries
    ) -> None:
        """Somebody who comes back another day where the server cannot serve."""
        try:
            await self._person(asked, files, batches, of_model)
            if asked.retry:
                await self._retry(asked, batches, retries)
        except Unavailable:
            if self.disk.was_cut:
                raise PowerCut("what a `finally` met afterwards") from None
            assert self.ill

    async def _person(self, asked: Asked, files: Files, batches: Batches, of_model: ModelBatches) -> None:
        """Ask for a batch once, in whichever life, and cancel it once where that is wanted."""
        caller = Caller(asked.project, Role.EDITOR)
        if asked.number not in self.ids:
            await asyncio.sleep(asked.at)
            if asked.number not in self.files and not asked.inline:
                file = await files.upload(caller, "in.jsonl", "batch", pieces(asked.content, 1 << 16))
                self.files[asked.number] = file.id
            create = self._create_of_model if asked.form is Form.GEMINI else self._create
            self.ids[asked.number] = (await create(caller, asked, batches, of_model)).id
        if asked.cancel_at is not None and asked.number not in self.cancelled:
            await asyncio.sleep(asked.cancel_at - asked.at)
            try:
                await batches.cancel(caller, self.ids[asked.number])
            except Conflict:
                return
            self.cancelled.add(asked.number)

    async def _create(self, caller: Caller, asked: Asked, batches: Batches, _: ModelBatches) -> Batch:
        wish = CreateBatch(
            input_file_id=self.files[asked.number], endpoint=asked.endpoint, completion_window=asked.window,
            priority=asked.priority,
        )  # fmt: skip
        return await batches.create(caller, wish, idempotency_key=str(asked.number))

    async def _create_of_model(self, caller: Caller, asked: Asked, _: Batches, of_model: ModelBatches) -> Batch:
        file = self.files.get(asked.number)
        wish = CreateModelBatch(
            model=MODELS[0], endpoint=asked.endpoint, form=Form.GEMINI, priority=asked.priority,
            input_file_id=None if file is None else FileId(file), lines=asked.content if file is None else None,
        )  # fmt: skip
        return await of_model.create(caller, wish, idempotency_key=str(asked.number))

    async def _retry(self, asked: Asked, batches: Batches, retries: Retries) -> None:
        """Wait until the batch has ended, and ask what is left again, once, in whichever life."""
        caller, id = Caller(asked.project, Role.EDITOR), self.ids[asked.number]
        while not (await batches.get(caller, id)).state.terminal:  # noqa: ASYNC110 - so do people
            await asyncio.sleep(1)
        if asked.number in self.retries:
            return
        try:
            made = await retries.retry(caller, id, RetryBatch(), idempotency_key=f"retry of {asked.number}")
        except Conflict:
            return
        self.retries[asked.number] = made.id

    async def _reader(self, asked: Asked, results: Results) -> None:
        """Somebody who appends results as they come, through all lives: nothing given out is ever taken back."""
        caller, kind = Caller(asked.project, Role.VIEWER), ("output", "errors")[asked.number % 2]
        complete = False
        while not complete:
            await asyncio.sleep(0.5)
            if asked.number not in self.ids:
                continue
            data, after = self.read.get(asked.number, (b"", None))
            try:
                part = await results.portion(caller, self.ids[asked.number], after=after, limit=3, kind=kind)
            except Unavailable:
                if self.disk.was_cut:
                    raise PowerCut("what a `finally` met afterwards") from None
                continue
            self.read[asked.number] = data + part.portion.data, str(part.portion.watermark)
            complete = part.complete

    # Checks

    async def _check_holds(self, store: sqlite.SqliteStore) -> None:
        """What a project holds is what its unended batches hold, and never more than it may."""
        unended = await store.batches.unended()
        for project in (OURS, THEIRS):
            held = [(batch.model, batch.enqueued_tokens) for batch in unended if batch.project == project]
            assert min((tokens for _, tokens in held), default=0) >= 0 and self.bounds.allow_all(held)

    async def _see_ended(self) -> None:
        """Nothing that has ended ever changes."""
        if self.store is None:
            return
        for asked, id in [(each, ids.get(each.number)) for each in self.asked for ids in (self.ids, self.retries)]:
            batch = await self.store.batches.get(asked.project, id) if id else None
            if batch is not None and batch.state.terminal:
                assert self.ended.setdefault(batch.id, batch) == batch

    async def _check(self) -> None:
        assert self.store is not None
        disk = self.disk
        blobs = await local.open(local.Config(folder="/data/blobs"), disk, InlineOffload(self.random, 0.001))
        for asked in self.asked:
            batch = await self.store.batches.get(asked.project, self.ids[asked.number])
            assert batch is not None and batch.state in TERMINAL
            await self._check_batch(asked, batch, blobs)
            if asked.retry:
                await self._check_retry(asked, batch, blobs)
        await self._check_events()
        await self._check_spending()
        await self._check_heard()
        assert disk.names(RUNS) == []
        assert not await self.store.files.unknown_blobs(await blobs.keys("files"))

    async def _check_retry(self, asked: Asked, batch: Batch, blobs: local.LocalBlobs) -> None:
        """A second batch has exactly the lines that did not succeed, in an input of its own."""
        assert self.store is not None
        bad = {line["custom_id"] for line in (await self._results(batch, blobs))[1]}
        made = [each for each in await self._all(asked) if each.retry_of == batch.id]
        assert [each.id for each in made] == [self.retries.get(asked.number)] * bool(bad)
        for retry in made:
            left = dataclasses.replace(asked, lines=tuple(line for line in asked.lines if line.id in bad))
            inside = await self._lines(batch, retry.input_file_id, blobs)
            assert [line.get("custom_id", line.get("key")) for line in inside] == [line.id for line in left.lines]
            unread = dataclasses.replace(left, number=-1, cancel_at=None)
            await self._check_batch(unread, retry, blobs)

    async def _all(self, asked: Asked) -> Sequence[Batch]:
        assert self.store is not None
        page = await self.store.batches.list(asked.project, Cursor(100))
        assert page is not None and not page.more
        return page.rows

    async def _check_batch(self, asked: Asked, batch: Batch, blobs: local.LocalBlobs) -> None:
        good, bad = await self._results(batch, blobs)
        if asked.bad:
            assert not good and not bad and batch.state in (BatchState.FAILED, BatchState.CANCELLED)
            assert batch.error_count == 1 and batch.counts.total == 0
            return
        if batch.errors:  # one cancelled in the very moment of its refusal ends cancelled, with its errors
            assert batch.state in (BatchState.FAILED, BatchState.CANCELLED)
            assert batch.errors[0].code == "token_limit_exceeded" and not good and not bad and not batch.cost_nanos
            assert not self.bounds.allow(asked.tokens) or self.bounds.when_full is WhenFull.FAIL
            return
        assert sorted(line["custom_id"] for line in [*good, *bad]) == sorted(line.id for line in asked.lines)
        read = [json.loads(line) for line in self.read.get(asked.number, (b"", None))[0].splitlines()]
        if batch.form is Form.GEMINI:
            rows = await self._lines(batch, batch.output_file_id, blobs)
            assert [row["key"] for row in rows] == [line.id for line in asked.lines]
            assert read == ([] if asked.number % 2 else rows[: len(read)])
        else:
            assert read == (bad if asked.number % 2 else good)[: len(read)]
        _check_lines({line.id: line for line in asked.lines}, batch, good, bad)
        match batch.state:
            case BatchState.COMPLETED:
                assert not batch.counts.cancelled + batch.counts.expired
            case BatchState.EXPIRED:
                assert batch.counts.expired and (asked.window == "short" or "clock forward" in self._kinds())
            case _:
                assert batch.state is BatchState.CANCELLED
                assert asked.cancel_at is not None or "cancel" in self._kinds()

    def _kinds(self) -> set[str]:
        """What has struck."""
        return {trouble.kind for trouble in self.struck}

    async def _check_spending(self) -> None:
        """Each batch has been charged once, and holds nothing any more."""
        assert self.store is not None
        bills, requests = Counter[str](), Counter[str]()
        for asked, id in [(each, ids.get(each.number)) for each in self.asked for ids in (self.ids, self.retries)]:
            if id is None:
                continue  # nobody retried it
            batch = await self.store.batches.get(asked.project, id)
            assert batch is not None and not batch.enqueued_tokens
            whole = PRICE.cost(batch.usage, batch=True)  # each of several models is rounded by itself
            assert batch.cost_nanos is None or abs(batch.cost_nanos - whole) <= len(MODELS)
            assert batch.cost_nanos is not None or not batch.counts.completed
            bills[asked.project] += batch.cost_nanos or 0
            requests[asked.project] += batch.counts.completed + batch.counts.failed
        spent = await self.store.spending.between(0, 1 << 40)
        assert bills == Counter({project: sum(e.nanos for e in spent if e.project == project) for project in bills})
        for project in (OURS, THEIRS):
            assert requests[project] == sum(each.requests for each in spent if each.project == project)
            assert await self.store.batches.enqueued(project) == 0

    async def _results(self, batch: Batch, blobs: local.LocalBlobs) -> tuple[list[Json], list[Json]]:
        """The lines that succeeded and the others, as OpenAI has them whatever the wire."""
        output = await self._lines(batch, batch.output_file_id, blobs)
        if batch.form is not Form.GEMINI:
            return output, await self._lines(batch, batch.error_file_id, blobs)
        assert batch.error_file_id is None
        good = [as_line(row) for row in output if succeeded(row)]
        return good, [as_line(row) for row in output if not succeeded(row)]

    async def _lines(self, batch: Batch, id: Any, blobs: local.LocalBlobs) -> list[dict[str, Any]]:
        assert self.store is not None
        if id is None:
            return []
        file = await self.store.files.get(batch.project, id, int(self.clock.now()))
        assert file is not None and file.bytes == await blobs.size(file.blob) > 0
        content = b"".join([chunk async for chunk in blobs.read_range(file.blob, 0, file.bytes)])
        return [json.loads(line) for line in content.splitlines()]

    async def _check_events(self) -> None:
        """Each batch went through legal states, each once, at times that do not run backwards."""
        assert self.store is not None
        states: dict[str, list[tuple[str, int]]] = {}
        for _, event in await self.store.events.after(0, 10_000):
            states.setdefault(event.batch_id, []).append((event.kind.removeprefix("batch."), event.at))
        for walked in states.values():
            names, times = [BatchState(name) for name, _ in walked], [at for _, at in walked]
            assert names[0] is BatchState.VALIDATING and names[-1].terminal and times == sorted(times)
            assert all(after in MOVES[before] for before, after in pairwise(names))

    async def _check_heard(self) -> None:
        """Each end of ours was heard of, or is still on its way, under one id; of theirs nothing was."""
        assert self.store is not None
        events = [event for _, event in await self.store.events.after(0, 10_000, OURS)]
        ends = {event.batch_id: event.id for event in events if event.kind.removeprefix("batch.") in TERMINAL}
        going = {each.event.batch_id for each, _ in await self.store.webhooks.due(START << 1, 10_000)}
        assert all(found == {ends[batch]} for batch, found in self.heard.items())
        assert self.heard.keys() | going == ends.keys()


async def unchecked(_: Batch, lines: bytes) -> Checked:
    """Leaves everything to the walk, whose faults these are about."""
    return Checked(len(lines.splitlines()), (), 0)


def _innermost(error: Exception) -> Exception:
    inner: tuple[Exception, ...] = getattr(error, "exceptions", ())
    return _innermost(inner[0]) if inner else error


def _check_lines(wanted: dict[str, Line], batch: Batch, good: list[dict[str, Any]], bad: list[dict[str, Any]]) -> None:
    """Every line has the right end, and the counts are those of the files."""
    ends = {"batch_cancelled": 0, "batch_expired": 0, "ran": 0}
    for line in good:
        assert _answers(line["response"]["body"], wanted[line["custom_id"]].text)
    for line in bad:
        code = line["error"]["code"] if line["error"] else "ran"
        ends[code] += 1
        assert code != "ran" or not wanted[line["custom_id"]].succeeds
    counts = batch.counts
    assert (counts.total, counts.completed, counts.failed) == (len(wanted), len(good), ends["ran"])
    assert (counts.cancelled, counts.expired) == (ends["batch_cancelled"], ends["batch_expired"])
    used = [usage_of(json.dumps(line["response"]["body"]).encode()) for line in good]
    assert batch.usage.input_tokens == sum(usage.input_tokens for usage in used)


def _answers(body: dict[str, Any], text: str) -> bool:
    """Whether an answer is the one to a text: an echo of it, or its length as a vector."""
    if body["object"] == "list":
        return body["data"] == [{"object": "embedding", "index": 0, "embedding": [float(len(text))]}]
    return body["choices"][0]["message"]["content"] == text


class _Engine:
    """Answers, refuses, takes its time, or fails for a while: as a line's text says."""

    def __init__(self, random: Random, away: Sequence[float], reached: Reached) -> None:
        self._random = random
        self._away = away  # from when to when
        self._reached = reached
        self._inside = 0

    async def __call__(self, request: Request) -> Reply | None:
        self._reached("running")
        self._inside += request.lines
        assert self._inside <= 5, "more at once than the engine has room for, and the rest of a group of two"
        try:
            return await self._reply(_texts(json.loads(request.body)))
        finally:
            self._inside -= request.lines

    async def _reply(self, texts: list[str]) -> Reply | None:
        """To a group as to the least lucky of its texts."""
        if self._away[0] <= asyncio.get_running_loop().time() < self._away[1]:
            return Failure("engine_unreachable", "Nobody is there.", Fault.DOWN)
        kinds = {text.partition(" ")[0] for text in texts}
        await asyncio.sleep(self._random.uniform(0, 12 if "slow" in kinds else 0.5))
        if "refuse" in kinds:
            return Answer(400, b'{"error":{"message":"no"}}')
        if "flaky" in kinds and self._random.random() < 0.5:
            return Answer(503, b"")
        if "lost" in kinds and self._random.random() < 0.5:
            return Failure("connection_lost", "It broke.", Fault.LOST)
        return None


def _texts(body: dict[str, Any]) -> list[str]:
    if "messages" in body:
        return [str(body["messages"][0]["content"])]
    given: Any = body["input"]
    return [given] if isinstance(given, str) else given
