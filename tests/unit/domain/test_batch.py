"""The states of a batch: every legal move happens, and nothing else does."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.domain.batch import MOVES, TERMINAL, BatchState
from batchyard.domain.errors import Conflict
from batchyard.domain.event import EventId, arrival
from tests.support.tenants import START, a_batch

PAIRS = list(product(BatchState, BatchState))
ENDS = {BatchState.COMPLETED, BatchState.FAILED, BatchState.EXPIRED, BatchState.CANCELLED}


def field_of(state: BatchState) -> str:
    return f"{state}_at"


@pytest.mark.parametrize(("before", "to"), PAIRS, ids=str)
def test_a_batch_moves_along_the_table_and_nowhere_else(before: BatchState, to: BatchState) -> None:
    batch = a_batch(state=before)
    if to in MOVES[before]:
        moved = batch.move(to, START + 5)
        assert moved.state is to
        assert getattr(moved, field_of(to)) == START + 5
    else:
        with pytest.raises(Conflict):
            batch.move(to, START + 5)


def test_the_ends_are_left_by_nobody() -> None:
    assert TERMINAL == ENDS
    assert {state for state in BatchState if state.terminal} == ENDS


def test_every_state_is_reached_and_leads_to_an_end() -> None:
    assert MOVES.keys() == set(BatchState)
    reached, todo = set[BatchState](), [BatchState.VALIDATING]
    while todo:
        state = todo.pop()
        if state not in reached:
            reached.add(state)
            todo.extend(MOVES[state])
    assert reached == set(BatchState)


def test_no_state_comes_twice() -> None:
    """Compare and set relies on it: who finds a batch in a state finds it never moved since."""

    def walk(state: BatchState, seen: frozenset[BatchState]) -> None:
        assert state not in seen
        for to in MOVES[state]:
            walk(to, seen | {state})

    walk(BatchState.VALIDATING, frozenset())


@given(st.data())
def test_times_never_run_backwards_though_the_clock_does(data: st.DataObject) -> None:
    batch = a_batch()
    seen = [batch.created_at]
    while MOVES[batch.state]:
        to = data.draw(st.sampled_from(sorted(MOVES[batch.state])))
        batch = batch.move(to, data.draw(st.integers(START - 1_000, START + 1_000)))
        assert batch.moved_at == getattr(batch, field_of(to))
        seen.append(batch.moved_at)
    assert seen == sorted(seen)


def test_a_move_keeps_everything_else() -> None:
    batch = a_batch(metadata={"a": "b"})
    moved = batch.move(BatchState.IN_PROGRESS, START + 1)
    assert moved.move(BatchState.CANCELLING, START + 2).in_progress_at == START + 1
    assert moved.metadata == {"a": "b"}
    assert batch.state is BatchState.VALIDATING


def test_an_arrival_is_the_event_of_a_state() -> None:
    batch = a_batch().move(BatchState.FAILED, START + 9)
    event = arrival(EventId("evt_1"), batch)
    assert (event.kind, event.at, event.batch_id, event.project) == ("batch.failed", START + 9, batch.id, batch.project)
