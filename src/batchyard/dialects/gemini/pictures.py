"""What a Gemini request says of the pictures that it wants.

Words alone are said to an endpoint that makes pictures. Where the request also shows some (make this one blue), only a
chat can say that; models that show pictures in a chat are asked for them as OpenRouter has it (`modalities`,
`image_config`).
"""

from collections.abc import Mapping
from typing import cast

from batchyard.dialects.gemini import reading as read
from batchyard.dialects.gemini.spelling import Json
from batchyard.dialects.gemini.unfit import Unfit

KNOWN = frozenset({"aspectRatio", "imageSize", "personGeneration", "imageOutputOptions"})
GRAIN = 16
"""Sides are told as multiples of this, which every model takes."""

_CONFIG = "generationConfig.imageConfig"
_SIDES: Mapping[str, int] = {"512": 512, "1K": 1024, "2K": 2048, "4K": 4096}
_FORMATS: Mapping[str, str] = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}


def words_of(messages: list[Json]) -> str | None:
    """All that messages say, one after the other; None where they have more than words."""
    said: list[str] = []
    for message in messages:
        content: object = message["content"]
        parts = cast("list[Json]", content) if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        if message.get("tool_calls") or any(part["type"] != "text" for part in parts):
            return None
        said += [str(part["text"]) for part in parts]
    return "\n".join(said).strip()


def as_prompt(words: str, sampled: Json, config: Json) -> Json:
    """The body of a request for pictures. Raises Unfit where there are no words."""
    if not words:
        raise Unfit("There are no words to make a picture of.", "contents", "Add a text part.")
    body: Json = {"prompt": words, "response_format": "b64_json"}
    body |= {name: sampled[name] for name in ("n", "seed") if name in sampled}
    image = _read(config)
    return body | _size(image) | _form(image.get("imageOutputOptions"))


def as_chat(config: Json) -> Json:
    """What a chat says besides, so that its answer has pictures. Raises Unfit."""
    image = _read(config)
    _size(image)
    if _form(image.get("imageOutputOptions")):
        raise Unfit(
            "A model that is shown pictures chooses the format of its own.",
            f"{_CONFIG}.imageOutputOptions",
            "Leave it out.",
        )
    wishes = {"aspect_ratio": image.get("aspectRatio"), "image_size": image.get("imageSize")}
    wished = {name: wish for name, wish in wishes.items() if wish is not None}
    return {"modalities": ["image", "text"]} | ({"image_config": wished} if wished else {})


def _read(config: Json) -> Json:
    image = read.an_object(config.get("imageConfig") or {}, _CONFIG)
    read.only(image, KNOWN, _CONFIG)
    return image


def _size(image: Json) -> Json:
    """`size` in pixels, where the request says anything of it: the side by its name, cut to the ratio of the sides."""
    named, ratio = image.get("imageSize"), image.get("aspectRatio")
    if named is None and ratio is None:
        return {}
    side = _SIDES.get(str(named or "1K").upper())
    if side is None:
        raise Unfit(f"'{named}' is no size.", f"{_CONFIG}.imageSize", f"It is {', '.join(_SIDES)}.")
    wide, high = _ratio(str(ratio or "1:1"))
    longer = max(wide, high)
    return {"size": f"{_pixels(side * wide / longer)}x{_pixels(side * high / longer)}"}


def _pixels(side: float) -> int:
    return max(1, round(side / GRAIN)) * GRAIN


def _ratio(ratio: str) -> tuple[int, int]:
    wide, _, high = ratio.partition(":")
    if not (wide.isdecimal() and high.isdecimal() and 0 < int(wide) <= 32 and 0 < int(high) <= 32):
        raise Unfit(f"'{ratio}' is no ratio.", f"{_CONFIG}.aspectRatio", "Write it as 16:9.")
    return int(wide), int(high)


def _form(given: object) -> Json:
    """The format of the file, where one is wished."""
    if given is None:
        return {}
    field = f"{_CONFIG}.imageOutputOptions"
    options = read.an_object(given, field)
    read.only(options, {"mimeType", "compressionQuality"}, field)
    form: Json = {}
    if options.get("mimeType") is not None:
        mime = str(options["mimeType"]).lower()
        if mime not in _FORMATS:
            raise Unfit(f"Pictures of type '{mime}' are not made.", f"{field}.mimeType", f"{', '.join(_FORMATS)}.")
        form["output_format"] = _FORMATS[mime]
    if options.get("compressionQuality") is not None:
        form["output_compression"] = read.whole(options["compressionQuality"], f"{field}.compressionQuality")
    return form
