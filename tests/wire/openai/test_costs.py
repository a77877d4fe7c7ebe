"""What things cost: on batches, and by the official client's calls for administrators, in strict mode."""

from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError

from batchyard.domain.access import Role
from batchyard.domain.price import DAY_SECONDS, Price, amount_of, day_of, nanos_of
from batchyard.domain.result import Usage
from tests.support.serving import MODEL, Live, live
from tests.support.tenants import START, FakeClock
from tests.wire.openai.test_walks import WALKS, Gate, a_line, create, ended, jsonl

PRICE = Price(input=nanos_of("1.5"), output=nanos_of("6"))
TODAY = day_of(START)


async def costs(client: AsyncOpenAI, **asked: Any) -> Any:
    wanted: dict[str, Any] = {"start_time": TODAY} | asked
    return await client.admin.organization.usage.costs(**wanted)


def admin(server: Live, key: str | None = None) -> AsyncOpenAI:
    return AsyncOpenAI(
        base_url=f"{server.url}/v1", api_key=key or server.secret, admin_api_key=key or server.secret,
        _strict_response_validation=True, max_retries=0,
    )  # fmt: skip


async def chat(client: AsyncOpenAI, text: str = "hi") -> Any:
    return await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}])


def values(page: Any) -> list[list[float]]:
    return [[result.amount.value for result in bucket.results] for bucket in page.data]


async def test_a_batch_says_what_it_cost_and_pays_half() -> None:
    lines = [a_line("good"), a_line("bad", "bad"), a_line("too", "two words")]
    async with live(walks=WALKS, script=Gate(), price=PRICE) as server, server.client() as client:
        made = await create(client, jsonl(*lines))
        batch = await ended(client, made.id)
    assert made.model_extra is not None and made.model_extra["cost"] is None
    assert batch.usage is not None and batch.usage.output_tokens > 0 and batch.model_extra is not None
    usage = Usage(batch.usage.input_tokens, batch.usage.output_tokens)
    nanos = PRICE.cost(usage, batch=True)
    assert batch.model_extra["cost"] == {"amount": amount_of(nanos), "currency": "USD"}
    assert 2 * nanos == PRICE.cost(usage, batch=False)


async def test_a_batch_of_several_models_pays_for_each() -> None:
    lines = [a_line(str(n), "word " * n, model=("one", "two")[n % 2]) for n in range(1, 6)]
    lines.append(a_line("bad", "bad", model="two"))
    async with live(
        walks=WALKS, script=Gate(), price=PRICE, names=("one", "two"), several_models=True, clock=FakeClock()
    ) as server, server.client() as client:  # fmt: skip
        batch = await ended(client, (await create(client, jsonl(*lines))).id)
        spent = {each.model: each for each in await server.store.spending.between(0, 1 << 40)}
    assert batch.usage is not None and batch.model_extra is not None and batch.model is None
    assert {model: each.requests for model, each in spent.items()} == {"one": 2, "two": 4}
    assert sum(each.usage.input_tokens for each in spent.values()) == batch.usage.input_tokens > 0
    assert all(each.nanos == PRICE.cost(each.usage, batch=True) > 0 for each in spent.values())
    whole = sum(each.nanos for each in spent.values())
    assert batch.model_extra["cost"] == {"amount": amount_of(whole), "currency": "USD"}


async def test_a_model_without_a_price_costs_nothing_that_could_be_shown() -> None:
    async with live(walks=WALKS, clock=FakeClock()) as server, server.client() as client:
        batch = await ended(client, (await create(client, jsonl(a_line("a")))).id)
        await chat(client)
        assert batch.model_extra is not None and batch.model_extra["cost"] is None
        async with admin(server) as operator:
            assert values(await costs(operator)) == [[]]


async def test_a_cancelled_batch_pays_for_what_was_done() -> None:
    gate = Gate()
    async with live(walks=WALKS, script=gate, price=PRICE) as server, server.client() as client:
        made = await create(client, jsonl(a_line("quick"), a_line("slow", "slow")))
        await gate.came.wait()
        await client.batches.cancel(made.id)
        batch = await ended(client, made.id)
    assert batch.status == "cancelled" and batch.usage is not None and batch.model_extra is not None
    nanos = PRICE.cost(Usage(batch.usage.input_tokens, batch.usage.output_tokens), batch=True)
    assert batch.model_extra["cost"]["amount"] == amount_of(nanos)


