"""The pipeline itself, in the test's own process."""

from pathlib import Path

import pytest

from batchyard.domain.errors import Unavailable
from batchyard.workers.openvino.pictures.painter import Painter, Refused, build_painter

FEW: dict[str, int] = {"num_inference_steps": 3}


@pytest.fixture(scope="module")
def loaded(painter: Path) -> Painter:
    return build_painter(painter, threads=1)


def test_a_picture_is_rows_of_pixels_of_three_bytes(loaded: Painter) -> None:
    pixels = loaded.paint("a cat", 1, {**FEW, "width": 64, "height": 128}, lambda: False)
    assert pixels is not None and (pixels.shape, str(pixels.dtype)) == ((128, 64, 3), "uint8")


def test_it_is_asked_after_each_step_whether_the_picture_is_given_up(loaded: Painter) -> None:
    asked: list[int] = []

    def given_up() -> bool:
        asked.append(len(asked))
        return len(asked) >= 2

    assert loaded.paint("a cat", 1, {"num_inference_steps": 100}, given_up) is None
    assert len(asked) <= 3, "it went on for one step, and looked once more at the end"


def test_what_does_not_suit_the_pipeline_is_refused_before_it_begins(loaded: Painter) -> None:
    with pytest.raises(Refused, match="divisible"):
        loaded.paint("a cat", 1, {**FEW, "width": 60, "height": 64}, lambda: False)
    assert loaded.paint("a cat", 1, FEW, lambda: False) is not None


def test_a_folder_without_a_pipeline_is_told_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot load") as failed:
        build_painter(tmp_path, threads=None)
    assert failed.value.remedy
