"""The rows of the Gemini batch service. Source: the Gemini API reference, "Batch Mode" (input and output files).

    {"key": "a", "request": {"contents": [{"parts": [{"text": "..."}]}], "generationConfig": {...}}}
    {"key": "a", "response": {"candidates": [...], "usageMetadata": {...}}}
    {"key": "a", "error": {"code": 3, "message": "..."}}

Keys need not differ, nor be strings, nor be there: rows are told apart by their order. A row that is no request at all
makes the file invalid; a request that cannot be honoured (a tool that runs elsewhere, a type of file that nobody reads)
is answered with an error row. All else that a row says besides its request stands in its answer again.
"""

from typing import Any, cast

import msgspec
from msgspec import Raw, Struct, structs
from xxhash import xxh3_64_intdigest

from batchyard.dialect import LineDialect
from batchyard.dialects.gemini.errors import names_no_file, said_by
from batchyard.dialects.gemini.reading import deeper_than
from batchyard.dialects.gemini.rows import Embedding, Generating, Kind, Said, row_of
from batchyard.dialects.gemini.spelling import Json
from batchyard.dialects.gemini.unfit import Rpc, Unfit
from batchyard.dialects.lines._ascii import one_line
from batchyard.dialects.lines._names import drawn
from batchyard.dialects.lines._rules import MOST_LEVELS
from batchyard.domain.line import Line, LineError
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Outcome, Reply, Result
from batchyard.endpoint import decode_body
from batchyard.policy.dedupe import repeatable
from batchyard.policy.prefix import prefix_of, prefix_seed

ONE_OBJECT = "Write one object per line."
ROW = frozenset({"key", "request", "metadata"})
NO_CODE = "unfit_"
"""How the codes of failures begin that carry a number of google.rpc."""

_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_BY_STATUS = {
    401: Rpc.UNAUTHENTICATED, 403: Rpc.PERMISSION_DENIED, 404: Rpc.NOT_FOUND, 408: Rpc.DEADLINE_EXCEEDED,
    409: Rpc.ABORTED, 429: Rpc.RESOURCE_EXHAUSTED, 501: Rpc.UNIMPLEMENTED, 502: Rpc.UNAVAILABLE,
    503: Rpc.UNAVAILABLE, 504: Rpc.DEADLINE_EXCEEDED,
}  # fmt: skip
_BY_CODE = {
    "request_timeout": Rpc.DEADLINE_EXCEEDED, "batch_expired": Rpc.DEADLINE_EXCEEDED, "batch_cancelled": Rpc.CANCELLED,
    "connection_lost": Rpc.UNAVAILABLE, "engine_down": Rpc.UNAVAILABLE, "overloaded": Rpc.RESOURCE_EXHAUSTED,
    "failed_to_download_image": Rpc.UNAVAILABLE,
}  # fmt: skip


class Config(Struct, frozen=True, kw_only=True):
    """What a run allows in its rows.

    `default_model` is the job's own, for rows that name none: the plan need not know it, only requests do. `models` are
    the names that rows may ask for, None for any. `embeddings` says of which kind the job is. `model_shown` stands in
    answers, None: the job's own.
    """

    run_id: str
    default_model: str | None = None
    models: frozenset[str] | None = None
    embeddings: bool = False
    model_shown: str | None = None


def open(config: Config) -> LineDialect:
    return GeminiDialect(config)


