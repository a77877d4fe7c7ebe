"""What tokens cost. Money is counted in whole numbers: billionths of its currency, called nanos."""

from msgspec import Struct

from batchyard.domain.access import ProjectId
from batchyard.domain.result import Usage

NANOS = 1_000_000_000
"""How many make one of the currency."""
PRICED_TOKENS = 1_000_000
"""Prices are said for so many tokens, as price lists do: so the price of any list is a whole number of nanos."""
DAY_SECONDS = 86_400


class Price(Struct, frozen=True, kw_only=True):
    """What a million tokens of a model cost, in nanos.

    `cached` is for input tokens that the engine did not compute again, None: as any other input. `batch_discount` is
    the part of it that batches save, in billionths too.
    """

    input: int
    output: int = 0
    cached: int | None = None
    currency: str = "USD"
    batch_discount: int = NANOS // 2

    def cost(self, usage: Usage, *, batch: bool) -> int:
        """What so many tokens cost, in nanos. Rounded once, at the end, half a nano up."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        nanos = (
            (usage.input_tokens - cached) * self.input
            + cached * (self.input if self.cached is None else self.cached)
            + usage.output_tokens * self.output
        )
        part = NANOS - self.batch_discount if batch else NANOS
        whole = NANOS * PRICED_TOKENS
        return (nanos * part + whole // 2) // whole


class Spent(Struct, frozen=True, kw_only=True):
    """What a project has used of a model on a day (UTC, by its first second), by batches or by calls that people wait
    for. `currency` is None where the model had no price."""

    project: ProjectId
    day: int
    model: str
    batch: bool
    currency: str | None = None
    requests: int = 0
    usage: Usage = Usage()
    nanos: int = 0


def day_of(at: int) -> int:
    """The first second of the day of a time, in UTC."""
    return at - at % DAY_SECONDS


def nanos_of(amount: str) -> int:
    """The nanos of an amount in decimal notation, `0.15` or `1.5e-07`. Raises ValueError for anything else."""
    number, _, exponent = amount.strip().lower().partition("e")
    whole, _, fraction = number.partition(".")
    if not (whole + fraction).isascii() or not (whole + fraction).isdigit():
        raise ValueError(f"{amount!r} is not an amount of money.")
    places = len(fraction) - int(exponent or 0) - 9
    digits = int(whole + fraction)
    if places <= 0:
        return digits * 10**-places
    nanos, rest = divmod(digits, 10**places)
    if rest:
        raise ValueError(f"{amount!r} is finer than a billionth.")
    return nanos


def amount_of(nanos: int) -> str:
    """An amount in decimal notation, exactly, with two places at least: `0.001234`, `2.50`."""
    places = f"{nanos % NANOS:09}".rstrip("0")
    return f"{nanos // NANOS}.{places:0<2}"
