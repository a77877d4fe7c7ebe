"""Whose turn it is, for all that can wait."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from batchyard.policy.order import Standing, first

SECONDS = st.floats(-1e6, 1e6) | st.just(float("inf"))


@st.composite
def waiting_batches(draw: st.DrawFn) -> list[Standing]:
    """Batches of a few projects, each of which has one number of requests under way."""
    inflight = {project: draw(st.integers(0, 2)) for project in "abc"}
    made = draw(
        st.lists(
            st.tuples(
                st.sampled_from("abc"), st.integers(-2, 2), SECONDS, st.floats(0, 1e6), st.text("xy", min_size=1)
            ),
            min_size=1,
            unique_by=lambda each: each[-1],
        )
    )
    return [
        Standing(
            project=project, inflight=inflight[project], priority=priority, slack_seconds=slack, age_seconds=age, id=id
        )
        for project, priority, slack, age, id in made
    ]


def chosen(waiting: list[Standing]) -> Standing:
    return first(waiting, lambda each: each)


def brothers(waiting: list[Standing]) -> list[Standing]:
    """Those of the project whose turn it is."""
    return [each for each in waiting if each.project == chosen(waiting).project]


@given(waiting_batches())
def test_nobody_goes_before_a_project_that_has_less(waiting: list[Standing]) -> None:
    assert chosen(waiting).inflight == min(each.inflight for each in waiting)


@given(waiting_batches())
def test_within_a_project_the_most_urgent_goes_first(waiting: list[Standing]) -> None:
    assert chosen(waiting).priority == max(each.priority for each in brothers(waiting))


@given(waiting_batches())
def test_of_equally_urgent_batches_the_one_with_the_least_time_to_spare_goes_first(waiting: list[Standing]) -> None:
    turn = chosen(waiting)
    rivals = [each for each in brothers(waiting) if each.priority == turn.priority]
    assert turn.slack_seconds == min(each.slack_seconds for each in rivals)


@given(waiting_batches())
def test_of_those_with_the_same_time_to_spare_the_oldest_goes_first(waiting: list[Standing]) -> None:
    turn = chosen(waiting)
    same = (turn.priority, turn.slack_seconds)
    rivals = [each for each in brothers(waiting) if (each.priority, each.slack_seconds) == same]
    assert turn.age_seconds == max(each.age_seconds for each in rivals)


@given(waiting_batches(), st.dictionaries(st.sampled_from("abc"), st.integers(-100, 100)))
def test_how_urgent_a_project_calls_its_batches_does_not_bring_its_turn(
    waiting: list[Standing], raised: dict[str, int]
) -> None:
    others = [replace(each, priority=each.priority + raised.get(each.project, 0)) for each in waiting]
    assert chosen(others) == replace(chosen(waiting), priority=chosen(others).priority)


@given(waiting_batches(), st.randoms(use_true_random=False))
def test_the_turn_does_not_hang_on_who_is_asked_first(waiting: list[Standing], random: Random) -> None:
    shuffled = waiting[:]
    random.shuffle(shuffled)
    assert chosen(shuffled) == chosen(waiting)


@given(st.integers(1, 6), st.integers(2, 4), st.randoms(use_true_random=False))
def test_projects_that_always_have_work_differ_by_one_at_most(room: int, projects: int, random: Random) -> None:
    """Whatever ends when: nobody is starved, however many batches another has, and however urgent it calls them."""
    inflight: Counter[int] = Counter()
    waiting = [(project, n) for project in range(projects) for n in range(1 + 5 * project)]
    for _ in range(50):
        while inflight.total() < room:
            project, _ = first(waiting, lambda each: Standing(
                project=str(each[0]), inflight=inflight[each[0]], priority=each[0], slack_seconds=-each[1],
                age_seconds=each[1], id=str(each),
            ))  # fmt: skip
            inflight[project] += 1
            assert inflight[project] <= min(inflight[other] for other in range(projects)) + 1
        ended = max(range(projects), key=lambda each: (inflight[each], random.random()))
        inflight[ended] -= 1