class GeminiDialect:
    """See the module."""

    name = "gemini"
    unique_ids = False
    needs_lines = True
    errors_apart = False

    def __init__(self, config: Config) -> None:
        self._config = config
        self._kind: Kind = Embedding() if config.embeddings else Generating()
        self._last: tuple[bytes, tuple[Json, object]] | None = None

    def read(self, number: int, line: bytes) -> Line | LineError | Result:
        try:
            row, request = row_of(line)
        except _BROKEN as error:
            return self._bad(number, "invalid_json_line", f"This line is not valid JSON: {error}.", ONE_OBJECT)
        except TypeError:
            return self._bad(number, "invalid_request", "This line is not a JSON object.", ONE_OBJECT)
        fault = _fault(row, request, line)
        if fault is not None:
            return self._bad(number, *fault, row)
        return self._described(number, row, cast("Json", request))

    def _described(self, number: int, row: Json, request: Json) -> Line | LineError | Result:
        try:
            said = self._kind.said(request)
        except Unfit as unfit:
            if unfit.shapeless:
                return self._bad(number, "invalid_request", unfit.message, unfit.remedy, f"request.{unfit.field}", row)
            return _refused(unfit, _name(row))
        except (ValueError, RecursionError) as error:
            return self._bad(number, "invalid_request", f"The request cannot be read: {error}.", "", "request", row)
        if said.model is not None and self._config.models is not None and said.model not in self._config.models:
            message = f"The model '{said.model}' is not served here."
            remedy = "GET /v1beta/models lists those that are."
            return self._bad(number, "model_not_found", message, remedy, "request.model", row)
        return _line(_name(row) or "", said.model or "", said)

    def request(self, place: int, line: bytes) -> Request:
        row, request = row_of(line)
        said = self._kind.said(request)
        model = said.model or self._config.default_model or ""
        return Request(
            place, _name(row) or "", said.endpoint, model, msgspec.json.encode({"model": model, **said.body})
        )

    def custom_id(self, line: bytes) -> str | None:
        try:
            return _name(row_of(line)[0])
        except (*_BROKEN, TypeError):
            return None

    def error(self, error: LineError) -> Result:
        message = f"line {error.number}: {error.message} {error.remedy}".strip()
        failure = Failure(f"{NO_CODE}{int(Rpc.INVALID_ARGUMENT)}", message)
        return Result(-1, error.custom_id, Outcome.ERRORED, failure)

    def is_error(self, written: bytes) -> bool:
        return "error" in msgspec.json.decode(written, type=dict[str, Raw])

    def told(self, result: Result, line: bytes = b"") -> Result:
        reply = result.reply
        if isinstance(reply, Failure) or not reply.ok:
            return result
        try:
            answer = cast("Json", msgspec.json.decode(reply.body))
            shown = self._config.model_shown or self._config.default_model or str(answer.get("model", ""))
            name = drawn(self._config.run_id, result.line, "response")[:22]
            response = self._kind.response(self._row(line)[1], answer, shown, name)
        except Unfit as unfit:
            return _as_error(result, unfit.code, str(unfit))
        except (ValueError, TypeError, AttributeError, KeyError, *_BROKEN) as error:
            return _as_error(result, Rpc.INTERNAL, f"The engine's answer has another shape: {error}.")
        return structs.replace(result, reply=structs.replace(reply, body=msgspec.json.encode(response)))

    def write(self, result: Result, line: bytes = b"") -> bytes:
        try:
            row = self._row(line)[0]
        except (*_BROKEN, TypeError):
            row = {}
        encoded = one_line(msgspec.json.encode({**row, **_said(result.reply)}))
        assert encoded is not None, "what was just encoded is JSON"
        return encoded + b"\n"

    def _row(self, line: bytes) -> tuple[Json, object]:
        """See `row_of`; the last one is kept, as a result is told and then written."""
        last = self._last
        if last is None or last[0] is not line:
            last = self._last = (line, row_of(line))
        return last[1]

    def _bad(
        self, number: int, code: str, message: str, remedy: str, param: str | None = None, row: Json | None = None
    ) -> LineError:
        return LineError(
            number=number, code=code, message=message, remedy=remedy, param=param, custom_id=_name(row or {})
        )


def code_of(failure: Failure) -> int:
    """The number of google.rpc for a request that got no answer."""
    if failure.code.startswith(NO_CODE):
        return int(failure.code.removeprefix(NO_CODE))
    return _BY_CODE.get(failure.code, Rpc.INTERNAL)


def _fault(row: Json, request: object, line: bytes) -> tuple[str, str, str, str] | None:
    """What is wrong with a row beside its request: code, message, remedy and field."""
    strange = sorted(row.keys() - ROW)
    if strange:
        return "invalid_request", f"Unknown field '{strange[0]}'.", "A row has a key and a request.", strange[0]
    if not isinstance(request, dict):
        return "missing_required_parameter", "This row has no request.", "Add 'request', an object.", "request"
    if line.count(b"[") + line.count(b"{") > MOST_LEVELS and deeper_than(cast("object", request), MOST_LEVELS):
        return "invalid_request", "This row nests too deep.", f"At most {MOST_LEVELS} levels.", "request"
    return None


def _code_of_answer(answer: Answer) -> int:
    if names_no_file(answer):
        return Rpc.PERMISSION_DENIED
    return _BY_STATUS.get(answer.status, Rpc.INVALID_ARGUMENT if answer.status < 500 else Rpc.INTERNAL)


def _line(name: str, model: str, said: Said) -> Line:
    body = msgspec.json.encode(said.body)
    read = decode_body(body)
    equal = said.endpoint.endswith("/embeddings") or repeatable(read.temperature, read.n, read.seed)
    limit = int(read.max_tokens or 0) * int(read.n or 1)
    return Line(
        name,
        said.endpoint,
        model,
        prefix_of(said.prompt, prefix_seed(f"{said.endpoint} {model}")),
        (xxh3_64_intdigest(body, prefix_seed(model)) or 1) if equal else 0,
        (len(said.prompt) + 3) >> 2,
        min(max(limit, 0), 0xFFFFFFFF),
    )


def _name(row: Json) -> str | None:
    """A row's key as the journal keeps it: JSON where it is no string."""
    key: Any = row.get("key")
    if key is None or isinstance(key, str):
        return key
    return msgspec.json.encode(key).decode()


def _refused(unfit: Unfit, name: str | None) -> Result:
    return Result(-1, name, Outcome.ERRORED, Failure(f"{NO_CODE}{int(unfit.code)}", str(unfit)))


def _as_error(result: Result, code: Rpc, message: str) -> Result:
    return structs.replace(result, outcome=Outcome.ERRORED, reply=Failure(f"{NO_CODE}{int(code)}", message))


def _said(reply: Reply) -> Json:
    """What a row says of a reply, as it was told."""
    if isinstance(reply, Failure):
        return _error(code_of(reply), reply.message)
    if not reply.ok:
        return _error(_code_of_answer(reply), said_by(reply))
    return {"response": Raw(reply.body)}


def _error(code: int, message: str) -> Json:
    return {"error": {"code": int(code), "message": message}}
