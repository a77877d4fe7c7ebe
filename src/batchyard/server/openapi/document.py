"""The OpenAPI document of the doors: one operation for each method of each route."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from starlette.routing import BaseRoute, Route

from batchyard import __version__
from batchyard.server.openapi.calls import CALLS, JSON, Call
from batchyard.server.openapi.schemas import SCHEMAS, Schema, ref
from batchyard.server.paths import GEMINI

_CONVERTER = re.compile(r":\w+(?=})")
_NAMED = re.compile(r"{(\w+)}")

_REFUSALS: Final[Mapping[int, str]] = {
    400: "Something in the call is wrong; `param` says where.",
    401: "There is no key, or no such key.",
    403: "This key may not do that.",
    404: "There is no such thing in the key's project.",
    409: "The thing is in a state that does not allow this.",
    413: "Something is larger than it may be.",
    416: "No byte of the file lies in the range.",
    422: "The model's engine refuses the request.",
    429: "A quota or a rate is used up.",
    500: "The server failed.",
    502: "The engine was lost while it answered.",
    503: "The server or the model takes no work now; ask again later.",
    504: "The engine took too long.",
}
_ALWAYS: Final = (401, 403, 500, 503)
"""What any call with a key may be refused with."""


def document(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """The document. Raises KeyError for a route that `CALLS` does not know."""
    paths: dict[str, dict[str, Any]] = {}
    for path, method in operations(routes):
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, CALLS[f"{method} {path}"])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Batchyard",
            "version": __version__,
            "description": "Files, uploads, batches and models, as OpenAI's clients and Azure's ask for them.",
        },
        "servers": [
            {"url": "/v1", "description": "OpenAI's paths."},
            {"url": "/openai/v1", "description": "Azure's: what is made is answered with 201, errors have its codes."},
            {"url": "/nebius/v1", "description": "Results as Nebius writes them."},
        ],
        "security": [{"bearer": []}, {"api-key": []}],
        "paths": paths,
        "components": {
            "schemas": dict(SCHEMAS),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
            },
            "responses": {str(status): _refusal(words) for status, words in _REFUSALS.items()},
        },
    }


def operations(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str]]:
    """The path and method of each call that routes take; a HEAD goes with its GET.

    Gemini's calls are left out: their answers and errors have another shape (`docs/dialects/gemini.md`).
    """
    for route in routes:
        if isinstance(route, Route) and route.path.startswith(GEMINI + "/"):
            continue
        assert isinstance(route, Route)
        for method in sorted((route.methods or set()) - {"HEAD"}):
            yield _CONVERTER.sub("", route.path), method


def _operation(path: str, method: str, call: Call) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _id(path, method),
        "summary": call.about,
        "parameters": [*map(_named, _NAMED.findall(path)), *call.parameters],
        "responses": {str(status): _answer(status, call.answers) for status in call.answers},
    }
    refusals = call.errors if call.keyless else (*call.errors, *_ALWAYS)
    operation["responses"] |= {str(each): {"$ref": f"#/components/responses/{each}"} for each in sorted(refusals)}
    if call.body is not None:
        content = {kind: {"schema": schema} for kind, schema in call.body.items()}
        operation["requestBody"] = {"required": call.body_required, "content": content}
    if call.keyless:
        operation["security"] = []
    return operation


def _id(path: str, method: str) -> str:
    words = re.sub(r"[^a-z_]+", "_", path).strip("_")
    return f"{method.lower()}_{words}"


def _named(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _answer(status: int, answers: Mapping[int, Mapping[str, Schema]]) -> dict[str, Any]:
    content = {kind: {"schema": schema} if schema else {} for kind, schema in answers[status].items()}
    answer: dict[str, Any] = {"description": _DONE.get(status, "It is as asked.")}
    return answer | {"content": content} if content else answer


_DONE: Final[Mapping[int, str]] = {
    201: "It was made (Azure's paths).",
    204: "There is nothing more to tell.",
    206: "A range of the bytes.",
    304: "The caller has them already.",
    503: "It takes no work now.",
}


def _refusal(words: str) -> dict[str, Any]:
    return {"description": words, "content": {JSON: {"schema": ref("Error")}}}
