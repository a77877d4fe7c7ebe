"""What the openvino engine is told."""

from msgspec import Struct


class Config(Struct, frozen=True, kw_only=True):
    """A GGUF file or an OpenVINO folder, and how to run it.

    `names` are the model names that it answers to; none means any. None lets the machine decide: `slots` (sequences
    worked on at once), `context_tokens` (prompt and answer of one request), `threads`.
    """

    model_path: str
    names: frozenset[str] = frozenset()
    slots: int | None = None
    context_tokens: int | None = None
    threads: int | None = None
