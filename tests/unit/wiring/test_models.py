"""Which engine `auto` chooses, and what it says where none fits."""

from pathlib import Path

import pytest

from batchyard.config import RunOptions
from batchyard.domain.errors import Invalid
from batchyard.engines import managed
from batchyard.wiring.models import engine_name


def chosen(model: Path | str, engine: str = "auto") -> str:
    return engine_name(RunOptions(input="", output="", model=str(model), engine=engine))


@pytest.fixture(autouse=True)
def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(program: str) -> None:
        return None

    monkeypatch.setattr(managed, "installed", installed)


def test_a_pipeline_that_makes_pictures_is_for_openvino(painter: Path) -> None:
    assert chosen(painter) == "openvino"


def test_a_folder_of_words_in_openvino_s_form_is_for_openvino(tmp_path: Path) -> None:
    (tmp_path / "openvino_model.xml").touch()
    assert chosen(tmp_path) == "openvino"


def test_a_pipeline_that_was_not_exported_is_told_how(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(Invalid) as refused:
        chosen(tmp_path)
    assert "optimum-cli export openvino" in refused.value.remedy and "--upstream" in refused.value.remedy


def test_a_named_engine_is_taken_as_it_is(painter: Path) -> None:
    assert chosen(painter, "llamacpp") == "llamacpp"
