"""What a Gemini request asks of sampling, form, thought and tools, as fields of a chat."""

from typing import Any

from batchyard.dialects.gemini import reading as read
from batchyard.dialects.gemini.schema import json_schema
from batchyard.dialects.gemini.spelling import Json
from batchyard.dialects.gemini.unfit import Rpc, Unfit

KNOWN = frozenset(
    {
        "temperature",
        "topP",
        "topK",
        "candidateCount",
        "maxOutputTokens",
        "stopSequences",
        "responseLogprobs",
        "logprobs",
        "presencePenalty",
        "frequencyPenalty",
        "seed",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "responseJsonSchemaOrdered",
        "responseModalities",
        "mediaResolution",
        "thinkingConfig",
        "speechConfig",
        "imageConfig",
        "audioTimestamp",
        "enableEnhancedCivicAnswers",
    }
)
_NUMBERS = {
    "temperature": "temperature",
    "topP": "top_p",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
}
_WHOLES = {"topK": "top_k", "candidateCount": "n", "maxOutputTokens": "max_tokens", "seed": "seed"}
_DETAIL = {"MEDIA_RESOLUTION_LOW": "low", "MEDIA_RESOLUTION_HIGH": "high", "MEDIA_RESOLUTION_MEDIUM": "auto"}
_EFFORTS = {"MINIMAL": "minimal", "LOW": "low", "MEDIUM": "medium", "HIGH": "high", "XHIGH": "xhigh"}
_BUDGETS = ((1024, "low"), (8192, "medium"))
_BUILT_IN = frozenset(
    {
        "googleSearch",
        "googleSearchRetrieval",
        "codeExecution",
        "urlContext",
        "googleMaps",
        "fileSearch",
        "computerUse",
        "mcpServers",
        "enterpriseWebSearch",
        "retrieval",
    }
)
MOST_STOPS = 5
MOST_LOGPROBS = 20
_CONFIG = "generationConfig"


def sampling(config: Json) -> Json:
    """The chat's fields of a generation config, but for the form of its answer. Raises Unfit."""
    read.only(config, KNOWN, _CONFIG)
    chat: Json = {}
    for name, key in _NUMBERS.items():
        if config.get(name) is not None:
            chat[key] = read.number(config[name], f"{_CONFIG}.{name}")
    for name, key in _WHOLES.items():
        if config.get(name) is not None:
            chat[key] = read.whole(config[name], f"{_CONFIG}.{name}")
    _put_stops(chat, config.get("stopSequences"))
    _put_logprobs(chat, config)
    _put_thinking(chat, config.get("thinkingConfig"))
    return chat


def form(config: Json) -> Json:
    """The chat's `response_format`, where the config asks for a form. Raises Unfit."""
    mime = config.get("responseMimeType") or ""
    plain = config.get("responseJsonSchema") or config.get("responseJsonSchemaOrdered")
    if plain is not None and config.get("responseSchema") is not None:
        raise Unfit("There are two schemas.", f"{_CONFIG}.responseSchema", "Give responseSchema or responseJsonSchema.")
    schema = plain
    if config.get("responseSchema") is not None:
        schema = json_schema(config["responseSchema"], f"{_CONFIG}.responseSchema")
    if mime not in ("", "text/plain", "application/json", "text/x.enum"):
        raise Unfit(
            f"The response type '{mime}' is not known.", f"{_CONFIG}.responseMimeType",
            "It is text/plain, application/json or text/x.enum.",
        )  # fmt: skip
    if schema is not None:
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}}
    if mime == "text/x.enum":
        raise Unfit("An enum needs its values.", f"{_CONFIG}.responseSchema", "Give a schema with 'enum'.")
    return {"response_format": {"type": "json_object"}} if mime == "application/json" else {}


def detail(config: Json) -> str | None:
    """How closely pictures are looked at."""
    return _DETAIL.get(str(config.get("mediaResolution")))


def wants_picture(config: Json) -> bool:
    """Whether a picture is to be made. Raises Unfit for what no engine here makes."""
    modalities = {
        str(each).upper() for each in read.an_array(config.get("responseModalities") or [], "responseModalities")
    }
    strange = modalities - {"TEXT", "IMAGE"}
    if strange:
        raise Unfit(
            f"Answers of the kind {', '.join(sorted(strange))} are not made here.", f"{_CONFIG}.responseModalities",
            "TEXT and IMAGE are.", Rpc.UNIMPLEMENTED,
        )  # fmt: skip
    return "IMAGE" in modalities


def shows_thoughts(config: Json) -> bool:
    thinking = config.get("thinkingConfig")
    return bool(thinking) and bool(read.an_object(thinking, "thinkingConfig").get("includeThoughts"))


def is_enum(config: Json) -> bool:
    return config.get("responseMimeType") == "text/x.enum"


