"""What a body asks of a pipeline, and what is refused."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.workers.openai import BadRequest
from batchyard.workers.openvino.pictures.wish import MOST_PIXELS, Wish, wish_of


def wish(**body: Any) -> Wish:
    return wish_of({"prompt": "a cat", **body}, 8)


def param(grain: int = 8, **body: Any) -> str:
    """The field for which a body is refused."""
    with pytest.raises(BadRequest) as refused:
        wish_of({"prompt": "a cat", **body}, grain)
    return msgspec.json.decode(refused.value.answer.body)["error"]["param"]


def test_a_plain_prompt_leaves_everything_to_the_model() -> None:
    plain = wish()
    assert (plain.prompt, plain.count, plain.form, plain.settings) == ("a cat", 1, "png", {})


def test_settings_go_over_by_their_names_in_the_library() -> None:
    asked = wish(size="64x128", num_inference_steps=4, guidance_scale=3, negative_prompt="dogs")
    assert asked.settings == {
        "width": 64,
        "height": 128,
        "num_inference_steps": 4,
        "guidance_scale": 3.0,
        "negative_prompt": "dogs",
    }


def test_what_is_null_or_automatic_is_left_to_the_model() -> None:
    silent = dict.fromkeys(("n", "size", "seed", "num_inference_steps", "guidance_scale", "negative_prompt"))
    assert wish(**silent, quality="high", style="vivid", user="u").settings == {}
    assert wish(size="auto", background="auto", negative_prompt="").settings == {}


def test_pictures_of_one_request_have_seeds_one_after_the_other() -> None:
    assert wish(seed=7, n=3).seeds == [7, 8, 9]
    assert wish(seed=2**31 - 1, n=2).seeds == [2**31 - 1, 0]


def test_without_a_seed_each_request_draws_its_own() -> None:
    assert len({wish().seed for _ in range(20)}) > 1


WRONG: list[tuple[str, list[Any]]] = [
    ("prompt", [None, 5, ["a"]]),
    ("n", [0, 11, "2", True, 1.5]),
    ("size", ["64", "x64", "64x0", "60x64", "64x60", "4104x8", "2056x2048", 64, "99999x99999"]),
    ("seed", ["1", 1.5]),
    ("num_inference_steps", [0, -1, 201, "4", True]),
    ("guidance_scale", [-1, 101, "7", True]),
    ("negative_prompt", [5, ["dogs"]]),
    ("response_format", ["url", {}]),
    ("output_format", ["gif", "svg", 5]),
    ("output_compression", [-1, 101, "9"]),
    ("background", ["transparent"]),
    ("partial_images", [2]),
    ("strength", [0.5]),
    ("image", ["data:image/png;base64,AAAA"]),
]


@pytest.mark.parametrize(("field", "values"), WRONG)
def test_what_cannot_be_made_is_refused_by_its_field(field: str, values: list[Any]) -> None:
    for value in values:
        assert param(**{field: value}) == field


def test_sides_are_multiples_of_what_the_model_says() -> None:
    assert param(16, size="72x64") == "size"
    assert wish_of({"prompt": "a", "size": "64x80"}, 16).settings == {"width": 64, "height": 80}


@given(st.integers(-5, 10_000), st.integers(-5, 10_000))
def test_no_size_gets_through_that_could_not_be_made(width: int, height: int) -> None:
    try:
        settings = wish(size=f"{width}x{height}").settings
    except BadRequest:
        return
    assert settings == {"width": width, "height": height}
    assert width % 8 == height % 8 == 0 and 0 < width * height <= MOST_PIXELS
