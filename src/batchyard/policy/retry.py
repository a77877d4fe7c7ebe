"""What becomes of a reply: is it the line's last word, or is the line asked again, and when?

What is at fault pays: a lost or refused attempt costs the line a retry; a crash makes the line a suspect; an engine
that could not be reached costs only time (the dispatcher ends the run when that grows too long), and so does one that
is full, as a server is whose quota is counted by the minute: a line is put off for a long while before that counts.
Source of the backoff: "Exponential Backoff And Jitter" (AWS Architecture Blog), the variant with full jitter.
"""

from random import Random

from msgspec import Struct
from msgspec.structs import replace

from batchyard.config import DispatchSettings
from batchyard.domain.result import Answer, Failure, Fault, Reply

REQUEST_TIMEOUT = "request_timeout"
ALONE_AFTER_CRASHES = 2
FINAL_AFTER_CRASHES = 4
DOWN_PAUSE_CEILING_SECONDS = 5.0
"""An engine that cannot be reached is looked for at least this often: the look costs nothing."""

LEAST_PUT_OFF_SECONDS = 0.1
"""What an overload counts at least, so that a server that is full for ever is given up at some time."""

_ASK_AGAIN = frozenset({408, 409, 425, 429})
_OVERLOADED = frozenset({429, 503, 529})


class Past(Struct, frozen=True, gc=False):
    """What a line has been through: retries that it has paid for, crashes with it on board, and overloads that put it
    off, for so many seconds in all."""

    retries: int = 0
    crashes: int = 0
    overloads: int = 0
    put_off_seconds: float = 0.0


NO_PAST = Past()


class Again(Struct, frozen=True):
    """Ask again, not before `after_seconds` have gone by; `alone` with nothing else on board of the engine."""

    past: Past
    after_seconds: float
    alone: bool = False


def judge(reply: Reply, past: Past, settings: DispatchSettings, random: Random) -> Again | Reply:
    """The line's next attempt, or the reply that is its last word."""
    if _is_full(reply) and past.put_off_seconds < settings.overload_seconds:
        return _put_off(reply, past, settings, random)
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
    return _is_full(reply) or (isinstance(reply, Failure) and reply.code == REQUEST_TIMEOUT)


def is_used_up(reply: Reply) -> bool:
    """Does the server say that there is no money left? Waiting does not help then, and every line would fail."""
    return isinstance(reply, Answer) and reply.status == 429 and b'"insufficient_quota"' in reply.body


def _is_full(reply: Reply) -> bool:
    if isinstance(reply, Answer):
        return reply.status in _OVERLOADED
    return reply.fault is Fault.OVERLOADED


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
    return Again(replace(past, retries=past.retries + 1), after, is_suspect(past))


def _put_off(reply: Reply, past: Past, settings: DispatchSettings, random: Random) -> Again:
    after = wait_for(reply, past.overloads, settings, random)
    seconds = past.put_off_seconds + max(after, LEAST_PUT_OFF_SECONDS)
    return Again(replace(past, overloads=past.overloads + 1, put_off_seconds=seconds), after, is_suspect(past))


def _after_crash(past: Past, settings: DispatchSettings, random: Random) -> Again | Reply:
    crashes = past.crashes + 1
    if crashes >= FINAL_AFTER_CRASHES:
        return Failure("engine_crashed", f"The engine crashed {crashes} times while it worked on this line.")
    now = replace(past, crashes=crashes)
    return Again(now, backoff(past.crashes, settings, random), is_suspect(now))


def is_suspect(past: Past) -> bool:
    return past.crashes >= ALONE_AFTER_CRASHES
