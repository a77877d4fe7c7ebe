"""The matrix: everything that can strike a server, in every phase of a batch; kills five times one after another.
Whatever it is, every line is answered once, the counts are those of the files, nothing that has ended changes, tokens
come free, and every batch is charged once.

What strikes at random times, in random combinations, is in `test_yards.py`; real processes are killed in `tests/crash`.
"""

from dataclasses import replace
from random import Random

import pytest

from batchyard.domain.batch import Form
from batchyard.service.rules import WhenFull
from tests.simulation.batches import Asked, Bounds, Line, Trouble
from tests.simulation.phases import PHASES
from tests.simulation.yard import Simulation
from tests.support.tenants import OURS, THEIRS

FAULTS = (
    "kill",
    "cut",
    "stop",
    "cancel",
    "full disk",
    "failing sync",
    "store locked",
    "clock forward",  # past every deadline
    "clock back",
    "engine gone",  # for ten minutes
)
KILLS, OTHERS = 5, 2
"""How many lives are struck, one after another."""


def lines(count: int, *kinds: str, models: tuple[str, ...] = ("m",)) -> tuple[Line, ...]:
    return tuple(
        Line(f"line-{place}", f"{kinds[place % len(kinds)]} {place}", models[place % len(models)])
        for place in range(count)
    )


def asked(number: int, wanted: tuple[Line, ...], **changes: object) -> Asked:
    facts = {
        "project": OURS,
        "at": 0.0,
        "cancel_at": None,
        "window": "24h",
        "bad": False,
        "retry": False,
        "priority": 0,
    }
    return Asked(number=number, lines=wanted, **(facts | changes))  # type: ignore[arg-type]


WORK = (
    asked(0, lines(20, "answer", "refuse", "flaky", "slow"), retry=True),
    asked(1, lines(20, "answer", "lost"), retry=True),  # no room beside the first
    asked(2, lines(12, "answer", "slow", "refuse", models=("m", "m", "n")), at=1.0, project=THEIRS, retry=True),
    asked(3, lines(12, "slow"), at=1.5, cancel_at=4.0, project=THEIRS),
    asked(4, lines(3, "answer"), at=1.5, bad=True, project=THEIRS),
)
BOUNDS = Bounds(WORK[0].tokens + 20, None, WhenFull.QUEUE)


@pytest.mark.parametrize("form", [Form.OPENAI, Form.GEMINI])
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_strikes_in_whatever_phase_every_line_is_answered_once(fault: str, phase: str, form: Form) -> None:
    times = KILLS if fault in ("kill", "cut") else OTHERS
    troubles = [Trouble(fault, 1 + each % 3, phase) for each in range(times)]
    work = [replace(each, form=form, inline=form is Form.GEMINI and each.number % 2 == 1) for each in WORK]
    simulation = Simulation(Random(fault + phase), work, BOUNDS, troubles)
    simulation.run()
    assert simulation.struck, "it never came to that"
