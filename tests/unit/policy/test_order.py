"""Whose turn it is, for all that can wait."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from batchyard.policy.order import Standing, first, rank

seconds = st.floats(-1e6, 1e6) | st.just(float("inf"))
standings = st.lists(
    st.builds(
        Standing,
        inflight=st.integers(0, 3),
        slack_seconds=seconds,
        age_seconds=st.floats(0, 1e6),
        id=st.text("ab", min_size=1, max_size=6),
    ),
    min_size=1,
    unique_by=lambda each: each.id,
)


def chosen(waiting: list[Standing]) -> Standing:
    return first(waiting, lambda each: each)


@given(standings)
def test_nobody_goes_before_a_project_that_has_less(waiting: list[Standing]) -> None:
    assert chosen(waiting).inflight == min(each.inflight for each in waiting)


@given(standings)
def test_of_projects_that_have_the_same_the_least_time_to_spare_goes_first(waiting: list[Standing]) -> None:
    turn = chosen(waiting)
    assert all(turn.slack_seconds <= each.slack_seconds for each in waiting if each.inflight == turn.inflight)


@given(standings)
def test_of_those_with_the_same_time_to_spare_the_oldest_goes_first(waiting: list[Standing]) -> None:
    turn = chosen(waiting)
    rivals = [e for e in waiting if (e.inflight, e.slack_seconds) == (turn.inflight, turn.slack_seconds)]
    assert turn.age_seconds == max(each.age_seconds for each in rivals)


@given(standings, st.randoms(use_true_random=False))
def test_the_turn_does_not_hang_on_who_is_asked_first(waiting: list[Standing], random: Random) -> None:
    shuffled = waiting[:]
    random.shuffle(shuffled)
    assert chosen(shuffled) == chosen(waiting)
    assert sorted(shuffled, key=rank) == sorted(waiting, key=rank)


@given(st.integers(1, 6), st.integers(2, 4), st.randoms(use_true_random=False))
def test_projects_that_always_have_work_differ_by_one_at_most(room: int, projects: int, random: Random) -> None:
    """Whatever ends when: nobody is starved, however many batches another has."""
    inflight: Counter[int] = Counter()
    waiting = [(project, n) for project in range(projects) for n in range(1 + 5 * project)]
    for _ in range(50):
        while inflight.total() < room:
            project, _ = first(waiting, lambda each: Standing(
                inflight=inflight[each[0]], slack_seconds=-each[1], age_seconds=each[1], id=str(each)
            ))  # fmt: skip
            inflight[project] += 1
            assert inflight[project] <= min(inflight[other] for other in range(projects)) + 1
        ended = max(range(projects), key=lambda each: (inflight[each], random.random()))
        inflight[ended] -= 1
