"""The flow of Nebius' documentation, by the plain client on its own base URL."""

import json

from batchyard.pipeline.calendar import CalendarSettings
from tests.support.serving import MODEL, live
from tests.wire.openai.test_walks import CHAT, Gate, a_line, ended, jsonl

WALKS = CalendarSettings(look_seconds=1)


async def test_results_have_no_wrapper_and_failures_stand_in_the_error_file() -> None:
    async with live(walks=WALKS, script=Gate()) as server, server.client("/nebius/v1") as client:
        content = jsonl(a_line("good"), a_line("wrong", "bad one"))
        file = await client.files.create(file=("in.jsonl", content), purpose="batch")
        made = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        batch = await ended(client, made.id)
        assert (batch.status, batch.model) == ("completed", MODEL)
        assert batch.output_file_id and batch.error_file_id
        [good] = (await client.files.content(batch.output_file_id)).text.splitlines()
        [wrong] = (await client.files.content(batch.error_file_id)).text.splitlines()
        assert json.loads(good)["response"]["object"] == "chat.completion"
        assert json.loads(wrong)["response"] is None and json.loads(wrong)["error"] == {"code": "no", "message": "no"}
