"""One line of an input file, before it is a request."""

from msgspec import Struct


class LineError(Struct, frozen=True, kw_only=True):
    """Why a line cannot run: where, what, and how to mend it.

    `number` counts physical lines from 1, blank ones too, as an editor does; `param` is a dotted path into the line
    (`body.model`); `code` is one of the codes of the OpenAI batch service (docs/reference/line-errors.md).
    """

    number: int
    code: str
    message: str
    remedy: str = ""
    param: str | None = None
    custom_id: str | None = None


class Line(Struct, frozen=True, gc=False):
    """A line that can run, as the plan needs it.

    `endpoint` is the canonical path of its kind (`/v1/chat/completions`), `model` the model that it names or the run's
    own, empty where its batch names that. `prefix` hashes the start of the prompt: lines with an equal prefix can share
    an engine's prefix cache. `digest` hashes the whole request where an answer is a function of the request, and is 0
    where it is not.
    """

    custom_id: str
    endpoint: str
    model: str
    prefix: int
    digest: int
    input_tokens: int
    output_tokens: int
