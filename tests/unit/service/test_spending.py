"""What people's calls cost, on its way to the store, and what callers may see of it."""

import asyncio

import pytest

from batchyard.domain.access import HOME, Caller, Role
from batchyard.domain.errors import Forbidden, Invalid, Unavailable
from batchyard.domain.price import DAY_SECONDS, Price, Spent, day_of
from batchyard.domain.result import Usage
from batchyard.service.spending import FLUSH_SECONDS, Spending
from tests.support.house import House, open_house
from tests.support.tenants import OURS, START, THEIRS, US, a_project
from tests.support.virtual_time import in_virtual_time

PRICE = Price(input=1_000_000, output=2_000_000)
OPERATOR = Caller(HOME, Role.ADMIN)
TODAY = day_of(START)


async def a_house() -> tuple[House, Spending]:
    house = await open_house()
    await house.store.projects.add(a_project(HOME))
    return house, Spending(house.store, house.clock)


async def written(house: House) -> list[Spent]:
    return list(await house.store.spending.between(0, START * 2))


async def test_calls_of_a_day_are_one_row() -> None:
    house, spending = await a_house()
    for _ in range(3):
        spending.note(OURS, "m", Usage(10, 5, 2, 1), PRICE)
    spending.note(OURS, "free", Usage(1, 1), None)
    await spending.flush()
    free, paid = await written(house)
    assert (paid.requests, paid.usage, paid.nanos, paid.currency) == (3, Usage(30, 15, 6, 3), 60, "USD")
    assert (free.requests, free.nanos, free.currency) == (1, 0, None)
    await spending.flush()
    assert await written(house) == [free, paid]


async def test_a_call_belongs_to_the_day_of_its_answer() -> None:
    house, spending = await a_house()
    spending.note(OURS, "m", Usage(1), PRICE)
    house.clock.time += DAY_SECONDS
    spending.note(OURS, "m", Usage(2), PRICE)
    await spending.flush()
    assert [(each.day, each.nanos) for each in await written(house)] == [(TODAY, 1), (TODAY + DAY_SECONDS, 2)]


async def test_what_cannot_be_written_is_kept_for_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    house, spending = await a_house()

    async def fail(_: object) -> None:
        spending.note(OURS, "m", Usage(2), PRICE)  # another call ends meanwhile
        raise Unavailable("The database is locked.")

    spending.note(OURS, "m", Usage(1), PRICE)
    with monkeypatch.context() as patch:
        patch.setattr(house.store.spending, "add", fail)
        await spending.flush()
    assert await written(house) == []
    await spending.flush()
    assert [each.nanos for each in await written(house)] == [3]


def test_the_duty_writes_now_and_then_and_at_the_end() -> None:
    async def main() -> None:
        house, spending = await a_house()
        async with asyncio.TaskGroup() as group:
            duty = group.create_task(spending.keep_flushed())
            spending.note(OURS, "m", Usage(1), PRICE)
            await asyncio.sleep(FLUSH_SECONDS + 1)
            assert [each.nanos for each in await written(house)] == [1]
            spending.note(OURS, "m", Usage(1), PRICE)
            duty.cancel()
        assert [each.nanos for each in await written(house)] == [2]

    in_virtual_time(main())


async def test_each_sees_the_spending_of_the_own_project_and_the_operator_all() -> None:
    _, spending = await a_house()
    spending.note(OURS, "m", Usage(1), PRICE)
    spending.note(THEIRS, "m", Usage(1), PRICE)

    async def seen(caller: Caller, *projects: str) -> set[str]:
        days = await spending.days(caller, TODAY, projects=projects)
        return {each.project for day in days.days for each in day.spent}

    assert await seen(US) == await seen(Caller(OURS, Role.VIEWER)) == {OURS}
    assert await seen(US, THEIRS) == set()
    assert await seen(Caller(HOME, Role.EDITOR)) == set()
    assert await seen(OPERATOR) == {OURS, THEIRS}
    assert await seen(OPERATOR, THEIRS) == {THEIRS}
    with pytest.raises(Forbidden):
        await seen(Caller(OURS, Role.DATASETS_EDITOR))


async def test_days_follow_each_other_page_by_page_empty_ones_too() -> None:
    house, spending = await a_house()
    spending.note(OURS, "m", Usage(1), PRICE)
    house.clock.time += 9 * DAY_SECONDS
    spending.note(OURS, "m", Usage(1), PRICE)
    start: int | None = START
    seen: list[tuple[int, int]] = []
    while start is not None:
        page = await spending.days(US, start, limit=4)
        seen += [(day.start, len(day.spent)) for day in page.days]
        start = page.next_start
    assert seen == [(TODAY + n * DAY_SECONDS, int(n in (0, 9))) for n in range(10)]


async def test_a_period_ends_before_its_end_and_may_be_empty() -> None:
    _, spending = await a_house()
    assert [day.start for day in (await spending.days(US, TODAY, end=TODAY + DAY_SECONDS)).days] == [TODAY]
    for end in (TODAY, 0):
        page = await spending.days(US, TODAY, end=end)
        assert (page.days, page.next_start) == ([], None)


async def test_a_period_without_end_in_sight_is_still_a_page() -> None:
    _, spending = await a_house()
    page = await spending.days(US, 0, end=10**17, limit=10**9)
    assert len(page.days) == 180 and page.next_start == 180 * DAY_SECONDS


async def test_a_limit_below_one_and_a_time_before_all_are_refused() -> None:
    _, spending = await a_house()
    for start, limit in ((0, 0), (-1, 1)):
        with pytest.raises(Invalid, match="expected a value"):
            await spending.days(US, start, limit=limit)
