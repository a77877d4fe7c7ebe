"""When is a delivery that was not taken tried again, and when is it given up?

Soon at first, since most troubles of a receiver are restarts; ever more rarely then, with jitter, so that receivers
that come back do not meet all their deliveries at once; once more at the very end; then never.
"""

from math import ceil
from random import Random

from msgspec import Struct

_MOST_DOUBLINGS = 32


class DeliverySchedule(Struct, frozen=True, kw_only=True):
    """Pauses double from `first_pause_seconds` to `longest_pause_seconds`; `give_up_seconds` count from the first."""

    first_pause_seconds: float = 5.0
    longest_pause_seconds: float = 10_800.0
    give_up_seconds: int = 259_200


def next_try(attempts: int, first_at: int, now: int, schedule: DeliverySchedule, random: Random) -> int | None:
    """When to try again after so many tries in vain, of which the first was at `first_at`; None: not again."""
    end = first_at + schedule.give_up_seconds
    if now >= end:
        return None
    bound = schedule.first_pause_seconds * 2.0 ** min(max(attempts - 1, 0), _MOST_DOUBLINGS)
    pause = min(bound, schedule.longest_pause_seconds) * random.uniform(0.5, 1.0)
    return min(now + ceil(pause), end)
