"""Whole walks, one per seed: a run is begun again after every power cut until it is complete; then all is checked.

Real are the walk, its stations, the journal, the http engine and its client; simulated are time, disk and upstreams.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from batchyard.dialect import LineDialect
from batchyard.dialects.lines import openai
from batchyard.domain.errors import Unavailable
from batchyard.endpoints import ENDPOINTS
from batchyard.endpoints.embeddings import GROUPED
from batchyard.engines import http
from batchyard.journals.disk import DiskJournal, open_journal
from batchyard.pipeline.manifest import InputFacts
from batchyard.pipeline.stop import Stop
from batchyard.pipeline.tally import Tally
from batchyard.pipeline.walk import Ending, Parts, Run, walk
from tests.simulation.disk import Faults, FaultyDisk, PowerCut
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import Network
from tests.simulation.offload import InlineOffload
from tests.simulation.trace import Trace
from tests.simulation.upstream import Asked, ScriptedUpstream
from tests.simulation.world import ERRORS, FOLDER, INPUT, OUTPUT, Trouble, Wanted, make_world

MOST_LIVES = 12


@dataclass
class Report:
    """How a seed went: what it did, for comparing and for numbers."""

    seed: int
    checksum: int = 0
    lives: int = 0
    lines: int = 0
    asked: int = 0
    events: list[str] = field(default_factory=list[str])


def simulate(seed: int, *, keep: bool = False) -> Report:
    """Run one seed and check it. Raises AssertionError where a promise was broken."""
    simulation = _Simulation(seed, keep)
    simulation.run()
    return Report(
        seed,
        simulation.trace.checksum,
        simulation.lives,
        len(simulation.world.wanted),
        sum(simulation.asked.heard.values()),
        simulation.trace.events or [],
    )


class SimulatedClock:
    """The date: some day, and the loop's seconds."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        return 1_800_000_000 + self._loop.time()


