"""Each project's quota: by name in the configuration, by id in the services."""

import asyncio

from batchyard.domain.access import ProjectId, Quota
from batchyard.server.options import ProjectOptions, ServeOptions
from batchyard.service.access import OPERATOR
from batchyard.wiring.quotas import LOOK_SECONDS, Quotas
from tests.support.house import House, open_house

EVERYONES, OWN = Quota(files=1), Quota(files=2)


def quotas(**projects: ProjectOptions) -> Quotas:
    return Quotas(ServeOptions(data_folder="", quota=EVERYONES, projects=projects))


async def project(house: House, name: str) -> ProjectId:
    return (await house.access.create_project(OPERATOR, name)).id


async def test_a_project_has_its_own_quota_and_others_have_everyones() -> None:
    house = await open_house()
    search, other = await project(house, "search"), await project(house, "other")
    all_of_them = quotas(search=ProjectOptions(quota=OWN))
    await all_of_them.begin(house.access, print)
    assert (all_of_them.of(search), all_of_them.of(other)) == (OWN, EVERYONES)
    await house.store.close()


async def test_projects_are_made_where_they_are_to_be_and_told_of_where_not() -> None:
    house, said = await open_house(), list[str]()
    all_of_them = quotas(made=ProjectOptions(quota=OWN, create=True), missed=ProjectOptions(quota=OWN))
    for _ in range(2):
        await all_of_them.begin(house.access, said.append)
    (made,) = (each for each in await house.store.projects.list() if each.name == "made")
    assert all_of_them.of(made.id) == OWN
    assert len(said) == 2 and all("missed" in line for line in said)
    assert "missed" not in {each.name for each in await house.store.projects.list()}
    await house.store.close()


async def test_a_project_that_is_made_later_is_known_from_its_second_question_on() -> None:
    house = await open_house()
    all_of_them = quotas(late=ProjectOptions(quota=OWN))
    await all_of_them.begin(house.access, lambda _: None)
    async with asyncio.TaskGroup() as group, asyncio.timeout(LOOK_SECONDS / 2):
        keeping = group.create_task(all_of_them.keep(house.access))
        late = await project(house, "late")
        assert all_of_them.of(late) in (OWN, EVERYONES)
        for _ in range(100):
            await asyncio.sleep(0)
        assert all_of_them.of(late) == OWN
        keeping.cancel()
    await house.store.close()
