"""Calls that a fuzzer makes of our own document: whatever it sends, the answer is one that the document names."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import checks
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi_checks

from batchyard.domain.access import Role
from batchyard.wiring.webhooks import WebhookSettings
from tests.support.serving import MODEL, Live, live
from tests.wire.test_openapi import CHAT

OWN: Any = checks
ABOUT: Any = openapi_checks
FROM_DICT: Any = schemathesis.openapi.from_dict
CHECKS: Any = [
    OWN.not_a_server_error, ABOUT.status_code_conformance, ABOUT.content_type_conformance,
    ABOUT.response_schema_conformance,
]  # fmt: skip
NOTHING_TO_SAY: Any = list(HealthCheck)
URL = "http://127.0.0.1:9/"
LASTING = ("/events", "/batches/{id}/events")
"""Answers that do not end."""
KEYLESS = ("/healthz", "/readyz", "/metrics", "/openapi.json")
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


async def nowhere(host: str, port: int) -> list[str]:
    """No name leads to the public internet: nothing that a fuzzer makes up is ever sent to."""
    return ["10.0.0.1"]


WEBHOOKS = WebhookSettings(allow_private=("127.0.0.1",), resolve=nowhere)


async def things(server: Live) -> dict[str, str]:
    """One of everything, by the word that a path begins with."""
    async with server.client() as client:
        file = await client.files.create(file=("in.jsonl", b"{}\n"), purpose="batch")
        batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        upload = await client.uploads.create(filename="a", bytes=3, mime_type="text/plain", purpose="user_data")
    asked = {"name": "a", "url": URL, "event_types": ["batch.completed"]}
    _, endpoint = await server.json("POST", "/v1/webhook_endpoints", asked)
    return {"files": file.id, "batches": batch.id, "uploads": upload.id, "webhook_endpoints": endpoint["id"]}


def made_real(case: Any, there: Mapping[str, str]) -> None:
    """Let a call name things that are there, and so get further than to the door."""
    names: Any = case.path_parameters
    kind = case.operation.path.split("/")[1]
    if "id" in names and kind in there:
        names["id"] = there[kind]
    if "name" in names:
        names["name"] = MODEL
    body: Any = case.body
    if isinstance(body, dict):
        real = {
            "model": MODEL,
            "input_file_id": there["files"],
            "endpoint": CHAT,
            "completion_window": "24h",
            "url": URL,
        }
        for name in real.keys() & body.keys():  # pyright: ignore[reportUnknownArgumentType]
            body[name] = real[name]


def stay_on_this_wire(case: Any) -> None:
    """A fuzzer reads our sources for words to send; with these a call would be Gemini's, which has its own tests."""
    for words in (case.headers, case.query):
        for name in [name for name in words or () if name.lower().startswith("x-goog-") or name == "key"]:
            del words[name]


def fuzz(server: Live, key: str | None, there: Mapping[str, str], examples: int) -> dict[int, int]:
    """Make all calls with a key, some times each. How often each status came."""
    seen: dict[int, int] = {}
    with requests.Session() as session:
        if key is not None:
            session.headers["authorization"] = f"Bearer {key}"
        document = session.get(f"{server.url}/openapi.json").json()
        for found in FROM_DICT(document).get_all_operations():
            operation = found.ok()
            for mode in MODES if operation.path not in KEYLESS else MODES[:1]:

                @seed(7)
                @settings(
                    max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
                    suppress_health_check=NOTHING_TO_SAY,
                )  # fmt: skip
                @given(operation.as_strategy(generation_mode=mode), st.booleans())
                def call(case: Any, real: bool) -> None:
                    if real:
                        made_real(case, there)
                    stay_on_this_wire(case)
                    answer = case.call_and_validate(base_url=f"{server.url}/v1", checks=CHECKS, session=session)
                    seen[answer.status_code] = seen.get(answer.status_code, 0) + 1

                if operation.path not in LASTING:
                    call()
    return seen


@pytest.mark.parametrize(("role", "examples"), [(Role.ADMIN, 6), (Role.VIEWER, 2), (None, 1)])
async def test_whatever_is_sent_the_answer_is_as_the_document_says(role: Role | None, examples: int) -> None:
    async with live(webhooks=WEBHOOKS) as server:
        key = None if role is None else await server.key(role)
        there = await things(server)
        seen = await asyncio.to_thread(fuzz, server, key, there, examples)
    if role is None:
        assert seen.keys() == {200, 401} and seen[401] > 50
    else:
        assert seen[200] > 20 and seen[404] > 10
    assert (403 in seen) == (role is Role.VIEWER)
