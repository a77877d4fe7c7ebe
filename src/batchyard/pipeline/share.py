"""One engine and all who ask it: people who wait for an answer go at once, batches take what is left, in turn.

A batch is dispatched as if the engine were its own (`Share` is an engine to it); its requests queue here, outside the
engine, so that they can be let in by who has least. Time in this queue costs a request nothing: the limit on the time
of an attempt begins when the engine gets it.

What an engine works on at once is counted in lines where it says how many slots it has, so a group of lines fills as
much of it as they would one by one. Elsewhere it is counted in calls.

An engine that answers without waiting for anything would let batches keep the event loop to themselves. So only a few
requests are let in within one turn of the loop: between any two turns the doors are served.
"""

import asyncio
from collections import Counter, deque

import msgspec
from msgspec import Raw, Struct

from batchyard.clock import Clock
from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Batch
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.endpoint import Grouping
from batchyard.engine import Abilities, Engine, Say, stream
from batchyard.pipeline.group import Groups
from batchyard.pipeline.waiting import Waiting
from batchyard.policy.group import USUAL_SIZE, largest
from batchyard.policy.retry import REQUEST_TIMEOUT
from batchyard.telemetry import traces

STOPPED = Failure("stopped", "The batch was stopped before this request was sent.", Fault.CANCELLED)

AT_A_TURN = 8
"""Requests that are let in within one turn of the event loop, at tens of microseconds each."""
LONGEST_WAITING = 8
"""Each so many-th request of a project is of the batch that has waited longest: all that run get on."""

_fields = msgspec.json.Decoder(dict[str, Raw]).decode


