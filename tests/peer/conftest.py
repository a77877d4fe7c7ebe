"""What the peer suite needs: the real vLLM in an environment of its own, and the demo model as it wants it."""

import os
import shutil
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from batchyard.engines import managed
from batchyard.transport.life import Patience
from tests.support.hf_folder import make_hf_folder

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.peer)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def vllm() -> str:
    """The executable: named by BATCHYARD_VLLM, or what setup.sh made."""
    beside = Path(os.environ.get("BATCHYARD_PEER_VENV", ROOT / ".venv-peer")) / "bin" / "vllm"
    found = shutil.which(os.environ.get("BATCHYARD_VLLM", str(beside)))
    assert found, "There is no vllm: run tests/peer/setup.sh, or name the executable in BATCHYARD_VLLM."
    return found


@pytest.fixture(scope="session")
def hf_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged demo model in the form of Hugging Face."""
    with as_file(files("batchyard.demo")) as demo:
        model, tokenizer = next(demo.glob("*.gguf")), next(demo.glob("*tokenizer.json"))
        return make_hf_folder(model, tokenizer, tmp_path_factory.mktemp("hf"))


@pytest.fixture
def config_of(vllm: str, hf_folder: Path, tmp_path: Path) -> Callable[..., managed.Config]:
    """A configuration with the given words for the program."""

    def config(*flags: str, model: str | None = None) -> managed.Config:
        return managed.Config(
            program="vllm",
            executable=vllm,
            model=model or str(hf_folder),
            names=("demo", "other"),
            flags=("--dtype", "float32", *flags),
            gpu=False,
            log_folder=str(tmp_path),
            environment={"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"},
            ready_wait_seconds=120,
            patience=Patience(start_seconds=300),
        )

    return config
