"""The engine of a run, opened but not started."""

import math
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from batchyard.config import Pictures, RunOptions
from batchyard.domain.errors import Invalid
from batchyard.endpoints import images
from batchyard.endpoints.responses import AS_CHAT
from batchyard.engine import Engine
from batchyard.engines import echo, embedded, http, llamacpp, managed, openvino
from batchyard.pipeline.inline import Manner
from batchyard.pipeline.translate import Translating
from batchyard.transport.life import Patience
from batchyard.wiring.models import Names, engine_name, model_path, names_of, vision_path

DEFAULT_KEY_NAME = "OPENAI_API_KEY"
IN_THE_PACKAGE = frozenset({"llamacpp", "openvino", "embedded"})


class Chosen(Struct, frozen=True, kw_only=True):
    """An engine, what lines may call its model, and the settings that its answers depend on.

    `manner` is how requests that name pictures or files are made ready for it.
    """

    engine: Engine
    names: Names
    manner: Manner
    settings: dict[str, str]


def engine_of(options: RunOptions, log_folder: str) -> Chosen:
    """Choose and open. Raises Invalid where nothing fits."""
    name = engine_name(options)
    names = names_of(options)
    return Chosen(
        engine=Translating(_open(name, options, names, log_folder), AS_CHAT),
        names=names,
        manner=Manner(remote=options.images, strict=name in IN_THE_PACKAGE),
        settings={
            "model": _model_setting(options),
            "engine": options.engine,
            "chat template": _chat_template(options) or "the model's own",
            "template arguments": options.template_arguments or "none",
        },
    )


def _model_setting(options: RunOptions) -> str:
    if options.model is None:
        return "as the lines say"
    path = model_path(options.model)
    return os.path.realpath(path) if path.exists() and options.model != "demo" else options.model


def _open(name: str, options: RunOptions, names: Names, log_folder: str) -> Engine:
    match name:
        case "http":
            return _remote(options)
        case "echo":
            return echo.open(echo.Config(slots=options.slots))
        case "llamacpp":
            return llamacpp.open(_llamacpp(options))
        case "openvino":
            return openvino.open(_openvino(options))
        case "embedded":
            return embedded.open(embedded.Config(quick=_openvino(options), wide=_llamacpp(options)))
        case _ if name in managed.RECIPES:
            return managed.open(_managed(name, options, names, log_folder))
        case _:
            known = ", ".join(("auto", "http", "llamacpp", "openvino", *managed.RECIPES, "echo"))
            raise Invalid(f"There is no engine {name}.", remedy=f"Take one of: {known}.")


def _remote(options: RunOptions) -> Engine:
    config = _http(options)
    if options.pictures is Pictures.IMAGES:
        return http.open(config)
    others = config.endpoints - {images.AS_CHAT.source}
    return Translating(http.open(msgspec.structs.replace(config, endpoints=others)), images.AS_CHAT)


def _http(options: RunOptions) -> http.Config:
    if not options.upstreams:
        raise Invalid("The http engine needs a server.", remedy="Give --upstream URL.")
    key_name = DEFAULT_KEY_NAME if options.api_key_env is None else options.api_key_env
    key = os.environ.get(key_name) if key_name else None
    if options.api_key_env and not key:
        raise Invalid(f"The environment variable {key_name} is not set.", remedy="Set it to the upstream's key.")
    config = http.Config(urls=options.upstreams, api_key=key, api_key_name=key_name, model=options.model)
    seconds = options.engine_start_seconds
    if seconds is None:
        return config
    return msgspec.structs.replace(config, start_timeout_seconds=seconds if seconds >= 0 else math.inf)


def _llamacpp(options: RunOptions) -> llamacpp.Config:
    return llamacpp.Config(
        model_path=_file(options),
        mmproj_path=vision_path(options),
        slots=options.slots,
        context_tokens_per_slot=options.context_tokens,
        threads=options.threads,
        chat_template=_chat_template(options),
        template_arguments=_template_arguments(options),
    )


def _chat_template(options: RunOptions) -> str | None:
    """The template itself, or the text of the file that is named."""
    given = options.chat_template
    if given is None or "{" in given:
        return given
    try:
        return Path(given).read_text(encoding="utf-8")
    except OSError as error:
        raise Invalid(
            f"The chat template {given} cannot be read: {error.strerror}.",
            remedy="Give the path of a Jinja file, or the template itself.",
        ) from error


def _template_arguments(options: RunOptions) -> dict[str, str]:
    """Each value as JSON, as llama.cpp wants it."""
    if options.template_arguments is None:
        return {}
    try:
        given = msgspec.json.decode(options.template_arguments, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise Invalid(
            f"The template's arguments are no JSON object: {error}.", remedy='Write {"name": value}.'
        ) from error
    return {name: bytes(value).decode() for name, value in given.items()}


def _openvino(options: RunOptions) -> openvino.Config:
    return openvino.Config(
        model_path=_file(options),
        slots=options.slots,
        context_tokens=options.context_tokens,
        threads=options.threads,
    )


def _file(options: RunOptions) -> str:
    if options.model is None:
        raise Invalid("There is no model to run.", remedy="Give --model.")
    return str(model_path(options.model))


def _managed(program: str, options: RunOptions, names: Names, log_folder: str) -> managed.Config:
    if options.model is None:
        raise Invalid("There is no model to run.", remedy="Give --model.")
    flags = [word for flag in options.engine_flags for word in flag.words]
    return managed.Config(
        program=program,
        model=str(model_path(options.model)) if options.model == "demo" else options.model,
        log_folder=log_folder,
        names=tuple(dict.fromkeys((names.default or options.model, *sorted(names.known or ())))),
        flags=tuple(flags),  # the slots and the context are among them
        patience=_patience(options),
    )


def _patience(options: RunOptions) -> Patience:
    """A large model may load for half an hour where nothing else was said; below zero, for as long as it lives."""
    seconds = options.engine_start_seconds
    if seconds is None:
        return Patience()
    return Patience(start_seconds=seconds if seconds >= 0 else None)
