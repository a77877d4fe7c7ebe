import json
from pathlib import Path

import pytest

from batchyard import demo
from batchyard.workers.gguf import read_gguf
from batchyard.workers.openvino import able
from batchyard.workers.openvino.able import can_load, matching_tokenizer
from tests.support import models
from tools.demo_model.convert import convert


def tiny(tmp_path: Path, architecture: str = "Qwen2ForCausalLM", file_type: str = "q8_0") -> Path:
    folder = models.tiny_folder(tmp_path / "hf", demo.tokenizer_path(), architecture)
    convert(folder, tmp_path / "tiny.gguf", file_type)
    return tmp_path / "tiny.gguf"


def test_the_demo_model_can_be_loaded() -> None:
    assert can_load(str(demo.model_path())) is None


@pytest.mark.parametrize(("file_type", "loads"), [("q8_0", True), ("f16", True), ("f32", False), ("bf16", False)])
def test_the_weights_type_decides(tmp_path: Path, file_type: str, loads: bool) -> None:
    reason = can_load(str(tiny(tmp_path, file_type=file_type)))
    assert reason is None if loads else file_type in str(reason)


def test_an_embedding_model_is_left_to_llama_cpp(tmp_path: Path) -> None:
    assert "bert" in str(can_load(str(models.minilm(tmp_path / "minilm.gguf"))))


def test_a_file_that_is_no_model_is_named_so(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_text("hello")
    assert "GGUF" in str(can_load(str(tmp_path / "x.gguf")))
    assert can_load(str(tmp_path / "none.gguf")) is not None


def test_a_folder_needs_the_model_and_its_tokenizer(tmp_path: Path) -> None:
    for name in ("openvino_model.xml", "openvino_model.bin", "tokenizer.json", "config.json"):
        assert name in str(can_load(str(tmp_path)))
        (tmp_path / name).write_text("{}")
    assert can_load(str(tmp_path)) is None


def test_without_the_library_nothing_can_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(able, "PACKAGES", ("openvino_genai", "no_such_package"))
    assert "no_such_package" in str(can_load(str(demo.model_path())))


def test_a_tokenizer_of_another_model_is_not_taken_for_its_own(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(demo.model_path().read_bytes())
    file = read_gguf(model)
    assert matching_tokenizer(file, model) is None
    beside = tmp_path / "tokenizer.json"
    told = json.loads(demo.tokenizer_path().read_text())
    beside.write_text(json.dumps(told))
    assert matching_tokenizer(file, model) == beside
    told["model"]["vocab"]["!"], told["model"]["vocab"]["#"] = told["model"]["vocab"]["#"], told["model"]["vocab"]["!"]
    beside.write_text(json.dumps(told))
    assert matching_tokenizer(file, model) is None
    beside.write_text("[]")
    assert matching_tokenizer(file, model) is None


def test_a_tokenizer_that_cannot_be_rebuilt_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(able, "REBUILT", frozenset[str]())
    assert "tokenizer" in str(can_load(str(tiny(tmp_path))))
