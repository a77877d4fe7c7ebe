"""Batches that wait for tokens: who may try, and when."""

from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Batch
from batchyard.pipeline.parking import Line, Load, Parking
from tests.support.tenants import OURS, START, THEIRS, a_batch

LOAD = Load("m", 1, 10)


def line_of(project: ProjectId = OURS) -> Line:
    return project, None


def parked(parking: Parking, *batches: Batch) -> None:
    for batch in batches:
        parking.park(batch, line_of(batch.project), LOAD, parking.news_of(batch.project))


def tryers(parking: Parking, *batches: Batch) -> list[Batch]:
    return [batch for batch in batches if parking.may_try(batch.id)]


def test_a_batch_that_is_not_parked_may_try() -> None:
    assert Parking().may_try(a_batch().id)


def test_a_parked_batch_waits_until_something_is_new_in_its_own_project() -> None:
    parking, batch = Parking(), a_batch()
    parked(parking, batch)
    assert not parking.may_try(batch.id)
    parking.tell(THEIRS)
    assert not parking.may_try(batch.id)
    parking.tell(OURS)
    assert parking.may_try(batch.id)
    parked(parking, batch)
    assert not parking.may_try(batch.id)


def test_news_that_came_during_a_try_call_for_another_one() -> None:
    parking, batch = Parking(), a_batch()
    seen = parking.news_of(OURS)
    parking.tell(OURS)
    parking.park(batch, line_of(), LOAD, seen)
    assert parking.may_try(batch.id)


def test_of_one_second_who_comes_first_goes_first_whatever_the_ids_are() -> None:
    for first, second in (("batch_a", "batch_b"), ("batch_b", "batch_a")):
        parking, early, late = Parking(), a_batch(id=first), a_batch(id=second)
        parked(parking, early)
        assert parking.is_behind(late, line_of())
        parked(parking, late, early, late)
        parking.tell(OURS)
        assert tryers(parking, early, late) == [early]


def test_only_the_first_of_a_line_may_try_and_then_the_next() -> None:
    parking, told = Parking(), list[int]()
    parking.on_news = lambda: told.append(1)
    late, early = a_batch(created_at=START + 1), a_batch()
    urgent = a_batch(created_at=START + 9, priority=1)
    parked(parking, late, early, urgent)
    parking.tell(OURS)
    assert tryers(parking, late, early, urgent) == [urgent]
    parking.leave(urgent)
    assert tryers(parking, late, early) == [early] and len(told) == 2
    parking.leave(early)
    assert tryers(parking, late) == [late]


def test_a_newcomer_stands_behind_those_that_wait_but_not_in_front_of_others() -> None:
    parking, waiting = Parking(), a_batch()
    parked(parking, waiting)
    assert parking.is_behind(a_batch(), line_of())
    assert not parking.is_behind(a_batch(priority=1), line_of())
    assert not parking.is_behind(a_batch(project=THEIRS), line_of(THEIRS))
    assert not parking.is_behind(waiting, line_of())


def test_a_parked_batch_is_not_read_again_until_it_left() -> None:
    parking, batch = Parking(), a_batch()
    parked(parking, batch)
    assert parking.load_of(batch.id) == LOAD
    parking.leave(batch)
    assert parking.load_of(batch.id) is None


def test_a_batch_may_change_its_line() -> None:
    """Where the limits were changed meanwhile."""
    parking, batch, other = Parking(), a_batch(), a_batch()
    parked(parking, batch, other)
    parking.park(batch, (OURS, "m"), LOAD, parking.news_of(OURS))
    parking.tell_all()
    assert tryers(parking, batch, other) == [batch, other]
