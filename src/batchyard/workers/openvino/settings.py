"""What a body means to OpenVINO's sampler, and which bodies it cannot take."""

import secrets
from typing import cast

from batchyard.workers.openai import BadRequest, Body, seed_of
from batchyard.workers.openvino.pipeline import Settings

NUMBERS = {
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "repetition_penalty": (0.01, 100.0),
}
"""Fields that go over as they are, with the range that the sampler takes."""

REFUSED = ("logit_bias", "prompt_logprobs", "continue_final_message")


def refuse_what_is_missing(body: Body) -> None:
    """Raises BadRequest for what llama.cpp could do and this engine cannot, rather than to leave it out."""
    for name in REFUSED:
        if body.get(name):
            raise BadRequest(f"The OpenVINO engine does not take `{name}`.", param=name, code="unsupported_parameter")
    if body.get("tools") and body.get("tool_choice") != "none":
        raise BadRequest(
            "The OpenVINO engine calls no tools; use the llamacpp engine.", param="tools", code="tools_unsupported"
        )


def sampler_settings(body: Body, stop_ids: frozenset[int], schema: str | None) -> Settings:
    """Fields of a GenerationConfig but for the length and the seed. Raises BadRequest."""
    settings: Settings = {"stop_token_ids": set(stop_ids) | _extra_stop_ids(body)}
    if stop_ids:
        settings["eos_token_id"] = min(stop_ids)
    for name, (least, most) in NUMBERS.items():
        value = _number(body, name, least, most)
        if value is not None:
            settings[name] = value
    temperature = _number(body, "temperature", 0.0, 100.0)
    settings["do_sample"] = temperature != 0
    if temperature:
        settings["temperature"] = temperature
    _add_whole_numbers(settings, body)
    if body.get("ignore_eos"):
        settings["ignore_eos"] = True
    seed_of(body)  # refuses a bad one, even where nothing is drawn
    stops = stop_strings(body)
    if stops:
        settings["stop_strings"] = set(stops)
    if schema is not None:
        settings["json_schema"] = schema
    return settings


def seeded(settings: Settings, body: Body, choice: int) -> Settings:
    """The settings of one choice. Without a seed each draws its own: the sampler's default is the same for all."""
    if not settings["do_sample"]:
        return settings
    seed = seed_of(body)
    drawn = secrets.randbits(31) if seed is None else (seed + choice) & 0x7FFFFFFF
    return {**settings, "rng_seed": drawn}


def stop_strings(body: Body) -> list[str]:
    """`stop` as a list of texts. Raises BadRequest."""
    given = body.get("stop")
    stops = cast("list[object]", given if isinstance(given, list) else [] if given is None else [given])
    if not all(isinstance(stop, str) and stop for stop in stops):
        raise BadRequest("`stop` must be a text or a list of texts.", param="stop")
    return cast("list[str]", stops)


def _extra_stop_ids(body: Body) -> set[int]:
    given = body.get("stop_token_ids")
    ids = cast("list[object]", given if isinstance(given, list) else [] if given is None else [given])
    if not all(isinstance(number, int) and number >= 0 for number in ids):
        raise BadRequest("`stop_token_ids` must be a list of token ids.", param="stop_token_ids")
    return set(cast("list[int]", ids))


def _add_whole_numbers(settings: Settings, body: Body) -> None:
    for name, theirs in (("top_k", "top_k"), ("min_tokens", "min_new_tokens")):
        value = body.get(name)
        if value is not None and not isinstance(value, int):
            raise BadRequest(f"`{name}` must be a whole number.", param=name)
        if value is not None and value > 0:
            settings[theirs] = value


def _number(body: Body, name: str, least: float, most: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadRequest(f"`{name}` must be a number from {least:g} to {most:g}.", param=name)
    return float(value)
