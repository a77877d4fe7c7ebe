"""Older majors of the official Python clients, and the JavaScript ones, run the documented flows unchanged.

Each runs as a program of its own against a live server; `install.py` brings them.
"""

import sys
from collections.abc import AsyncIterator

import pytest

from batchyard.pipeline.calendar import CalendarSettings
from tests.clients.install import FOLDER, HERE
from tests.clients.programs import NODE, run
from tests.support.serving import MODEL, Live, live

OLDER = sorted(pins.stem for pins in HERE.glob("openai-*.txt"))
OLDER_GEMINI = sorted(pins.stem for pins in HERE.glob("genai-*.txt"))


@pytest.fixture
async def server() -> AsyncIterator[Live]:
    async with live(walks=CalendarSettings(look_seconds=1)) as running:
        yield running


@pytest.mark.parametrize("name", OLDER)
async def test_an_older_major_of_the_client_runs_the_documented_flow(server: Live, name: str) -> None:
    told = await run([sys.executable, str(HERE / "flow.py"), server.url, server.secret, MODEL], FOLDER / name)
    ids = [f"r{n}" for n in range(5)]
    assert told["version"].split(".")[0] == name.removeprefix("openai-")
    assert told["models"] == [MODEL]
    for form in ("batch", "azure", "azure_v1"):
        assert told[form] == {"status": "completed", "completed": 5, "ids": ids}
    assert told["cancel"] in ("cancelling", "ended")
    assert told["refusals"] == ["404 True"] * 3
    assert told["parts"] == 8
    assert told["async"] == {"status": "completed", "streamed": True}


@pytest.mark.parametrize("name", OLDER_GEMINI)
async def test_an_older_major_of_the_gemini_client_makes_the_interactive_calls_and_sends_files(
    server: Live, name: str
) -> None:
    told = await run([sys.executable, str(HERE / "genai_flow.py"), server.url, server.secret, MODEL], FOLDER / name)
    said = "one two three"
    assert told["version"].split(".")[0] == name.removeprefix("genai-")
    assert told["sync"] == {
        "text": said, "finish": "STOP", "tokens": 6, "streamed": said, "pieces": 4, "counted": 4,
        "vectors": [[1.0], [3.0]], "models": [f"models/{MODEL}"], "model": f"models/{MODEL}",
        "refusal": [404, "NOT_FOUND"],
        "files": {
            "name": "files/large", "shown": ["Large", "jsonl", (8 << 20) + 1, "ACTIVE"], "got": True, "same": True,
            "listed": True, "gone": [403, "PERMISSION_DENIED"],
        },
    }  # fmt: skip
    assert told["async"] == {"text": said, "streamed": said, "read": "{}"}


async def test_the_javascript_client_runs_the_documented_flow(server: Live) -> None:
    flow = str(HERE / "js" / "flow.mjs")
    told = await run([NODE, flow, str(FOLDER / "js"), server.url, server.secret, MODEL])
    for form in ("stream", "bytes", "azure"):
        assert told[form] == {"status": "completed", "ids": ["r0", "r1", "r2"], "listed": True, "deleted": True}
    assert told["streamed"] is True
    assert told["refusal"] == ["NotFoundError", 404, True]


async def test_the_javascript_client_of_gemini_runs_the_documented_flow(server: Live) -> None:
    flow = str(HERE / "js" / "genai_flow.mjs")
    told = await run([NODE, flow, str(FOLDER / "js"), server.url, server.secret, MODEL])
    assert told["file"] == {
        "state": "JOB_STATE_SUCCEEDED", "rows": [["a", "one two"], ["b", "three"]], "input": "rows",
        "deleted": [404, 403],
    }  # fmt: skip
    assert told["inline"] == {
        "state": "JOB_STATE_SUCCEEDED", "texts": ["one", "two"], "metadata": [{"key": "x"}, None],
    }  # fmt: skip
    assert told["listed"] == [["inline", "JOB_STATE_SUCCEEDED"], ["file", "JOB_STATE_SUCCEEDED"]]
    assert told["cancelled"] in ("JOB_STATE_CANCELLED", "JOB_STATE_SUCCEEDED")
    assert told["refusal"] == [404, True]
