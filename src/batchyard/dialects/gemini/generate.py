"""A GenerateContentRequest as a request of an endpoint that engines know: a chat, or the making of pictures.

What cannot be honoured is refused by name. Accepted without effect are safety settings, labels, service tier and store:
they steer a service, not an answer.
"""

from typing import cast

from msgspec import Struct

from batchyard.dialects.gemini import pictures, settings
from batchyard.dialects.gemini import reading as read
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
        endpoint, body = _pictures(given, config)
        return Asked(endpoint, body, name, manner)
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


def _pictures(given: Json, config: Json) -> tuple[str, Json]:
    """The making of pictures: all words of the request are the prompt, the system's first."""
    chat = _chat(given, config)
    words = pictures.words_of(chat["messages"])
    if words is None:
        return CHAT, chat | pictures.as_chat(config)
    return IMAGES, pictures.as_prompt(words, chat, config)
