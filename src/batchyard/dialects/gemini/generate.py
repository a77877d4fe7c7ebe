"""A GenerateContentRequest as a request of an endpoint that engines know: a chat, or the making of pictures.

What cannot be honoured is refused by name. Accepted without effect are safety settings, labels, service tier and store:
they steer a service, not an answer.
"""

from collections.abc import Mapping
from typing import cast

from msgspec import Struct

from batchyard.dialects.gemini import reading as read
from batchyard.dialects.gemini import settings
from batchyard.dialects.gemini.parts import messages, system_text
from batchyard.dialects.gemini.spelling import Json, camel, normal
from batchyard.dialects.gemini.unfit import Shapeless, Unfit

CHAT = "/v1/chat/completions"
IMAGES = "/v1/images/generations"

KNOWN = frozenset(
    {
        "model",
        "contents",
        "systemInstruction",
        "tools",
        "toolConfig",
        "safetySettings",
        "generationConfig",
        "cachedContent",
        "labels",
        "serviceTier",
        "store",
    }
)
_SIDES: Mapping[str, tuple[int, int]] = {"512": (512, 512), "1K": (1024, 1024), "2K": (2048, 2048), "4K": (4096, 4096)}


class Manner(Struct, frozen=True):
    """How an answer is told, as its request asked: as pictures; with thoughts or without; an enum's value bare."""

    pictures: bool = False
    thoughts: bool = False
    bare: bool = False


class Asked(Struct, frozen=True):
    """What a request asks an engine: the endpoint, the body without its model, and the model where it names one."""

    endpoint: str
    body: Json
    model: str | None
    manner: Manner


def asked(request: object) -> Asked:
    """Read a request, in any spelling. Raises Unfit."""
    given = normal(read.an_object(request, "request"))
    read.only(given, KNOWN, "")
    if given.get("cachedContent"):
        raise Unfit(
            "Cached contents are not kept here.",
            "cachedContent",
            "Send the content itself.",
        )
    if not given.get("contents"):
        raise Shapeless("The request has no contents.", "contents", "Add 'contents' with at least one part.")
    config = read.an_object(given.get("generationConfig") or {}, "generationConfig")
    model = given.get("model")
    name = None if model is None else model_name(read.text(model, "model"))
    manner = _manner(config)
    if manner.pictures:
        return Asked(IMAGES, _pictures(given, config), name, manner)
    return Asked(CHAT, _chat(given, config), name, manner)


def manner_of(request: object) -> Manner:
    """How the answer to a request is told. The request was read before: only its configuration is looked at."""
    given = read.an_object(request, "request")
    config = next((value for key, value in given.items() if camel(key) == "generationConfig"), None)
    return _manner(cast("Json", normal(config or {})))


def _manner(config: Json) -> Manner:
    return Manner(settings.wants_picture(config), settings.shows_thoughts(config), settings.is_enum(config))


def model_name(resource: str) -> str:
    """A model's own name: `models/x` and `tunedModels/x` both name x."""
    return resource.removeprefix("models/").removeprefix("tunedModels/")


def _chat(given: Json, config: Json) -> Json:
    chat = settings.sampling(config)
    system = system_text(given["systemInstruction"]) if given.get("systemInstruction") else ""
    told: list[Json] = [{"role": "system", "content": system}] if system else []
    chat["messages"] = told + messages(given["contents"], settings.detail(config))
    chat |= settings.form(config)
    chat |= settings.tools(given.get("tools"), given.get("toolConfig"))
    return chat


def _pictures(given: Json, config: Json) -> Json:
    """The making of pictures: all words of the request are the prompt."""
    sampled = settings.sampling(config)
    said = messages(given["contents"])
    if any(not isinstance(message["content"], str) and message["content"] for message in said):
        words = [part for message in said for part in _list(message["content"])]
        if any(part["type"] != "text" for part in words):
            raise Unfit("Pictures are made from words alone here.", "contents", "Leave pictures and files out.")
    prompt = "\n".join(_prompt(message["content"]) for message in said).strip()
    if not prompt:
        raise Unfit("There are no words to make a picture of.", "contents", "Add a text part.")
    body: Json = {"prompt": prompt, "response_format": "b64_json"}
    if "n" in sampled:
        body["n"] = sampled["n"]
    if "seed" in sampled:
        body["seed"] = sampled["seed"]
    size = _size(read.an_object(config.get("imageConfig") or {}, "generationConfig.imageConfig"))
    return body | size


def _size(image: Json) -> Json:
    """`size` in pixels, where the request says anything of it: the side by its name, cut to the ratio of the sides."""
    read.only(
        image, {"aspectRatio", "imageSize", "personGeneration", "imageOutputOptions"}, "generationConfig.imageConfig"
    )
    named, ratio = image.get("imageSize"), image.get("aspectRatio")
    if named is None and ratio is None:
        return {}
    side = _SIDES.get(str(named or "1K").upper())
    if side is None:
        raise Unfit(f"'{named}' is no size.", "generationConfig.imageConfig.imageSize", f"It is {', '.join(_SIDES)}.")
    wide, high = _ratio(str(ratio or "1:1"))
    width = side[0] if wide >= high else round(side[0] * wide / high / 8) * 8
    height = side[1] if high >= wide else round(side[1] * high / wide / 8) * 8
    return {"size": f"{width}x{height}"}


def _ratio(ratio: str) -> tuple[int, int]:
    wide, _, high = ratio.partition(":")
    if not (wide.isdecimal() and high.isdecimal() and 0 < int(wide) <= 32 and 0 < int(high) <= 32):
        raise Unfit(f"'{ratio}' is no ratio.", "generationConfig.imageConfig.aspectRatio", "Write it as 16:9.")
    return int(wide), int(high)


def _prompt(content: object) -> str:
    return content if isinstance(content, str) else "\n".join(part["text"] for part in _list(content))


def _list(content: object) -> list[Json]:
    return content if isinstance(content, list) else []  # pyright: ignore[reportUnknownVariableType]
