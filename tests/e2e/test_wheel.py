"""The package as it is shipped: built, installed into an empty folder, and run from there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 100


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    _run(folder, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing in it but the wheel; what it depends on comes from the environment of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    words = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    _run(folder, *words, "--target", str(folder), str(wheel))
    return folder


def _run(folder: Path, *words: str, path: Path | None = None) -> "subprocess.CompletedProcess[str]":
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("BATCHYARD_", "PYTHONPATH"))}
    environment = {**kept, **({"PYTHONPATH": str(path)} if path else {})}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_wheel_holds_the_demo_and_nothing_that_only_developers_need(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names}
    assert {"demo-q8_0.gguf", "requests.jsonl", "answers.json", "tokenizer.json"} <= {
        name.removeprefix("batchyard/demo/") for name in names
    }
    assert {folder.partition("-")[0] for folder in folders} == {"batchyard"}
    assert not [name for name in names if name.endswith(".pyc")]
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_installed_wheel_runs_the_demo(installed: Path, tmp_path: Path) -> None:
    where = _run(tmp_path, "-c", "import batchyard; print(batchyard.__file__)", path=installed)
    assert where.stdout.startswith(str(installed)), "the package must come from the wheel, not from the sources"
    requests = _run(tmp_path, "-m", "batchyard.demo", path=installed).stdout.strip()
    command = str(installed / "bin" / "batchyard")
    _run(tmp_path, command, "run-batch", "-i", requests, "-o", "out.jsonl", "--model", "demo", path=installed)
    checked = _run(tmp_path, "-m", "batchyard.demo", "out.jsonl", path=installed)
    assert checked.stdout.startswith("500 of 500 answers are right")