def tools(given: object, config: object) -> Json:
    """The chat's `tools` and `tool_choice`. Raises Unfit, UNIMPLEMENTED for tools that run at Google."""
    functions: list[Json] = []
    for number, tool in enumerate(read.objects(given or [], "tools")):
        for name in tool:
            if name in _BUILT_IN:
                raise Unfit(
                    f"The built-in tool '{name}' is not there.", f"tools[{number}].{name}",
                    "Declare a function instead.", Rpc.UNIMPLEMENTED,
                )  # fmt: skip
        read.only(tool, {"functionDeclarations"}, f"tools[{number}]")
        declared = read.objects(tool.get("functionDeclarations") or [], f"tools[{number}].functionDeclarations")
        functions += [_function(each, f"tools[{number}].functionDeclarations[{n}]") for n, each in enumerate(declared)]
    if not functions:
        return {}
    return _chosen(functions, read.an_object(config or {}, "toolConfig").get("functionCallingConfig"))


def _function(declared: Json, field: str) -> Json:
    function: Json = {"name": read.text(declared.get("name"), f"{field}.name")}
    if declared.get("description"):
        function["description"] = declared["description"]
    if declared.get("parametersJsonSchema") is not None:
        function["parameters"] = declared["parametersJsonSchema"]
    elif declared.get("parameters") is not None:
        function["parameters"] = json_schema(declared["parameters"], f"{field}.parameters")
    else:
        function["parameters"] = {"type": "object", "properties": {}}
    return {"type": "function", "function": function}


def _chosen(functions: list[Json], given: object) -> Json:
    calling = read.an_object(given or {}, "toolConfig.functionCallingConfig")
    mode = str(calling.get("mode") or "AUTO").upper()
    allowed = {str(name) for name in read.an_array(calling.get("allowedFunctionNames") or [], "allowedFunctionNames")}
    names = [each["function"]["name"] for each in functions]
    unknown = allowed - set(names)
    if unknown:
        raise Unfit(
            f"The function '{sorted(unknown)[0]}' is allowed but not declared.",
            "toolConfig.functionCallingConfig.allowedFunctionNames",
        )
    if mode == "NONE":
        return {"tools": functions, "tool_choice": "none"}
    if mode in ("AUTO", "VALIDATED", "MODE_UNSPECIFIED"):
        return {"tools": functions, "tool_choice": "auto"}
    if mode != "ANY":
        raise Unfit(f"'{mode}' is no mode of calling.", "toolConfig.functionCallingConfig.mode", "AUTO, ANY or NONE.")
    if len(allowed) == 1:
        return {"tools": functions, "tool_choice": {"type": "function", "function": {"name": next(iter(allowed))}}}
    kept = [each for each in functions if not allowed or each["function"]["name"] in allowed]
    return {"tools": kept, "tool_choice": "required"}


def _put_stops(chat: Json, given: Any) -> None:
    if not given:
        return
    stops = [read.text(each, f"{_CONFIG}.stopSequences") for each in read.an_array(given, f"{_CONFIG}.stopSequences")]
    if len(stops) > MOST_STOPS:
        raise Unfit(f"There are {len(stops)} stop sequences.", f"{_CONFIG}.stopSequences", f"At most {MOST_STOPS}.")
    chat["stop"] = stops


def _put_logprobs(chat: Json, config: Json) -> None:
    if not config.get("responseLogprobs"):
        if config.get("logprobs") is not None:
            raise Unfit("logprobs needs responseLogprobs.", f"{_CONFIG}.logprobs", "Set responseLogprobs to true.")
        return
    chat["logprobs"] = True
    if config.get("logprobs") is not None:
        most = read.whole(config["logprobs"], f"{_CONFIG}.logprobs")
        if not 0 <= most <= MOST_LOGPROBS:
            raise Unfit(f"logprobs is {most}.", f"{_CONFIG}.logprobs", f"It is 0 to {MOST_LOGPROBS}.")
        chat["top_logprobs"] = most


def _put_thinking(chat: Json, given: object) -> None:
    if given is None:
        return
    field = f"{_CONFIG}.thinkingConfig"
    thinking = read.an_object(given, field)
    read.only(thinking, {"includeThoughts", "thinkingBudget", "thinkingLevel"}, field)
    level, budget = thinking.get("thinkingLevel"), thinking.get("thinkingBudget")
    if level is not None and str(level).upper() != "THINKING_LEVEL_UNSPECIFIED":
        if str(level).upper() not in _EFFORTS:
            raise Unfit(f"'{level}' is no level of thinking.", f"{field}.thinkingLevel", f"{', '.join(_EFFORTS)}.")
        chat["reasoning_effort"] = _EFFORTS[str(level).upper()]
    elif budget is not None:
        tokens = read.whole(budget, f"{field}.thinkingBudget")
        if tokens == 0:
            chat["reasoning_effort"] = "none"
        elif tokens > 0:
            chat["reasoning_effort"] = next((word for most, word in _BUDGETS if tokens <= most), "high")
