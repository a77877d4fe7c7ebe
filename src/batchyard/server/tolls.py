"""What people's calls to models pay: of their project's rate before they are let in, of its money when answered.

Batches pass no toll: their tokens are held and charged by the store.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from batchyard.dialects.openai.rates import rate_headers
from batchyard.domain.access import Caller, ModelLimits, ProjectId
from batchyard.domain.errors import RateLimited
from batchyard.domain.result import Answer, Reply
from batchyard.endpoint import Traits, decode_body
from batchyard.endpoints import ENDPOINTS
from batchyard.policy.rate import Bucket
from batchyard.server.models import Model
from batchyard.service.rules import QuotaOf
from batchyard.service.spending import Spending

REQUESTS = "requests"
TOKENS = "tokens"
_KINDS = {REQUESTS: "requests per min (RPM)", TOKENS: "tokens per min (TPM)"}

_Place = tuple[ProjectId, str, str]
"""A project, a model, and what is counted."""


def loop_seconds() -> float:
    """The event loop's time: it neither jumps nor runs backwards."""
    return asyncio.get_running_loop().time()


@dataclass
class Toll:
    """One call's, once it was let in. `headers` tell its caller how much is left."""

    tolls: "Tolls"
    caller: Caller
    model: Model
    tokens: int
    headers: dict[str, str]

    async def paid(self, answer: Awaitable[Reply]) -> Reply:
        """The call's answer, once it was paid: what was estimated is corrected, and what was used is charged."""
        reply = await answer
        self.tolls.settle(self, reply)
        return reply


class Tolls:
    """See the module. Nothing here waits, so between a look and a taking nobody comes. `seconds` tells the time."""

    def __init__(self, quota_of: QuotaOf, spending: Spending, seconds: Callable[[], float] = loop_seconds) -> None:
        self._quota_of = quota_of
        self._spending = spending
        self.seconds = seconds
        self._buckets: dict[_Place, Bucket] = {}

    def enter(self, caller: Caller, model: Model, endpoint: str, body: bytes, told: dict[str, str]) -> Toll:
        """Let a call in, or raise RateLimited; `told` gets the headers of its answer, whichever it is.

        A call that is estimated at more tokens than a minute brings is let in when all of them are there: an estimate
        is no reason to refuse it for ever.
        """
        limits, now = self._limits(caller, model), self.seconds()
        asked = {REQUESTS: 1, TOKENS: _estimate(endpoint, body) if limits.tokens_per_minute else 0}
        buckets = self._buckets_of(caller, model, limits, now)
        amounts = {kind: max(1, min(asked[kind], bucket.limit)) for kind, bucket in buckets.items()}
        waits = {kind: bucket.wait_seconds(amounts[kind], now) for kind, bucket in buckets.items()}
        late = next((kind for kind, wait in waits.items() if wait > 0), None)
        if late is None:
            for kind, bucket in buckets.items():
                bucket.take(amounts[kind], now)
        told.update(rate_headers({kind: bucket.level(now) for kind, bucket in buckets.items()}))
        if late is not None:
            _refuse(caller, model, late, buckets[late], amounts[late], waits[late])
        return Toll(self, caller, model, amounts.get(TOKENS, 0), told)

    def settle(self, toll: Toll, reply: Reply) -> None:
        """See `Toll.paid`. An engine that counts nothing is believed only when it answered nothing."""
        answered = isinstance(reply, Answer) and reply.ok
        used = reply.usage.input_tokens + reply.usage.output_tokens if isinstance(reply, Answer) else 0
        bucket = self._buckets.get((toll.caller.project, toll.model.name, TOKENS))
        if bucket is not None and toll.tokens and (used or not answered):
            bucket.take(used - toll.tokens, self.seconds())
        if isinstance(reply, Answer) and answered:
            self._spending.note(toll.caller.project, toll.model.name, reply.usage, toll.model.price)

    def _limits(self, caller: Caller, model: Model) -> ModelLimits:
        return self._quota_of(caller.project).limits(model.name, model.limits)

    def _buckets_of(self, caller: Caller, model: Model, limits: ModelLimits, now: float) -> dict[str, Bucket]:
        """The buckets that a call empties: one for each limit that there is."""
        found: dict[str, Bucket] = {}
        for kind, limit in ((REQUESTS, limits.requests_per_minute), (TOKENS, limits.tokens_per_minute)):
            place = (caller.project, model.name, kind)
            if limit is None:
                self._buckets.pop(place, None)
                continue
            found[kind] = self._buckets.setdefault(place, Bucket.full(limit, now))
            found[kind].set_limit(limit, now)
        return found


def _refuse(caller: Caller, model: Model, kind: str, bucket: Bucket, amount: int, wait: float) -> NoReturn:
    used = max(0, math.ceil(bucket.limit - bucket.left))
    raise RateLimited(
        f"Rate limit reached for {model.name} in project {caller.project} on {_KINDS[kind]}: "
        f"Limit {bucket.limit}, Used {used}, Requested {amount}.",
        kind=kind,
        remedy="" if math.isinf(wait) else f"Please try again in {max(wait, 0.001):.3f}s.",
        retry_after_seconds=None if math.isinf(wait) else wait,
    )


def _estimate(endpoint: str, body: bytes) -> int:
    """The tokens of a call: 4 bytes of what the model reads are one, and as many as it may answer."""
    try:
        read = decode_body(body)
    except msgspec.DecodeError:
        return (len(body) + 3) // 4
    kind = ENDPOINTS[endpoint]
    prompt = bytes(getattr(read, kind.prompt))
    traits = kind.check(read, prompt)
    return (len(prompt) + 3) // 4 + (traits.output_tokens if isinstance(traits, Traits) else 0)
