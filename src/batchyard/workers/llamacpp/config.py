"""What the llamacpp engine is told."""

from msgspec import Struct


class Config(Struct, frozen=True, kw_only=True):
    """A model file and how to run it.

    `mmproj_path` is the model's vision tower, where it has one. `names` are the model names that it answers to; none
    means any. None lets the machine decide: `slots` (requests worked on at once), `context_tokens_per_slot`, `threads`,
    and `embedding` (whether it turns text into vectors instead of writing: the file says so itself). `chat_template`
    is a Jinja template in place of the model's own, `template_arguments` what it is given beside the messages.
    """

    model_path: str
    mmproj_path: str | None = None
    names: frozenset[str] = frozenset()
    slots: int | None = None
    context_tokens_per_slot: int | None = None
    threads: int | None = None
    embedding: bool | None = None
    chat_template: str | None = None
    template_arguments: dict[str, str] = {}
