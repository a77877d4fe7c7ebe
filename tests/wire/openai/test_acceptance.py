"""The acceptance list of OpenAI's wire, point by point: what must hold with the official client, and which tests show
it. `SHOWN` names them, and a test sees to it that they are there; what no other module shows is shown here.
"""

import ast
import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai import APIStatusError, AsyncAzureOpenAI, AsyncOpenAI, AuthenticationError, NotFoundError
from openai.types import Batch

from batchyard.domain.access import Quota
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply
from tests.support.serving import MODEL, Live, live
from tests.wire.openai.test_walks import CHAT, WALKS, a_line, create, ended, jsonl, results

TESTS = Path(__file__).parents[2]
HERE = "wire/openai/test_acceptance.py"
FILES, UPLOADS, BATCHES = (f"wire/openai/test_{name}.py" for name in ("files", "uploads", "batches"))
WALKED, CRASH = "wire/openai/test_walks.py", "crash/test_kill_the_server.py"

SHOWN: dict[int, tuple[str, dict[str, tuple[str, ...]]]] = {
    1: (
        "a file is created from a handle, a path, bytes, BytesIO or a tuple, with an expiry, and comes back unchanged",
        {
            FILES: (
                "test_a_file_comes_back_byte_for_byte_however_it_was_given",
                "test_an_expiry_is_kept",
                "test_the_sync_client_uploads_and_downloads",
            )
        },
    ),
    2: (
        "the file part may come first, chunked, without a length",
        {
            FILES: ("test_a_form_with_its_file_first_and_no_length_is_taken",),
            "clients/test_clients.py": ("test_the_javascript_client_runs_the_documented_flow",),
        },
    ),
    3: (
        "lists are walked in pages of one and two, in both orders, and end without repeats",
        {
            FILES: ("test_lists_are_walked_page_by_page_without_repeats",),
            BATCHES: ("test_the_list_is_walked_page_by_page_newest_first", "test_azures_order_is_taken"),
        },
    ),
    4: (
        "an upload has parts of seven bytes, in swapped order, may be empty, and is refused where bytes differ",
        {
            UPLOADS: (
                "test_a_file_goes_up_in_parts_of_seven_bytes",
                "test_the_order_of_the_parts_is_that_of_their_names",
                "test_an_empty_upload_is_a_file_unless_it_is_for_a_batch",
                "test_parts_that_do_not_make_the_file_are_refused",
            )
        },
    ),
    5: ("states only move along, times are in order", {WALKED: ("test_a_batch_is_answered_line_by_line",)}),
    6: ("failing lines stand in the error file", {WALKED: ("test_lines_that_fail_stand_in_the_error_file_only",)}),
    7: ("all may fail: no output file", {WALKED: ("test_where_all_lines_fail_there_is_no_output_file",)}),
    8: (
        "every fault of a line is told with its number, up to a bound",
        {
            WALKED: (
                "test_every_fault_of_a_line_is_told_with_its_number",
                "test_of_many_faults_the_first_hundred_are_told_and_how_many_more",
            )
        },
    ),
    9: ("an unknown input fails later", {WALKED: ("test_a_batch_of_an_unknown_file_is_created_and_fails",)}),
    10: (
        "a cancel while validating, running, twice, and after the end, which costs one request",
        {
            WALKED: (
                "test_a_batch_cancelled_before_it_ran_accounts_for_every_line",
                "test_a_cancelled_batch_delivers_what_it_has_and_accounts_for_the_rest",
            ),
            BATCHES: ("test_cancelling_twice_is_cancelling_once", "test_cancelling_what_has_ended_costs_one_call"),
        },
    ),
    11: (
        "at the deadline finished lines are delivered and the others expire",
        {WALKED: ("test_at_the_deadline_finished_lines_are_delivered_and_the_rest_expires",)},
    ),
    12: ("the strict client takes every call", {HERE: ("test_every_call_is_answered_as_the_strict_client_wants_it",)}),
    13: (
        "Azure's client in both forms and OpenAI's on Azure's v1 path run the same batch",
        {HERE: ("test_every_form_of_client_runs_the_same_batch",)},
    ),
    14: (
        "a key that is missing is a 401 with code and id; no answer is HTML",
        {
            HERE: ("test_a_missing_key_has_a_code_and_an_id", "test_no_answer_is_html"),
            FILES: ("test_a_wrong_key_is_the_clients_authentication_error",),
        },
    ),
    15: ("separators of lines within an answer are none", {HERE: ("test_an_answer_with_other_line_ends_is_one_line",)}),
    16: (
        "deliveries verify; changed and old ones do not",
        {
            "wire/openai/test_webhooks.py": ("test_a_delivery_verifies_and_its_batch_can_be_read",),
            "unit/dialects/openai/test_webhooks.py": (
                "test_the_official_client_refuses_what_is_old_or_from_the_future",
                "test_the_official_client_refuses_what_is_changed_or_anothers",
            ),
        },
    ),
    17: (
        "killed in each state, a batch ends with every line once",
        {
            CRASH: (
                "test_killed_before_it_was_read_a_batch_is_read_after_the_restart",
                "test_killed_while_it_runs_each_line_is_answered_once",
                "test_killed_while_it_is_cancelled_it_ends_cancelled_with_what_it_had",
                "test_killed_at_any_moment_all_batches_end_whole_and_what_had_ended_stays",
            ),
            "simulation/test_faults.py": ("test_whatever_strikes_in_whatever_phase_every_line_is_answered_once",),
        },
    ),
    18: (
        "downloads resume, and stream what is larger than the memory for it",
        {
            FILES: ("test_a_range_resumes_a_download", "test_a_download_streams_and_can_be_left"),
            "e2e/test_serve.py": ("test_memory_does_not_grow_with_a_file",),
        },
    ),
    19: (
        "what would fail again is not asked again",
        {
            HERE: ("test_what_would_fail_again_is_asked_once",),
            BATCHES: ("test_cancelling_what_has_ended_costs_one_call",),
        },
    ),
    20: (
        "fifty creates and polls at once",
        {
            BATCHES: ("test_fifty_creates_and_polls_at_once_are_fifty_batches",),
            HERE: ("test_fifty_batches_are_created_and_polled_to_their_ends_at_once",),
        },
    ),
}  # fmt: skip


