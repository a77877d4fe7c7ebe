"""One seed's batches of a server: who asks for what and when, what is in the files, and what must become of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Form
from batchyard.service.rules import WhenFull

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
WINDOW_SECONDS = 40
TROUBLES = (
    "none",
    "kill at a step",
    "cut at a step",
    "kill at a call",
    "cut at a call",
    "stop",
    "full disk",
    "failing sync",
    "engine away",
    "store locked",
    "clock forward",
    "clock back",
)
MODELS = ("m", "n")
BAD_LINE = b'{"custom_id": "broken"'


@dataclass(frozen=True)
class Line:
    """A request: its text says what the engine of its model does with it."""

    id: str
    text: str
    model: str = "m"

    @property
    def succeeds(self) -> bool:
        return not self.text.startswith("refuse")


@dataclass(frozen=True)
class Asked:
    """A batch that somebody asks for at a time, and perhaps cancels at a later one, in seconds.

    With `retry` somebody asks again for what is left of it when it has ended. `endpoint` is what all its lines ask. In
    Gemini's form its lines are rows, which may come `inline`.
    """

    number: int
    project: ProjectId
    at: float
    cancel_at: float | None
    window: str
    lines: tuple[Line, ...]
    bad: bool
    retry: bool
    priority: int
    endpoint: str = CHAT
    form: Form = Form.OPENAI
    inline: bool = False

    @property
    def tokens(self) -> int:
        """What the batch holds while it runs: nobody here names a limit to an answer."""
        return sum((len(json.dumps(_prompt(line, self.endpoint))) + 3) // 4 for line in self.lines)

    @property
    def content(self) -> bytes:
        write = _row if self.form is Form.GEMINI else _written
        written = [write(line, self.endpoint) for line in self.lines]
        if self.bad:
            written.insert(len(written) // 2 + 1, BAD_LINE)
        return b"\n".join(written) + b"\n"


@dataclass(frozen=True)
class Bounds:
    """How many enqueued tokens each project may have, and of the one model; what becomes of batches that find none."""

    project: int | None
    model: int | None
    when_full: WhenFull

    def allow(self, tokens: int) -> bool:
        """Whether so many fit at all."""
        return all(bound is None or tokens <= bound for bound in (self.project, self.model))

    def allow_all(self, held: Sequence[tuple[str | None, int]]) -> bool:
        """Whether batches of one project may hold so much at once: the model of each, None for several, and tokens."""
        of_models = [sum(tokens for name, tokens in held if name == model) for model in MODELS]
        whole = sum(tokens for _, tokens in held)
        return (self.project is None or whole <= self.project) and (self.model is None or max(of_models) <= self.model)


@dataclass(frozen=True)
class Trouble:
    """What ends a life of the server, or makes it hard, and when: in calls of the disk, steps of the loop, or seconds.

    With a full disk it is how many more kilobytes fit, with a failing sync which one it is. With a `phase` it strikes
    when some batch has come there so many times, in that very moment.
    """

    kind: str
    when: int
    phase: str | None = None


def asked_for(random: Random) -> list[Asked]:
    """The batches of a seed, in the order in which they are asked for."""
    made = [_a_batch(random, number) for number in range(random.randint(1, 7))]
    return sorted(made, key=lambda each: each.at)


def bounds_of(random: Random) -> Bounds:
    """Often none; else room for a few batches."""
    bounds = (None, None, 300, 700, 1000)
    return Bounds(random.choice(bounds), random.choice(bounds), random.choice(list(WhenFull)))


def troubles_of(random: Random) -> list[Trouble]:
    """The lives' troubles, in order; what follows them is a life without any."""
    return [_a_trouble(random) for _ in range(random.randint(0, 5))]


def _a_trouble(random: Random) -> Trouble:
    kind = random.choice(TROUBLES)
    most = {"call": 120, "step": 900}.get(kind.rpartition(" ")[2], 20)
    return Trouble(kind, random.randint(1, most))


def _a_batch(random: Random, number: int) -> Asked:
    models = random.choice((("m",), ("m",), ("m",), MODELS))
    lines = tuple(_a_line(random, place, models) for place in range(random.choice((1, 2, 5, 20, 60))))
    at = random.choice((0.0, random.uniform(0, 10)))
    form = random.choice((Form.OPENAI, Form.GEMINI))
    return Asked(
        number=number,
        project=ProjectId(random.choice(("proj_ours", "proj_theirs"))),
        at=at,
        cancel_at=at + random.uniform(0, 15) if random.random() < 0.3 else None,
        window=random.choice(("24h", "24h", "short")),
        lines=lines,
        bad=random.random() < 0.15,
        retry=random.random() < 0.5,
        priority=random.choice((0, 0, 5, -5)),
        endpoint=random.choice((CHAT, EMBEDDINGS)),
        form=form,
        inline=form is Form.GEMINI and random.random() < 0.5,
    )


def _a_line(random: Random, place: int, models: tuple[str, ...]) -> Line:
    kind = random.choice(("answer", "answer", "answer", "refuse", "slow", "flaky", "lost"))
    return Line(f"line-{place}", f"{kind} {place if random.random() < 0.8 else 'same'}", models[place % len(models)])


def _written(line: Line, endpoint: str) -> bytes:
    key = "messages" if endpoint == CHAT else "input"
    body = {"model": line.model, key: _prompt(line, endpoint), "temperature": 0}
    return json.dumps({"custom_id": line.id, "method": "POST", "url": endpoint, "body": body}).encode()


def _row(line: Line, endpoint: str) -> bytes:
    """As its caller writes it: one who asks for the batch's own model does not name it."""
    content = {"parts": [{"text": line.text}]}
    request: dict[str, object] = {"contents": [content], "generation_config": {"temperature": 0}}
    if endpoint == EMBEDDINGS:
        request = {"content": content}
    if line.model != MODELS[0]:
        request["model"] = f"models/{line.model}"
    return json.dumps({"key": line.id, "request": request}).encode()


def _prompt(line: Line, endpoint: str) -> str | list[dict[str, str]]:
    return line.text if endpoint == EMBEDDINGS else [{"role": "user", "content": line.text}]
