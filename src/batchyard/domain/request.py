"""A request to a model, as an engine takes it."""

from msgspec import Struct

from batchyard.domain.access import ProjectId


class Request(Struct, frozen=True, gc=False):
    """One line, ready to be answered.

    `line` is the line's place in the plan, from 0. `endpoint` is canonical (`/v1/chat/completions`). `body` is the JSON
    object of that endpoint in the OpenAI form, as UTF-8 bytes, always with its `model`, otherwise as the user wrote it.
    A group of requests that is asked in one call has the line and the custom_id of its first; `lines` is how many they
    are.
    `project` is whose files it may name, None: nobody's.
    """

    line: int
    custom_id: str
    endpoint: str
    model: str
    body: bytes
    lines: int = 1
    project: ProjectId | None = None
