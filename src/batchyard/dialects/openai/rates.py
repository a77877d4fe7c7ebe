"""How much of its rates a caller has left, in the headers of the OpenAI wire."""

import math
from collections.abc import Mapping

from batchyard.policy.rate import Level


def rate_headers(levels: Mapping[str, Level]) -> dict[str, str]:
    """Headers for each kind of limit that there is: the limit, what is left, and when all of it is there again."""
    headers: dict[str, str] = {}
    for kind, level in levels.items():
        headers[f"x-ratelimit-limit-{kind}"] = str(level.limit)
        headers[f"x-ratelimit-remaining-{kind}"] = str(level.left)
        headers[f"x-ratelimit-reset-{kind}"] = duration(level.full_in_seconds)
    return headers


def duration(seconds: float) -> str:
    """A time as the wire says it: `20ms`, `6.5s`, `1m0s`, `2h0m5s`."""
    if math.isinf(seconds):
        return "never"
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
