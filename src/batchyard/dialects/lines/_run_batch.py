"""The result lines of vLLM's `run-batch` and of its descendants.

They differ from the OpenAI form: whatever is not a success has `response.body` null and its explanation in `error`, as
a string or as the engine's error object. A line with a wrong url, model or `stream` is answered with such an error,
while a malformed one stops the run. The method and repeated ids are not looked at.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from batchyard.dialects.lines._ascii import one_line, quoted
from batchyard.dialects.lines._lines import Lines
from batchyard.dialects.lines._names import drawn
from batchyard.dialects.lines._rules import Rules
from batchyard.domain.line import Line, LineError
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Outcome, Result
from batchyard.endpoint import Endpoint

TYPES = {
    400: "BadRequestError",
    404: "NotFoundError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    500: "InternalServerError",
    501: "NotImplementedError",
    503: "ServiceUnavailableError",
}


class Config(Struct, frozen=True, kw_only=True):
    """What a run allows in its lines: see `Rules`. `run_id` names the run, from which ids are drawn."""

    run_id: str
    endpoints: Mapping[str, Endpoint]
    models: frozenset[str] | None = None
    default_model: str | None = None


class Tool(Struct, frozen=True, kw_only=True):
    """How one tool writes: `digits` of its ids, `only_400` where every error has that status, and its sentences."""

    name: str
    digits: int
    only_400: bool
    wrong_url: Callable[[str, str], str]
    """From the url, and the endpoints that there are."""
    failed: Callable[[Failure], bytes]
    """The JSON of `error` where no engine answered."""
    malformed: Callable[[LineError], str]


class _Url(Struct):
    url: str
    body: msgspec.Raw


_url = msgspec.json.Decoder(_Url).decode


class RunBatchDialect:
    """Lines in the form of one tool."""

    unique_ids = False
    needs_lines = False
    errors_apart = True

    def __init__(self, tool: Tool, config: Config) -> None:
        self.name = tool.name
        self._tool = tool
        self._run_id = config.run_id
        self._endpoints = ", ".join(sorted(config.endpoints))
        rules = Rules(
            endpoints=config.endpoints,
            models=config.models,
            default_model=config.default_model,
            any_method=True,
        )
        self._lines = Lines(rules)

    def read(self, number: int, line: bytes) -> Line | LineError | Result:
        found = self._lines.read(number, line)
        if not isinstance(found, LineError):
            return found
        answer = self._answer(found, line)
        if answer is not None:
            return Result(-1, found.custom_id, Outcome.ERRORED, answer)
        return msgspec.structs.replace(found, message=self._tool.malformed(found))

    def request(self, place: int, line: bytes) -> Request:
        return self._lines.request(place, line)

    def custom_id(self, line: bytes) -> str | None:
        return self._lines.custom_id(line)

    def error(self, error: LineError) -> Result:
        answer = Answer(400, error_object(400, f"{error.message} {error.remedy}".strip(), error.param))
        return Result(-1, error.custom_id, Outcome.ERRORED, answer)

    def is_error(self, written: bytes) -> bool:
        raise NotImplementedError("errors stand apart")

    def told(self, result: Result, line: bytes = b"") -> Result:
        return result

    def write(self, result: Result, line: bytes = b"") -> bytes:
        status, body, error = self._told(result.reply)
        place, tool = result.line, self._tool
        return (
            b'{"id":"%s-%s","custom_id":%s,"response":{"status_code":%d,"request_id":"%s-batch-%s","body":%s},%s}\n'
            % (
                tool.name.encode(),
                drawn(self._run_id, place, "line", tool.digits).encode(),
                b"null" if result.custom_id is None else quoted(result.custom_id),
                status,
                tool.name.encode(),
                drawn(self._run_id, place, "request", tool.digits).encode(),
                body,
                b'"error":%s' % error,
            )
        )

    def _answer(self, error: LineError, line: bytes) -> Answer | None:
        """What the tool answers to a faulty line that does not stop it."""
        match error.code:
            case "invalid_url":
                return Answer(400, quoted(self._tool.wrong_url(_url(line).url, self._endpoints)))
            case "streaming_unsupported":
                return Answer(400, quoted("Request must not be sent in stream mode"))
            case "model_not_found":
                model = msgspec.json.decode(_url(line).body)["model"]
                return Answer(404, error_object(404, f"The model `{model}` does not exist.", "model"))
            case _:
                return None

    def _told(self, reply: Answer | Failure) -> tuple[int, bytes, bytes]:
        """Status, body and error of a reply."""
        if isinstance(reply, Failure):
            return (400 if self._tool.only_400 else _status(reply)), b"null", self._tool.failed(reply)
        body = one_line(reply.body)
        if reply.ok and body is not None:
            return reply.status, body, b"null"
        status = 400 if self._tool.only_400 else reply.status
        return status, b"null", _explained(reply.status, body, reply.body)


def error_object(status: int, message: str, param: str | None = None) -> bytes:
    """An error as these tools' engines write it."""
    kind = TYPES.get(status, "BadRequestError" if status < 500 else "InternalServerError")
    error: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": status}
    return b'{"error":%s}' % (one_line(msgspec.json.encode(error)) or b"null")


def failure_object(failure: Failure) -> bytes:
    return error_object(_status(failure), failure.message)


def _status(failure: Failure) -> int:
    return 503 if failure.fault in (Fault.DOWN, Fault.OVERLOADED, Fault.CANCELLED) else 500


def _explained(status: int, body: bytes | None, raw: bytes) -> bytes:
    """The error of an engine: its own words where it has sent an error object or a sentence."""
    if body is not None and (body.lstrip().startswith(b'"') or (body.lstrip().startswith(b"{") and b'"error"' in body)):
        return body
    return error_object(status, raw.decode("utf-8", "replace") or "The engine sent no body.")
