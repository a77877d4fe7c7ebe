"""Several models behind one door, and in one file where that is allowed."""

import json
from typing import Any

from batchyard.engine import Abilities
from batchyard.engines import echo
from batchyard.pipeline.share import Sharing
from batchyard.server.models import FAILING, Model, Waiting
from batchyard.wiring.batches import Engines
from tests.support.serving import ENDPOINTS, live
from tests.wire.openai.test_walks import WALKS, a_line, create, ended, jsonl, lines_of

NAMES = ("one", "two")


def rows(*models: str) -> bytes:
    return jsonl(*(a_line(f"l{n}", f"text {n}", model=model) for n, model in enumerate(models)))


async def test_lines_of_one_file_are_answered_by_their_own_models() -> None:
    async with live(walks=WALKS, names=NAMES, several_models=True) as server, server.client() as client:
        batch = await ended(client, (await create(client, rows("one", "two", "one"))).id)
        assert (batch.status, batch.model, batch.errors) == ("completed", None, None)
        output = await lines_of(client, batch.output_file_id)
    assert [output[f"l{n}"]["response"]["body"]["model"] for n in range(3)] == ["one", "two", "one"]


async def test_an_unknown_model_among_several_fails_the_batch_with_its_line() -> None:
    async with live(walks=WALKS, names=NAMES, several_models=True) as server, server.client() as client:
        batch = await ended(client, (await create(client, rows("one", "three", "two"))).id)
    assert batch.status == "failed" and batch.errors and batch.errors.data
    assert [(error.code, error.line) for error in batch.errors.data] == [("model_not_found", 2)]


async def test_a_batch_for_a_model_that_has_not_started_waits_for_it() -> None:
    async with live(walks=WALKS, names=("one",)) as server, server.client() as client:
        server.house.models.announce(Waiting("slow", FAILING), aliases=("alias",))
        made = await create(client, rows("alias", "slow"))
        early = await ended(client, (await create(client, rows("one"))).id)
        assert early.status == "completed"
        assert (await client.batches.retrieve(made.id)).status in ("validating", "in_progress")
        assert [model.id async for model in client.models.list()] == ["one"]
        assert (await server.json("GET", "/readyz"))[1]["models"] == {"one": "ready", "slow": FAILING}
        _answer_for("slow", server)
        batch = await ended(client, made.id)
        assert (batch.status, batch.model) == ("completed", "slow")


def _answer_for(name: str, server: Any) -> None:
    """The model has started after all."""
    engines: Engines = server.rooms.engines
    sharing = Sharing(
        echo.open(echo.Config()), Abilities(endpoints=ENDPOINTS, models=None), server.house.clock, model=name
    )
    engines.add(name, sharing)
    server.house.models.add(Model(name, sharing.front(), sharing.abilities))
    server.rooms.calendar.hurry()


async def test_who_asks_a_model_that_has_not_started_is_told_to_try_again() -> None:
    async with live(names=("one",)) as server:
        server.house.models.announce(Waiting("slow"))
        body = {"model": "slow", "messages": [{"role": "user", "content": "hi"}]}
        status, _, answer = await server.call("POST", "/v1/chat/completions", json.dumps(body).encode())
    assert status == 503 and b"does not answer yet: starting" in answer
