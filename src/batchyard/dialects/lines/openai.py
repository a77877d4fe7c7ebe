"""The line format of the OpenAI batch service. Source: the OpenAI API reference, "Batch" (input and output objects)."""

from collections.abc import Mapping

from msgspec import Struct

from batchyard.dialect import LineDialect
from batchyard.dialects.lines._ascii import one_line, quoted
from batchyard.dialects.lines._lines import Lines
from batchyard.dialects.lines._names import drawn
from batchyard.dialects.lines._rules import OneModel, Rules
from batchyard.domain.line import LineError
from batchyard.domain.result import Answer, Failure, Outcome, Result
from batchyard.endpoint import Endpoint

MOST_TEXT = 8192
"""How many characters of an answer that is not JSON are kept."""


class Config(Struct, frozen=True, kw_only=True):
    """What a run allows in its lines: see `Rules`. `run_id` names the run, from which ids are drawn.

    `batch` holds lines to the rules of the batch services: one endpoint, which is all that `endpoints` has, and one
    model in all lines, but where there may be `several_models`. `own_names` says what the model of an alias is called.
    """

    run_id: str
    endpoints: Mapping[str, Endpoint]
    models: frozenset[str] | None = None
    default_model: str | None = None
    batch: bool = False
    several_models: bool = False
    own_names: Mapping[str, str] | None = None


def open(config: Config) -> LineDialect:
    return OpenAIDialect(config)


class OpenAIDialect(Lines):
    """Answers, good and bad, stand in `response`; `error` is for lines that no engine answered."""

    name = "openai"
    unique_ids = True
    needs_lines = False
    errors_apart = True

    def __init__(self, config: Config) -> None:
        rules = Rules(
            endpoints=config.endpoints,
            models=config.models,
            default_model=config.default_model,
            batch=config.batch,
            one_model=OneModel(config.own_names) if config.batch and not config.several_models else None,
        )
        super().__init__(rules)
        self._run_id = config.run_id

    def error(self, error: LineError) -> Result:
        failure = Failure(error.code, f"{error.message} {error.remedy}".strip())
        return Result(-1, error.custom_id, Outcome.ERRORED, failure)

    def is_error(self, written: bytes) -> bool:
        raise NotImplementedError("errors stand apart")

    def told(self, result: Result, line: bytes = b"") -> Result:
        return result

    def write(self, result: Result, line: bytes = b"") -> bytes:
        reply = result.reply
        return b'{"id": "batch_req_%s", "custom_id": %s, %s}\n' % (
            drawn(self._run_id, result.line, "line").encode(),
            b"null" if result.custom_id is None else quoted(result.custom_id),
            self._response(reply, result.line) if isinstance(reply, Answer) else _error(reply),
        )

    def _response(self, answer: Answer, place: int) -> bytes:
        name = answer.request_id or f"req_{drawn(self._run_id, place, 'request')}"
        return b'"response": {"status_code": %d, "request_id": %s, "body": %s}, "error": null' % (
            answer.status,
            quoted(name),
            one_line(answer.body) or _told(answer.body),
        )


def _error(failure: Failure) -> bytes:
    return b'"response": null, "error": {"code": %s, "message": %s}' % (quoted(failure.code), quoted(failure.message))


def _told(body: bytes) -> bytes:
    """The body of an answer that is not JSON, as an error that tells it."""
    text = body.decode("utf-8", "replace")[:MOST_TEXT] or "The engine sent no body."
    return b'{"error": {"message": %s, "type": "server_error", "param": null, "code": null}}' % quoted(text)