def test_every_point_is_shown_by_tests_that_exist() -> None:
    assert list(SHOWN) == list(range(1, 21))
    for path, names in ((path, names) for _, shown in SHOWN.values() for path, names in shown.items()):
        nodes = ast.walk(ast.parse((TESTS / path).read_text()))
        there = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
        assert names and set(names) <= there, path


async def test_every_call_is_answered_as_the_strict_client_wants_it() -> None:
    """Each call of the resources that we speak, once, none of them with an answer that the strict client refuses."""
    content = jsonl(a_line("a"))
    async with live(walks=WALKS) as server, server.client() as client:
        file = await client.files.create(file=("in.jsonl", content), purpose="batch")
        assert (await client.files.wait_for_processing(file.id)) == file == await client.files.retrieve(file.id)
        assert [each.id async for each in client.files.list()] == [file.id]
        upload = await client.uploads.create(
            bytes=len(content), filename="in.jsonl", mime_type="application/jsonl", purpose="batch"
        )
        part = await client.uploads.parts.create(upload.id, data=content)
        assert (await client.uploads.complete(upload.id, part_ids=[part.id])).file is not None
        other = await client.uploads.create(bytes=1, filename="x", mime_type="text/plain", purpose="user_data")
        assert (await client.uploads.cancel(other.id)).status == "cancelled"
        made = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        batch = await ended(client, made.id)
        assert [each.id async for each in client.batches.list()] == [made.id] and batch.output_file_id
        assert (await client.files.content(batch.output_file_id)).content.count(b"\n") == 1
        second = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        try:
            await client.batches.cancel(second.id)
        except APIStatusError as error:  # it was quicker
            assert error.status_code == 409
        await ended(client, second.id)
        assert (await client.files.delete(file.id)).deleted
        assert [model.id async for model in client.models.list()] == [MODEL]
        assert (await client.models.retrieve(MODEL)).id == MODEL
        chat: list[Any] = [{"role": "user", "content": "hi"}]
        assert (await client.chat.completions.create(model=MODEL, messages=chat)).choices
        assert (await client.completions.create(model=MODEL, prompt="hi")).choices
        assert (await client.embeddings.create(model=MODEL, input="hi", encoding_format="float")).data