class _Simulation:
    """The lives of one run, on one disk."""

    def __init__(self, seed: int, keep: bool) -> None:
        self.random = Random(seed)
        self.world = make_world(self.random)
        self.trace = Trace(keep=keep)
        self.asked = Asked()
        self.lives = 0
        self.journal: DiskJournal | None = None
        self.settled: dict[int, int] = {}
        """Lines whose result was durable when a life ended, and how often their question had been heard by then."""
        self.disk = FaultyDisk(self.random, self.trace, Faults())
        self._put_input()

    def run(self) -> None:
        ending: Ending | None = None
        troubles = iter(self.world.troubles)
        while ending is None or not ending.complete:
            ending = self._live(next(troubles, None))
            assert self.lives < MOST_LIVES, "the run does not come to its end"
        self._check_ending(ending)
        self._check_files()
        self._check_asked()
        if self.random.random() < 0.5:
            self.disk = self.disk.cut(Faults())
        self._check_again()
        self._check_files()

    # Lives

    def _live(self, trouble: Trouble | None) -> Ending | None:
        """One life of the process: it ends by itself, or by trouble. None where it had no ending."""
        self.lives += 1
        self.trace.note(f"life {self.lives}: {trouble}")
        self.disk.faults = self._faults(trouble)
        cut_at_step = trouble.when if trouble and trouble.kind.endswith("at a step") else None
        network = Network(self.random, self.trace)
        loop = SimulatedLoop(network, cut_at_step=cut_at_step)
        for number, temper in enumerate(self.world.tempers):
            network.upstreams[f"upstream{number}", 80] = ScriptedUpstream(self.random, self.trace, self.asked, temper)
        ending, crashed = None, False
        try:
            ending = loop.run(self._walk(loop, trouble), at_end=self.disk.switch_off)
            assert not loop.failures, loop.failures
        except PowerCut:
            crashed = True
        except (Unavailable, OSError) as error:
            crashed = self.disk.was_cut  # then this is what a `finally` met afterwards
            assert crashed or self._is_due_to(trouble, error), error
        self._see_settled()
        self.trace.note(f"ends {ending}")
        loses = crashed and not (trouble and trouble.kind.startswith("kill"))
        self.disk = self.disk.cut(Faults()) if loses else self.disk.kill(Faults())
        return ending

    def _faults(self, trouble: Trouble | None) -> Faults:
        match trouble:
            case Trouble("cut at a call" | "kill at a call", when):
                return Faults(cut_at_call=self.disk.calls + when)
            case Trouble("full disk", _, amount):
                used = sum(map(len, self.disk.files().values()))
                return Faults(capacity_bytes=used + int(amount * 20_000))
            case Trouble("failing sync", when):
                return Faults(failing_sync=self.disk.syncs + when)
            case _:
                return Faults()

    def _is_due_to(self, trouble: Trouble | None, error: Exception) -> bool:
        """Whether a run may end so: with a full or broken disk, and a word on what to do."""
        ill = trouble is not None and trouble.kind in ("full disk", "failing sync")
        return ill and isinstance(error, Unavailable) and error.remedy != ""

    async def _walk(self, loop: SimulatedLoop, trouble: Trouble | None) -> Ending:
        stop = Stop()
        if trouble and trouble.kind.startswith("stop"):
            loop.call_later(trouble.amount * 3, stop.ask)
            if trouble.kind == "stop now":
                loop.call_later(trouble.amount * 3 + 0.1, stop.ask)
        engine = http.open(self._engine_config(), clock=SimulatedClock(loop))
        try:
            return await walk(self._what(), self._parts(loop, engine), Tally(), stop)
        finally:
            await engine.close()

    def _what(self) -> Run:
        return Run(
            input=InputFacts(INPUT, len(self.world.content)),
            folder=FOLDER,
            output=OUTPUT,
            errors=self.world.errors,
            settings={"model": "m"},
            order=self.world.order,
            on_invalid_line=self.world.on_invalid_line,
            dedupe=self.world.dedupe,
            dispatch=self.world.dispatch,
            largest_group=self.world.group,
        )

    def _parts(self, loop: SimulatedLoop, engine: Any) -> Parts:
        offload = InlineOffload(self.random, self.world.slowest_disk_seconds)

        async def journal(folder: str, lines: int) -> DiskJournal:
            """Kept at hand, to see what it called durable in this life."""
            self.journal = await open_journal(self.disk, offload, folder, lines)
            return self.journal

        return Parts(
            disk=self.disk,
            offload=offload,
            clock=SimulatedClock(loop),
            dialect=_dialect,
            journal=journal,
            engine=engine,
            random=self.random,
            new_run_id=lambda: f"run-{self.random.getrandbits(64):016x}",
            grouping=GROUPED,
        )

    def _engine_config(self) -> http.Config:
        return http.Config(urls=tuple(f"http://upstream{number}" for number in range(len(self.world.tempers))))

    def _see_settled(self) -> None:
        if self.journal is None:
            return
        for place, outcome in enumerate(self.journal.outcomes()):
            question = self.world.wanted[place].question
            if outcome and question is not None:
                self.settled.setdefault(place, self.asked.heard[question])
        self.journal = None

    def _put_input(self) -> None:
        self.disk.make_folder("/data")
        self.disk.sync_folder("/")
        handle = self.disk.open(INPUT, create=True)
        handle.append(self.world.content)
        handle.sync()
        self.disk.sync_folder("/data")

    # Checks

    def _check_ending(self, ending: Ending) -> None:
        wanted = self.world.wanted
        succeeded = sum(each.succeeds for each in wanted)
        assert (ending.lines, ending.succeeded, ending.errored) == (len(wanted), succeeded, len(wanted) - succeeded)

    def _check_files(self) -> None:
        """Exactly one right line for each line, where it belongs; nothing else is left."""
        files = self.disk.files()
        wanted = list(enumerate(self.world.wanted))
        good, bad = _parsed(files.pop(OUTPUT)), _parsed(files.pop(ERRORS, b""))
        if self.world.errors is None:
            _check_lines(good, wanted, self.world.order)
            assert not bad
        else:
            _check_lines(good, [each for each in wanted if each[1].succeeds], self.world.order)
            _check_lines(bad, [each for each in wanted if not each[1].succeeds], self.world.order)
        assert files.keys() == {INPUT, f"{FOLDER}/run.json"}
        assert files[INPUT] == self.world.content

    def _check_asked(self) -> None:
        """A line whose result was durable was not asked again. Lines with equal questions may each be asked."""
        questions = Counter(each.question for each in self.world.wanted)
        for place, heard in self.settled.items():
            question = self.world.wanted[place].question
            assert question is not None
            if questions[question] == 1 or self.world.dedupe:
                assert self.asked.heard[question] == heard, f"line {place} was asked again"

    def _check_again(self) -> None:
        """Running it once more, also after a power cut, finds everything done, and asks nothing."""
        heard = self.asked.heard.total()
        ending = self._live(None)
        assert ending is not None and ending.already and self.asked.heard.total() == heard


def _dialect(run_id: str) -> LineDialect:
    return openai.open(openai.Config(run_id=run_id, endpoints=ENDPOINTS, default_model="m"))


def _parsed(content: bytes) -> list[dict[str, Any]]:
    assert not content or content.endswith(b"\n")
    return [json.loads(line) for line in content.splitlines()]


def _check_lines(lines: Sequence[dict[str, Any]], wanted: Sequence[tuple[int, Wanted]], order: str) -> None:
    assert len(lines) == len(wanted), f"{len(lines)} lines where {len(wanted)} belong"
    assert len({line["id"] for line in lines}) == len(lines)
    found = [_told(line) for line in lines]
    right = [_right(each) for _, each in wanted]
    if order == "completion":
        found, right = sorted(found), sorted(right)
    assert found == right


def _told(line: dict[str, Any]) -> tuple[str, str]:
    """The id of a result line, and what it says."""
    response = line["response"]
    if response is None:
        assert line["error"]["code"]
        return str(line["custom_id"]), "error"
    if response["status_code"] == 400:
        return str(line["custom_id"]), f"refused {response['body']['error']['message']}"
    assert response["status_code"] == 200
    body = response["body"]
    if body.get("object") == "list":
        [only] = body["data"]
        assert only["index"] == 0
        return str(line["custom_id"]), only["embedding"]
    return str(line["custom_id"]), body["choices"][0]["message"]["content"]


def _right(wanted: Wanted) -> tuple[str, str]:
    if wanted.question is None:
        return str(wanted.custom_id), "error"
    if not wanted.succeeds:
        return str(wanted.custom_id), f"refused I do not answer {wanted.question!r}."
    return str(wanted.custom_id), wanted.text