def room_of(slots: int | None) -> int | None:
    """How many requests an engine gets at once: all its slots and a few to follow; None where it has no known end.

    Every request that follows is one that a person's request has to wait for.
    """
    return None if slots is None else slots + max(1, slots // 4)


class Caps(Struct, frozen=True, kw_only=True):
    """How many requests an engine may get at once, None for no end of ours.

    `all` counts people's, which wait then, too; `batches` is how many of them batches may have. `group` is how many of
    those that can be asked together are. A request of a batch may take `request_timeout_seconds`, None: as its walk
    says.
    """

    all: int | None = None
    batches: int | None = None
    group: int = USUAL_SIZE
    request_timeout_seconds: float | None = None


class Sharing:
    """A started engine. `model` is what it calls its model, None: what callers call it; `name` what answers call it,
    None: as the engine does. `grouping` is what of batches' requests can be asked together. `people` is the engine as
    people's requests go through it, None: no other."""

    def __init__(
        self,
        engine: Engine,
        abilities: Abilities,
        clock: Clock,
        *,
        model: str | None = None,
        name: str | None = None,
        caps: Caps | None = None,
        grouping: Grouping | None = None,
        people: Engine | None = None,
    ) -> None:
        self.engine = engine
        self.people = people or engine
        self.abilities = abilities
        self._clock = clock
        self._model = model
        self._name = name if name != model else None
        self._caps = caps or Caps()
        self._counts_lines = self._caps.all is None and abilities.slots is not None
        self._room = room_of(abilities.slots) if self._caps.all is None else self._caps.all
        self.groups = None if grouping is None else Groups(grouping, self._largest_group())
        self._asked = 0  # by people
        self._people: deque[asyncio.Future[None]] = deque()
        self._out: Counter[ProjectId] = Counter()  # batches' requests in the engine, or their lines
        self._waiting: Waiting[Share] = Waiting(LONGEST_WAITING)
        self._let = 0  # in this turn of the loop
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def inflight(self) -> int:
        """Batches' requests in the engine; where it says how many slots it has, their lines."""
        return self._out.total()

    @property
    def waiting(self) -> int:
        """Batches' requests that wait for a turn."""
        return sum(len(share.turns) for share in self._waiting)

    def front(self) -> "Front":
        """The engine for people who wait."""
        return Front(self)

    def share(self, batch: Batch, timeout_seconds: float) -> "Share":
        """The engine for a batch; an attempt may take so long."""
        return Share(self, batch, self._caps.request_timeout_seconds or timeout_seconds)

    def named(self, request: Request) -> Request:
        """The request with the name that the engine knows its model by."""
        if self._model is None or request.model == self._model:
            return request
        body = msgspec.json.encode(_fields(request.body) | {"model": self._model})
        return msgspec.structs.replace(request, model=self._model, body=body)

    def renamed(self, reply: Reply) -> Reply:
        """The answer with the name that callers know the model by, where the engine has another one for it."""
        if self._name is None or not isinstance(reply, Answer) or not reply.ok:
            return reply
        body = _with_model(reply.body, self._name)
        return reply if body is None else msgspec.structs.replace(reply, body=body)

    def renaming(self, say: Say) -> Say:
        """Says the pieces of an answer with that name."""
        name = self._name
        if name is None:
            return say

        async def renamed(piece: bytes) -> None:
            await say(_with_model(piece, name) or piece)

        return renamed

    async def ask(self) -> None:
        """Let a person's request into the engine: at once, and only where the engine is capped as soon as it may."""
        if not self._people and self._has_place():
            self._asked += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._people.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.answered()  # its turn came in the same moment
            raise

    def answered(self) -> None:
        """A person's request is over."""
        self._asked -= 1
        self._let_in()

    def weight(self, request: Request) -> int:
        """What a request counts for."""
        return request.lines if self._counts_lines else 1

    async def enter(self, share: "Share", weight: int) -> bool:
        """Wait for a turn; False where the share was shut first. Who entered must leave."""
        if share.shut:
            return False
        self._loop = asyncio.get_running_loop()
        if not self._waiting and self._has_room():
            self._admit(share, weight)
            return True
        turn: asyncio.Future[bool] = self._loop.create_future()
        share.turns.append((turn, weight))
        if len(share.turns) == 1:
            self._waiting.add(share.batch, share)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self.leave(share, weight)  # its turn came in the same moment
            raise

    def leave(self, share: "Share", weight: int) -> None:
        """A batch's request is over."""
        self._out[share.batch.project] -= weight
        self._let_in()

    def send_away(self, share: "Share") -> None:
        """Let nothing of a share in any more."""
        self._waiting.remove(share.batch)
        while share.turns:
            turn, _ = share.turns.popleft()
            if not turn.done():
                turn.set_result(False)

    def _largest_group(self) -> int:
        if not self._counts_lines or self._room is None:
            return self._caps.group
        return largest(self._caps.group, min(self._room, self._caps.batches or self._room))

    def _has_place(self) -> bool:
        """Whether a person's request may go in."""
        return self._caps.all is None or self._asked + self._out.total() < self._caps.all

    def _has_room(self) -> bool:
        """Whether a batch's request may go in."""
        out = self._out.total()
        if self._let >= AT_A_TURN or (self._caps.batches is not None and out >= self._caps.batches):
            return False
        return self._room is None or self._asked + out < self._room

    def _admit(self, share: "Share", weight: int) -> None:
        self._out[share.batch.project] += weight
        self._let += 1
        if self._let == 1 and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        """The loop has served everybody else."""
        self._let = 0
        self._let_in()

    def _let_in(self) -> None:
        while self._people and self._has_place():
            person = self._people.popleft()
            if not person.done():
                person.set_result(None)
                self._asked += 1
        while self._has_room() and (share := self._waiting.first(self._out)) is not None:
            self._waiting.remove(share.batch)
            turn, weight = share.turns.popleft()
            if not turn.done():  # else whoever waited for it has given up
                turn.set_result(True)
                self._admit(share, weight)
            if share.turns:
                self._waiting.add(share.batch, share)


def _with_model(body: bytes, name: str) -> bytes | None:
    """An answer, or a piece of one, with another name for its model; None where it names none."""
    try:
        fields = _fields(body)
        inner = _with_model(fields["response"], name) if "response" in fields else None  # in events of a response
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    changed = {"model": name} if "model" in fields else {"response": Raw(inner)} if inner is not None else None
    return None if changed is None else msgspec.json.encode(fields | changed)


class Front:
    """The engine as people's requests see it: there is always room, but where it is capped."""

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing

    @property
    def restarts(self) -> int:
        return self._sharing.engine.restarts

    async def start(self) -> Abilities:
        return self._sharing.abilities

    async def infer(self, request: Request) -> Reply:
        await self._sharing.ask()
        try:
            with traces.request(request.model, request.endpoint, sampled=False):
                return self._sharing.renamed(await self._sharing.people.infer(request))
        finally:
            self._sharing.answered()

    async def stream(self, request: Request, say: Say) -> Reply:
        """As the contract says: one request of a person's until its last piece is said."""
        await self._sharing.ask()
        try:
            return self._sharing.renamed(await stream(self._sharing.people, request, self._sharing.renaming(say)))
        finally:
            self._sharing.answered()

    async def close(self) -> None:
        return None


class Share:
    """The engine as one batch sees it."""

    def __init__(self, sharing: Sharing, batch: Batch, timeout_seconds: float) -> None:
        self._sharing = sharing
        self._timeout_seconds = timeout_seconds
        self.batch = batch
        self.turns: deque[tuple[asyncio.Future[bool], int]] = deque()  # with what each counts for
        self.shut = False

    @property
    def restarts(self) -> int:
        return self._sharing.engine.restarts

    @property
    def groups(self) -> Groups | None:
        """What the engine takes together, as all batches have learned it."""
        return self._sharing.groups

    async def start(self) -> Abilities:
        return self._sharing.abilities

    async def infer(self, request: Request) -> Reply:
        """As the contract says. A request that the share was shut upon was never sent."""
        weight = self._sharing.weight(request)
        if not await self._sharing.enter(self, weight):
            return STOPPED
        try:
            async with asyncio.timeout(self._timeout_seconds):
                with traces.request(request.model, request.endpoint, sampled=True):
                    asked = msgspec.structs.replace(self._sharing.named(request), project=self.batch.project)
                    return self._sharing.renamed(await self._sharing.engine.infer(asked))
        except TimeoutError:
            return Failure(REQUEST_TIMEOUT, f"No answer within {self._timeout_seconds:g} seconds.", Fault.LOST)
        finally:
            self._sharing.leave(self, weight)

    async def close(self) -> None:
        """Send nothing any more; what the engine has may end."""
        self.shut = True
        self._sharing.send_away(self)


class Shares:
    """All engines as one batch sees them."""

    def __init__(self) -> None:
        self._shares: list[Share] = []

    def add(self, share: Share) -> None:
        self._shares.append(share)

    async def close(self) -> None:
        """Send nothing any more."""
        for share in self._shares:
            await share.close()
