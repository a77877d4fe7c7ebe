"""Azure's filter of batches."""

from collections.abc import Callable, Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.dialects.openai.azure_filter import batch_direction, batch_filter
from batchyard.domain.batch import BatchState
from batchyard.domain.errors import Invalid
from batchyard.store import BatchFilter, Direction

COMPLETED = frozenset({BatchState.COMPLETED})


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("", BatchFilter()),
        ("created_at gt 100 and status eq 'Completed'", BatchFilter(states=COMPLETED, created_from=101)),
        ("status eq 'done'", BatchFilter(states=COMPLETED)),
        ("status eq 'completed' and status eq 'failed'", BatchFilter(states=frozenset())),
        ("created_at ge 5 AND created_at lt 9", BatchFilter(created_from=5, created_until=8)),
        ("created_at gt 5 and created_at ge 3 and created_at le 9", BatchFilter(created_from=6, created_until=9)),
        ("created_at eq 7", BatchFilter(created_from=7, created_until=7)),
    ],
)
def test_a_filter_is_read(words: str, meant: BatchFilter) -> None:
    assert batch_filter({"$filter": words}) == meant


@pytest.mark.parametrize(
    "words", ["x", "created_at gt 'a'", "status eq 5", "status gt 'failed'", "status eq 'what'", "created_at gt 1 or 2"]
)
def test_an_unknown_expression_is_refused(words: str) -> None:
    with pytest.raises(Invalid) as caught:
        batch_filter({"$filter": words})
    assert (caught.value.param, caught.value.reason) == ("$filter", "invalid_value")


@pytest.mark.parametrize(
    ("words", "meant"),
    [(None, Direction.DESC), ("created_at", Direction.ASC), ("created_at DESC", Direction.DESC)],
)
def test_an_order_is_read(words: str | None, meant: Direction) -> None:
    assert batch_direction({} if words is None else {"$orderby": words}, Direction.DESC) == meant


@given(st.text(max_size=30))
def test_any_words_are_read_or_refused(words: str) -> None:
    tries: list[Callable[[Mapping[str, str]], object]] = [batch_filter, lambda q: batch_direction(q, Direction.ASC)]
    for read in tries:
        with suppress(Invalid):
            read({"$filter": words, "$orderby": words})
