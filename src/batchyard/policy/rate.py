"""How much may be asked for in a minute: buckets that fill evenly, and are emptied by those who ask. Pure.

A bucket holds what a minute brings, so a caller who was quiet may ask for all of it at once, and over any longer time
gets what the limit says.
"""

from dataclasses import dataclass

from msgspec import Struct

MINUTE = 60.0


class Level(Struct, frozen=True):
    """How full a bucket is: `left` of `limit`, and full again in so many seconds."""

    limit: int
    left: int
    full_in_seconds: float


@dataclass(slots=True)
class Bucket:
    """One limit of one caller. Times are those of one steady clock, in seconds, and may stand still."""

    limit: int
    left: float
    at: float

    @classmethod
    def full(cls, limit: int, now: float) -> "Bucket":
        return cls(limit, limit, now)

    def set_limit(self, limit: int, now: float) -> None:
        """Go on with another limit: what is used stays used."""
        if limit != self.limit:
            self.level(now)
            self.left += limit - self.limit
            self.limit = limit

    def level(self, now: float) -> Level:
        """Let come in what the time has brought."""
        self.left = min(self.limit, self.left + max(0.0, now - self.at) * self.limit / MINUTE)
        self.at = max(self.at, now)
        return Level(self.limit, max(0, int(self.left)), self._seconds_to(self.limit))

    def wait_seconds(self, amount: int, now: float) -> float:
        """How long until so much could be taken: 0 now, infinite for more than the bucket holds."""
        self.level(now)
        return float("inf") if amount > self.limit else self._seconds_to(amount)

    def take(self, amount: int, now: float) -> None:
        """Take so much, there or not: less than nothing left is a debt that time pays. Below 0 gives back."""
        self.level(now)
        self.left = min(self.limit, self.left - amount)

    def _seconds_to(self, amount: float) -> float:
        missing = amount - self.left
        if missing <= 0:
            return 0.0
        return missing * MINUTE / self.limit if self.limit else float("inf")
