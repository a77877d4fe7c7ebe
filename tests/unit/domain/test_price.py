"""Money is whole nanos: nothing is lost on the way from a price list to a bill."""

from decimal import ROUND_HALF_UP, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.domain.price import Price, amount_of, day_of, nanos_of
from batchyard.domain.result import Usage

tokens = st.integers(0, 10**12)
nanos = st.integers(0, 10**14)
prices = st.builds(Price, input=nanos, output=nanos, cached=st.none() | nanos, batch_discount=st.integers(0, 10**9))


@given(prices, tokens, tokens, tokens, st.booleans())
def test_a_cost_is_what_decimal_arithmetic_says(price: Price, into: int, out: int, cached: int, batch: bool) -> None:
    used = min(cached, into)
    whole = Decimal(into - used) * price.input + Decimal(out) * price.output
    whole += Decimal(used) * (price.input if price.cached is None else price.cached)
    with localcontext() as context:
        context.prec = 60
        paid = whole / 10**15 * ((10**9 - price.batch_discount) if batch else 10**9)
        assert price.cost(Usage(into, out, cached), batch=batch) == int(paid.quantize(Decimal(1), ROUND_HALF_UP))


def test_a_batch_pays_half_where_nothing_else_is_said() -> None:
    price = Price(input=nanos_of("0.15"), output=nanos_of("0.60"))
    usage = Usage(1_000_000, 1_000_000)
    assert amount_of(price.cost(usage, batch=False)) == "0.75"
    assert amount_of(price.cost(usage, batch=True)) == "0.375"


@given(nanos)
def test_an_amount_is_read_back_as_it_is_shown(count: int) -> None:
    shown = amount_of(count)
    assert nanos_of(shown) == count
    assert Decimal(shown) * 10**9 == count
    assert len(shown.partition(".")[2]) >= 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", 3 * 10**9), ("0.0125", 12_500_000), ("1.5e-07", 150), ("2e1", 2 * 10**10), (".5", 5 * 10**8)],
)
def test_an_amount_may_be_written_in_several_ways(text: str, expected: int) -> None:
    assert nanos_of(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "1.0000000001", "1e-10", "nan", "1,5", "x", "1ex", "٣"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        nanos_of(text)


@given(st.integers(0, 10**11))
def test_a_day_begins_at_midnight(at: int) -> None:
    assert day_of(at) % 86_400 == 0 and 0 <= at - day_of(at) < 86_400
