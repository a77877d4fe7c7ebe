"""One seed's world: an input file, how to run it, how upstreams behave, and what will go wrong."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from batchyard.config import DispatchSettings, OnInvalidLine, Order
from tests.simulation.upstream import REFUSED, Temper, right_text

INPUT = "/data/in.jsonl"
OUTPUT = "/data/out.jsonl"
ERRORS = "/data/errors.jsonl"
FOLDER = "/data/out.jsonl.batchyard"

EMBED = " embed"
"""A question that ends so is asked for an embedding."""

Body = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What must become of a line: an answer to its question, or an error (`question` is None) of a line as it is."""

    custom_id: str | None
    question: str | None

    @property
    def succeeds(self) -> bool:
        return self.question is not None and not self.question.startswith(REFUSED)

    @property
    def embeds(self) -> bool:
        return self.question is not None and self.question.endswith(EMBED)

    @property
    def text(self) -> str:
        return right_text(self.question or "")


@dataclass(frozen=True)
class Trouble:
    """What ends a life of the process early: one of `KINDS`, and when, in calls of the disk or steps of the loop."""

    kind: str
    when: int
    amount: float = 0.0


KINDS = (
    "cut at a call",
    "cut at a step",
    "kill at a call",
    "kill at a step",
    "full disk",
    "failing sync",
    "stop",
    "stop now",
)
MOST_CALLS = 200
MOST_SYNCS = 60
MOST_STEPS = 1500


@dataclass(frozen=True)
class World:
    """Everything that a seed decides before anything runs."""

    content: bytes
    wanted: Sequence[Wanted]
    order: Order
    on_invalid_line: OnInvalidLine
    dedupe: bool
    errors: str | None
    dispatch: DispatchSettings
    tempers: Sequence[Temper]
    troubles: Sequence[Trouble]
    slowest_disk_seconds: float
    group: int


def make_world(random: Random) -> World:
    on_invalid = random.choice(tuple(OnInvalidLine))
    lines, wanted = _lines(random, with_invalid=on_invalid is OnInvalidLine.ERROR_LINE)
    return World(
        content=b"".join(lines),
        wanted=wanted,
        order=random.choice((Order.INPUT, Order.INPUT, Order.COMPLETION)),
        on_invalid_line=on_invalid,
        dedupe=random.random() < 0.7,
        errors=random.choice((None, ERRORS)),
        dispatch=DispatchSettings(max_inflight=random.choice((None, 1, 2, 5, 30)), request_timeout_seconds=5.0),
        tempers=[_temper(random) for _ in range(random.choice((1, 1, 2)))],
        troubles=[_trouble(random) for _ in range(random.choice((0, 1, 2, 3, 4, 6)))],
        slowest_disk_seconds=random.choice((0.0, 0.002, 0.3)),
        group=random.choice((1, 3, 64)),
    )


def _lines(random: Random, *, with_invalid: bool) -> tuple[list[bytes], list[Wanted]]:
    lines: list[bytes] = []
    wanted: list[Wanted] = []
    known: set[str] = set()
    bad_share = random.choice((0.0, 0.2)) if with_invalid else 0.0
    embed_share = random.choice((0.0, 0.5, 1.0))
    for number in range(random.randint(3, 40)):
        if random.random() < 0.05:
            lines.append(random.choice((b"\n", b"  \r\n")))
        custom_id = f"id-{number}"
        if random.random() < bad_share:
            line, result = _invalid_line(random, custom_id, sorted(known))
        else:
            question = _question(random, number, wanted, embed_share)
            line, result = _line(custom_id, question), Wanted(custom_id, question)
            known.add(custom_id)
        lines.append(line + random.choice((b"\n", b"\n", b"\r\n")))
        wanted.append(result)
    if random.random() < 0.3:
        lines[-1] = lines[-1].rstrip()
    return lines, wanted


def _question(random: Random, number: int, wanted: Sequence[Wanted], embed_share: float) -> str:
    before = [result.question for result in wanted if result.question is not None]
    if before and random.random() < 0.25:
        return random.choice(before)
    start = REFUSED if random.random() < 0.1 else random.choice(("what is", "häufig\n", 'a "quoted" \u2028'))
    end = EMBED if random.random() < embed_share else ""
    return f"{start} {number}{' padding' * random.choice((0, 0, 200))}{end}"


def _line(custom_id: str, question: str) -> bytes:
    if question.endswith(EMBED):
        texts: Body = {"model": "m", "input": question}
        return _json({"custom_id": custom_id, "method": "POST", "url": "/v1/embeddings", "body": texts})
    body: Body = {"model": "m", "messages": [{"role": "user", "content": question}], "temperature": 0}
    return _json({"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body})


def _invalid_line(random: Random, custom_id: str, known: Sequence[str]) -> tuple[bytes, Wanted]:
    whole = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m"}}
    match random.choice(("broken", "no messages", "url", "stream", "repeated")):
        case "broken":
            return _json(whole)[:-5], Wanted(None, None)
        case "url":
            return _json({**whole, "url": "/v1/nothing"}), Wanted(custom_id, None)
        case "stream":
            body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
            return _json({**whole, "body": body}), Wanted(custom_id, None)
        case "repeated" if known:
            again = random.choice(known)
            return _line(again, f"repeated {custom_id}"), Wanted(again, None)
        case _:
            return _json(whole), Wanted(custom_id, None)


def _json(value: Body) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _temper(random: Random) -> Temper:
    closed: list[tuple[float, float]] = []
    if random.random() < 0.3:
        start = random.choice((0.0, random.uniform(0, 3)))
        closed.append((start, start + random.uniform(0.1, 20)))
    return Temper(
        bad_share=random.choice((0.0, 0.1, 0.3, 0.8)),
        most_bad=random.choice((1, 2)),
        slowest_seconds=random.choice((0.002, 0.05, 2.0)),
        closed=tuple(closed),
        most_texts=random.choice((1, 2, 5, 1000, 1000)),
        miscounts=random.random() < 0.2,
    )


def _trouble(random: Random) -> Trouble:
    kind = random.choice(KINDS)
    most = MOST_CALLS if kind.endswith("at a call") else MOST_SYNCS if kind == "failing sync" else MOST_STEPS
    when = int(math.exp(random.uniform(0, math.log(most))))
    return Trouble(kind, when, random.uniform(0, 1))
