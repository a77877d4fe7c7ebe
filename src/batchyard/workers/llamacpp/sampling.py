"""What a body means to llama.cpp's sampler: OpenAI's defaults instead of its own."""

from batchyard.domain.result import Usage
from batchyard.workers.llamacpp.stream import Written
from batchyard.workers.openai import Body, most_tokens, seed_of, wanted_schema

DEFAULTS: Body = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
"""llama.cpp's own defaults narrow the choice; OpenAI's and vLLM's do not."""

OURS = ("n", "max_completion_tokens", "max_tokens", "guided_json", "structured_outputs", "response_format", "seed")
"""Fields that are read here and written anew."""


def plain_sampling(body: Body) -> Body:
    """The body with its sampling fields in llama.cpp's words. Raises BadRequest."""
    given = {name: value for name, value in body.items() if name not in OURS and value is not None}
    asked = {**DEFAULTS, **given}
    limit = most_tokens(body)
    if limit is not None:
        asked["max_tokens"] = limit
    if "repetition_penalty" in asked:
        asked["repeat_penalty"] = asked.pop("repetition_penalty")
    schema = wanted_schema(body)
    if schema is not None:
        asked["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    return asked


def seeded(asked: Body, body: Body, choice: int) -> Body:
    """The body of one choice: each has a seed of its own, or all would be alike."""
    seed = seed_of(body)
    return asked if seed is None else {**asked, "seed": (seed + choice) & 0x7FFFFFFF}


def tidy_logprobs(tokens: list[Body], most: int) -> list[Body]:
    """OpenAI's fields only, the alternatives that were asked for, and no entry for the end token, which has no text."""
    while tokens and not tokens[-1].get("token") and not tokens[-1].get("bytes"):
        tokens = tokens[:-1]
    return [
        {**_tidy(token), "top_logprobs": [_tidy(t) for t in token.get("top_logprobs", [])[:most]]} for token in tokens
    ]


def _tidy(token: Body) -> Body:
    return {name: token.get(name) for name in ("token", "logprob", "bytes")}


def summed(runs: list[Written], prompts: int = 1) -> Usage:
    """What a request with several choices used: each prompt once, all that was written."""
    each = len(runs) // prompts
    return Usage(
        sum(run.usage.input_tokens for run in runs[::each]),
        sum(run.usage.output_tokens for run in runs),
        sum(run.usage.cached_tokens for run in runs[::each]),
    )
