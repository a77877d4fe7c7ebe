"""What becomes of a reply: is it the line's last word, or is the line asked again, and when?

What is at fault pays: a lost or refused attempt costs the line a retry; a crash makes the line a suspect; an engine
that could not be reached costs only time (the dispatcher ends the run when that grows too long).
Source of the backoff: "Exponential Backoff And Jitter" (AWS Architecture Blog), the variant with full jitter.
"""

from random import Random

from msgspec import Struct

from batchyard.config import DispatchSettings
from batchyard.domain.result import Answer, Failure, Fault, Reply

REQUEST_TIMEOUT = "request_timeout"
ALONE_AFTER_CRASHES = 2
FINAL_AFTER_CRASHES = 4
DOWN_PAUSE_CEILING_SECONDS = 5.0
"""An engine that cannot be reached is looked for at least this often: the look costs nothing."""

_ASK_AGAIN = frozenset({408, 409, 425, 429})
_OVERLOADED = frozenset({429, 503, 529})


class Past(Struct, frozen=True, gc=False):
    """What a line has been through: retries that it has paid for, and crashes with it on board."""

    retries: int = 0
    crashes: int = 0


NO_PAST = Past()


class Again(Struct, frozen=True):
    """Ask again, not before `after_seconds` have gone by; `alone` with nothing else on board of the engine."""

    past: Past
    after_seconds: float
    alone: bool = False


def judge(reply: Reply, past: Past, settings: DispatchSettings, random: Random) -> Again | Reply:
    """The line's next attempt, or the reply that is its last word."""
    if isinstance(reply, Answer):
        return _another(reply, past, settings, random) if is_temporary(reply.status) else reply
    match reply.fault:
        case Fault.LOST | Fault.OVERLOADED:
            return _another(reply, past, settings, random)
        case Fault.CRASHED:
            return _after_crash(past, settings, random)
        case Fault.DOWN:
            return Again(past, down_pause(reply, 0, settings, random), is_suspect(past))
        case _:
            return reply


def is_temporary(status: int) -> bool:
    return status in _ASK_AGAIN or status >= 500


def is_overload(reply: Reply) -> bool:
    """Does the reply say that fewer requests at once would do better?"""
    if isinstance(reply, Answer):
        return reply.status in _OVERLOADED
    return reply.fault is Fault.OVERLOADED or reply.code == REQUEST_TIMEOUT


def backoff(times: int, settings: DispatchSettings, random: Random) -> float:
    """Seconds to wait after something has failed `times` times before: anything up to a doubling bound."""
    bound = min(settings.backoff_ceiling_seconds, settings.backoff_seconds * 2.0 ** min(times, 32))
    return random.uniform(0.0, bound)


def wait_for(reply: Reply, times: int, settings: DispatchSettings, random: Random) -> float:
    """Seconds to wait after this reply: as long as the server asks, within reason, else a backoff."""
    asked = reply.retry_after_seconds
    if asked is None:
        return backoff(times, settings, random)
    return min(asked, settings.retry_after_ceiling_seconds) + random.uniform(0.0, settings.backoff_seconds)


def down_pause(reply: Reply, times: int, settings: DispatchSettings, random: Random) -> float:
    """Seconds until an engine that could not be reached is looked for again."""
    return min(wait_for(reply, times, settings, random), DOWN_PAUSE_CEILING_SECONDS)


def _another(reply: Reply, past: Past, settings: DispatchSettings, random: Random) -> Again | Reply:
    if past.retries >= settings.retries:
        return reply
    after = wait_for(reply, past.retries, settings, random)
    return Again(Past(past.retries + 1, past.crashes), after, is_suspect(past))


def _after_crash(past: Past, settings: DispatchSettings, random: Random) -> Again | Reply:
    crashes = past.crashes + 1
    if crashes >= FINAL_AFTER_CRASHES:
        return Failure("engine_crashed", f"The engine crashed {crashes} times while it worked on this line.")
    now = Past(past.retries, crashes)
    return Again(now, backoff(past.crashes, settings, random), is_suspect(now))


def is_suspect(past: Past) -> bool:
    return past.crashes >= ALONE_AFTER_CRASHES