FORMS: dict[str, tuple[Callable[[Live], AsyncOpenAI], str, str]] = {
    "OpenAI": (lambda server: server.client(), "/v1/chat/completions", "/v1/chat/completions"),
    "Azure, classic": (lambda server: server.azure(), "/chat/completions", "/chat/completions"),
    "Azure's client on the v1 path": (
        lambda server: AsyncAzureOpenAI(
            base_url=f"{server.url}/openai/v1/", api_key=server.secret, api_version="preview",
            _strict_response_validation=True, max_retries=0,
        ),
        "/v1/chat/completions",
        "/chat/completions",
    ),
    "OpenAI's client on Azure's v1 path": (
        lambda server: server.client("/openai/v1/"), "/v1/chat/completions", "/chat/completions",
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_of_client_runs_the_same_batch(form: str) -> None:
    make, endpoint, url = FORMS[form]
    async with live(walks=WALKS) as server, make(server) as client:
        made = await create(client, jsonl(a_line("a", "one", url=url), a_line("b", "two", url=url)), endpoint=endpoint)
        batch = await ended(client, made.id)
        output, errors = await results(client, batch, ["a", "b"])
        assert (batch.status, batch.endpoint, len(output), errors) == ("completed", endpoint, 2, {})
        assert [each.id async for each in client.batches.list(limit=1)] == [made.id]


async def test_a_missing_key_has_a_code_and_an_id(server: Live) -> None:
    for path, code in (("/v1/files", None), ("/openai/files?api-version=2024-10-21", "401")):  # as each vendor has it
        status, headers, body = await server.call("GET", path, headers={"authorization": None})
        assert (status, headers["content-type"]) == (401, "application/json") and headers["x-request-id"]
        assert json.loads(body)["error"]["code"] == code
    async with server.client(key="by-nonsense") as client, server.azure(key="by-nonsense") as azure:
        for each in (client, azure):
            with pytest.raises(AuthenticationError) as caught:
                await each.batches.list()
            assert caught.value.code and caught.value.request_id


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"), ("GET", "/v1"), ("GET", "/v1/nothing"), ("DELETE", "/v1/batches"), ("POST", "/v1/files/x/y/z"),
        ("GET", "/openai/nothing"), ("PUT", "/v1/models"), ("GET", "/v1/files/%00"), ("GET", "/v1/%ff"),
    ],
)  # fmt: skip
async def test_no_answer_is_html(server: Live, method: str, path: str) -> None:
    status, headers, body = await server.call(method, path, headers={"accept": "text/html"})
    assert 400 <= status < 500 and "html" not in headers["content-type"] and b"<" not in body
    assert json.loads(body)["error"]["message"]


async def test_an_answer_with_other_line_ends_is_one_line() -> None:
    separators = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r\n"
    text = separators.join("abc")

    async def script(request: Request) -> Reply:
        message = {"role": "assistant", "content": text}
        return Answer(200, json.dumps({"choices": [{"index": 0, "message": message}]}, ensure_ascii=False).encode())

    async with live(walks=WALKS, script=script) as server, server.client() as client:
        batch = await ended(client, (await create(client, jsonl(*(a_line(f"l{n}", str(n)) for n in range(5))))).id)
        assert batch.output_file_id is not None
        content = await client.files.content(batch.output_file_id)
        lines = [json.loads(line) for line in content.iter_lines()]
    assert [line["response"]["body"]["choices"][0]["message"]["content"] for line in lines] == [text] * 5


async def test_what_would_fail_again_is_asked_once() -> None:
    """The client would try a 409 or a 429 twice more: each call here is one request."""
    async with live(walks=WALKS, quota=Quota(files=1)) as server, server.client() as plain:
        client = plain.with_options(max_retries=2)
        file = await client.files.create(file=("in.jsonl", jsonl(a_line("a"))), purpose="batch")
        once = {"Idempotency-Key": "k"}
        asked: dict[str, Any] = {"input_file_id": file.id, "endpoint": CHAT, "extra_headers": once}
        batch = await client.batches.create(completion_window="24h", **asked)
        await ended(client, batch.id)
        calls = (
            client.files.create(file=("in.jsonl", jsonl(a_line("b"))), purpose="batch"),
            client.batches.cancel(batch.id),
            client.batches.create(completion_window="24h", metadata={"another": "one"}, **asked),
        )
        before = _requests(server)
        for call in calls:
            with pytest.raises(APIStatusError) as caught:
                await call
            assert caught.value.status_code in (409, 429)
            assert caught.value.response.headers["x-should-retry"] == "false"
        assert _requests(server) == before + len(calls)


def _requests(server: Live) -> float:
    """Refused requests on the wire."""
    return sum(
        sample.value
        for family in server.house.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "batchyard_http_requests_total" and sample.labels["status"] in ("409", "429")
    )


async def test_fifty_batches_are_created_and_polled_to_their_ends_at_once() -> None:
    async with live(walks=WALKS) as server, server.client() as client:

        async def one(number: int) -> Batch:
            made = await create(client, jsonl(a_line(f"n{number}", f"text {number}")))
            batch = await ended(client, made.id)
            await results(client, batch, [f"n{number}"])
            return batch

        batches = await asyncio.gather(*(one(number) for number in range(50)))
        assert {batch.status for batch in batches} == {"completed"} and len({batch.id for batch in batches}) == 50
        with pytest.raises(NotFoundError):
            await client.batches.retrieve("batch_nothing")