async def test_the_days_costs_are_those_of_calls_and_batches() -> None:
    async with live(walks=WALKS, price=PRICE, clock=FakeClock()) as server, server.client() as client:
        usage = (await chat(client)).usage
        batch = await ended(client, (await create(client, jsonl(a_line("a"), a_line("b")))).id)
        async with admin(server) as operator:
            whole, split = await costs(operator), await costs(operator, group_by=["line_item", "project_id"])
            of_batches = await costs(operator, line_items=[f"{MODEL}, batch"])
    assert batch.usage is not None
    paid = PRICE.cost(Usage(usage.prompt_tokens, usage.completion_tokens), batch=False)
    by_batch = PRICE.cost(Usage(batch.usage.input_tokens, batch.usage.output_tokens), batch=True)
    assert values(whole) == [[pytest.approx((paid + by_batch) / 1e9)]]
    (bucket,) = split.data
    assert (bucket.start_time, bucket.end_time) == (TODAY, TODAY + DAY_SECONDS)
    assert [result.line_item for result in bucket.results] == [f"{MODEL}, batch", f"{MODEL}, interactive"]
    assert {result.project_id for result in bucket.results} == {"proj_home"}
    assert bucket.results[0].quantity == batch.usage.total_tokens and bucket.results[0].quantity_unit == "tokens"
    assert values(split) == [[by_batch / 1e9, paid / 1e9]] and values(of_batches) == [[by_batch / 1e9]]
    assert bucket.results[0].amount.currency == "usd"


async def test_a_streamed_answer_is_charged_as_a_whole_one_is() -> None:
    async with live(price=PRICE, clock=FakeClock()) as server, server.client() as client, admin(server) as operator:
        usage = (await chat(client, "some words")).usage
        ((whole,),) = values(await costs(operator))
        message: Any = {"role": "user", "content": "some words"}
        async for _ in await client.chat.completions.create(model=MODEL, messages=[message], stream=True):
            pass
        assert values(await costs(operator)) == [[pytest.approx(2 * whole)]]
    assert whole == PRICE.cost(Usage(usage.prompt_tokens, usage.completion_tokens), batch=False) / 1e9 > 0


async def test_costs_are_read_page_by_page() -> None:
    clock = FakeClock()
    async with live(price=PRICE, clock=clock) as server, server.client() as client, admin(server) as operator:
        for _ in range(3):
            await chat(client)
            clock.time += DAY_SECONDS
        seen: list[int] = []
        asked: dict[str, Any] = {"limit": 2}
        while True:
            page = await costs(operator, **asked)
            seen += [bucket.start_time for bucket in page.data]
            if not page.has_more:
                break
            asked["page"] = page.next_page
    assert page.next_page is None and seen == [TODAY + n * DAY_SECONDS for n in range(4)]


async def test_other_projects_see_only_their_own_costs() -> None:
    async with live(price=PRICE, clock=FakeClock()) as server, server.client() as client:
        await chat(client)
        async with admin(server, await server.key(Role.ADMIN, project="theirs")) as theirs:
            assert values(await costs(theirs)) == [[]]
            assert values(await costs(theirs, project_ids=["proj_home"])) == [[]]
            await chat(theirs)
            assert len(values(await costs(theirs))[0]) == 1
        async with admin(server) as operator:
            (bucket,) = (await costs(operator, group_by=["project_id"])).data
            assert len(bucket.results) == 2


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"group_by": ["user_id"]}, "group_by"),
        ({"bucket_width": "1h"}, "bucket_width"),
        ({"limit": 0}, "limit"),
        ({"page": "page_x"}, "page"),
        ({"start_time": "soon"}, "start_time"),
    ],
)
async def test_what_cannot_be_told_is_refused(server: Live, asked: dict[str, Any], param: str) -> None:
    async with admin(server) as operator:
        with pytest.raises(BadRequestError) as refused:
            await costs(operator, **asked)
    assert refused.value.param == param


async def test_a_call_for_costs_needs_its_beginning(server: Live) -> None:
    status, said = await server.json("GET", "/v1/organization/costs")
    assert (status, said["error"]["code"], said["error"]["param"]) == (400, "missing_required_parameter", "start_time")
