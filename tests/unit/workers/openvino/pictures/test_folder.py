"""What a folder of a pipeline tells before it is loaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from batchyard.workers.openvino import able
from batchyard.workers.openvino.pictures.folder import grain, makes_pictures, why_not


@pytest.fixture
def folder(tmp_path: Path, painter: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(painter, tmp_path / "copy"))


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_pipeline_that_makes_pictures_is_known_by_its_index_and_its_network(folder: Path) -> None:
    assert makes_pictures(folder) and able.can_load(str(folder)) is None
    (folder / "unet" / "openvino_model.xml").unlink()
    assert not makes_pictures(folder)


def test_a_pipeline_of_another_kind_is_named(folder: Path) -> None:
    change(folder / "model_index.json", _class_name="LTXPipeline")
    assert "LTXPipeline" in str(able.can_load(str(folder)))


@pytest.mark.parametrize("written", ["", "[]", "{"])
def test_an_index_that_cannot_be_read_is_told(folder: Path, written: str) -> None:
    (folder / "model_index.json").write_text(written)
    assert makes_pictures(folder) and "model_index.json" in str(why_not(folder))


def test_a_pipeline_without_a_decoder_cannot_be_loaded(folder: Path) -> None:
    (folder / "vae_decoder" / "config.json").unlink()
    assert "vae_decoder" in str(why_not(folder))


def test_pictures_need_their_own_packages(painter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(able, "PICTURE_PACKAGES", ("no_such_package",))
    assert "no_such_package" in str(able.can_load(str(painter)))


def test_sides_are_multiples_of_what_a_point_of_the_latent_becomes(folder: Path) -> None:
    assert grain(folder) == 8
    change(folder / "vae_decoder" / "config.json", block_out_channels=[1] * 5)
    assert grain(folder) == 16


def test_a_network_that_cuts_patches_makes_sides_coarser(folder: Path) -> None:
    (folder / "unet").rename(folder / "transformer")
    assert makes_pictures(folder) and grain(folder) == 16


def test_a_decoder_that_says_nothing_is_taken_for_a_usual_one(folder: Path) -> None:
    (folder / "vae_decoder" / "config.json").write_text("{}")
    assert grain(folder) == 8
