"""What a body asks of a pipeline, checked: whatever could break it is refused here, by its field.

Sources: OpenAI's images API, and for what it has no word for (`seed`, `num_inference_steps`, `guidance_scale`,
`negative_prompt`) vLLM-Omni's and SGLang's, who spell it as diffusers does.
"""

import re
import secrets
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from batchyard.workers.openai import BadRequest, Body, seed_of

MOST_PICTURES = 10
"""OpenAI's own limit on `n`."""

MOST_STEPS = 200
MOST_GUIDANCE = 100.0
MOST_PIXELS = 2048 * 2048
LONGEST_SIDE = 4096
SEEDS = 1 << 31

FORMATS = ("png", "jpeg", "webp")
REFUSED = ("image", "images", "mask", "strength", "true_cfg_scale", "lora", "width", "height", "frame_count")
"""What others take and we do not: refused rather than left out."""

_pixels = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})").fullmatch


class Wish(Struct, frozen=True):
    """How many pictures, from which seed on, in which file format; `settings` go to the pipeline as they are.

    `compression` is the quality of a lossy format, 0 to 100; None: the format's own.
    """

    prompt: str
    count: int
    seed: int
    settings: Mapping[str, Any]
    form: str = "png"
    compression: int | None = None

    @property
    def seeds(self) -> list[int]:
        """Each picture's own: the second one of a seed is the first one of the next."""
        return [(self.seed + place) % SEEDS for place in range(self.count)]


def wish_of(body: Body, grain: int) -> Wish:
    """What is asked; `grain` is what the sides of a picture must be multiples of. Raises BadRequest."""
    _refuse_what_is_missing(body)
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        raise BadRequest("`prompt` must be a text.", param="prompt")
    seed = seed_of(body)
    return Wish(
        prompt=prompt,
        count=_whole(body, "n", 1, MOST_PICTURES) or 1,
        seed=secrets.randbelow(SEEDS) if seed is None else seed,
        settings=_settings(body, grain),
        form=_word(body, "output_format", FORMATS) or "png",
        compression=_whole(body, "output_compression", 0, 100),
    )


def _settings(body: Body, grain: int) -> dict[str, Any]:
    settings: dict[str, Any] = _sides(body.get("size"), grain)
    steps = _whole(body, "num_inference_steps", 1, MOST_STEPS)
    if steps is not None:
        settings["num_inference_steps"] = steps
    guidance = body.get("guidance_scale")
    if guidance is not None:
        if isinstance(guidance, bool) or not isinstance(guidance, int | float) or not 0 <= guidance <= MOST_GUIDANCE:
            raise BadRequest(f"`guidance_scale` must be a number from 0 to {MOST_GUIDANCE:g}.", param="guidance_scale")
        settings["guidance_scale"] = float(guidance)
    unwanted = body.get("negative_prompt")
    if unwanted is not None and not isinstance(unwanted, str):
        raise BadRequest("`negative_prompt` must be a text.", param="negative_prompt")
    if unwanted:
        settings["negative_prompt"] = unwanted
    return settings


def _sides(size: object, grain: int) -> dict[str, int]:
    """`size`; empty where the model shall choose."""
    if size is None or size == "auto":
        return {}
    found = _pixels(size) if isinstance(size, str) else None
    if found is None:
        raise BadRequest("`size` must be written as 512x512, or be auto.", param="size")
    width, height = int(found[1]), int(found[2])
    if width % grain or height % grain:
        raise BadRequest(f"The sides of a picture must be multiples of {grain} with this model.", param="size")
    if max(width, height) > LONGEST_SIDE or width * height > MOST_PIXELS:
        raise BadRequest(
            f"`size` is too large: at most {MOST_PIXELS} pixels, and {LONGEST_SIDE} on a side.", param="size"
        )
    return {"width": width, "height": height}


def _refuse_what_is_missing(body: Body) -> None:
    if body.get("response_format") not in (None, "b64_json"):
        raise BadRequest("Pictures are given as `b64_json`: nothing is kept to be fetched.", param="response_format")
    if body.get("background") == "transparent":
        raise BadRequest("This model makes no transparent background.", param="background")
    if body.get("partial_images"):
        raise BadRequest("Pictures come whole here.", param="partial_images")
    for name in REFUSED:
        if body.get(name) is not None:
            raise BadRequest(f"The OpenVINO engine does not take `{name}`.", param=name, code="unsupported_parameter")


def _whole(body: Body, name: str, least: int, most: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadRequest(f"`{name}` must be a whole number from {least} to {most}.", param=name)
    return value


def _word(body: Body, name: str, words: tuple[str, ...]) -> str | None:
    value = body.get(name)
    if value is not None and value not in words:
        raise BadRequest(f"`{name}` must be one of {', '.join(words)}.", param=name)
    return value
