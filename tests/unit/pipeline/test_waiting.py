"""Whose turn it is among many, found without looking at all."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Batch
from batchyard.pipeline.waiting import Waiting, standing_of
from batchyard.policy.order import first
from tests.support.tenants import OURS, START, THEIRS, a_batch

NOW = START + 50.0
PLACES = st.tuples(st.sampled_from((OURS, THEIRS)), st.integers(0, 40), st.none() | st.integers(0, 40))


def made(places: list[tuple[ProjectId, int, int | None]]) -> list[Batch]:
    return [
        a_batch(project=project, created_at=START + age, deadline_at=None if slack is None else START + slack)
        for project, age, slack in places
    ]


@given(st.lists(PLACES, max_size=20), st.tuples(st.integers(0, 2), st.integers(0, 2)), st.integers(0, 1 << 32))
def test_it_is_the_one_that_the_policy_names_whatever_came_and_went(
    places: list[tuple[ProjectId, int, int | None]], loads: tuple[int, int], seed: int
) -> None:
    waiting, here, draw = Waiting[Batch](), list[Batch](), Random(seed)
    inflight = Counter({OURS: loads[0], THEIRS: loads[1]})
    for batch in made(places):
        waiting.add(batch, batch)
        here.append(batch)
        if draw.random() < 0.4:
            gone = draw.choice(here)
            waiting.remove(gone)
            here.remove(gone)
            if draw.random() < 0.5:
                waiting.add(gone, gone)
                here.append(gone)
        found = waiting.first(inflight)
        wanted = first(here, lambda each: standing_of(each, inflight[each.project], NOW)) if here else None
        assert found == wanted
        assert {each.id for each in waiting} == {each.id for each in here}
        assert len(waiting) == len(here) and all(each in waiting for each in here)


def test_only_projects_without_anything_under_way_count_where_that_is_asked() -> None:
    waiting, (ours, theirs) = Waiting[Batch](), made([(OURS, 0, 1), (THEIRS, 0, 2)])
    waiting.add(ours, ours)
    assert waiting.first({OURS: 1}, idle=True) is None
    waiting.add(theirs, theirs)
    assert waiting.first({OURS: 1}, idle=True) is theirs


def test_now_and_then_it_is_the_turn_of_who_has_waited_longest() -> None:
    waiting = Waiting[Batch](every=3)
    batches = made([(OURS, 0, slack) for slack in (9, 1, 5)])
    for batch in batches:
        waiting.add(batch, batch)
    served = Counter[str]()
    for _ in range(27):
        batch = waiting.first({})
        assert batch is not None
        served[batch.id] += 1
        waiting.remove(batch)
        waiting.add(batch, batch)  # it has more, and waits behind the others
    assert served[batches[1].id] >= 18, "the nearest deadline has all other turns"
    assert min(served.values()) >= 4
