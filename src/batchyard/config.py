"""What a run is told to do: plain values, checked where they enter."""

from enum import StrEnum

from msgspec import Struct


class Compat(StrEnum):
    """Whose `run-batch` this run stands in for: id prefixes, field names, error shapes and exit codes."""

    OPENAI = "openai"
    VLLM = "vllm"
    FASTDEPLOY = "fastdeploy"


class OnInvalidLine(StrEnum):
    """What a line that cannot run does: it stops the run before anything ran, or becomes an error line."""

    ABORT = "abort"
    ERROR_LINE = "error-line"


class Order(StrEnum):
    """The order of the output's lines."""

    INPUT = "input"
    COMPLETION = "completion"


class Pictures(StrEnum):
    """How upstreams are asked for pictures."""

    IMAGES = "images"
    """At `/v1/images/generations`."""
    CHAT = "chat"
    """In a chat, whose answer has them in its message."""


class DispatchSettings(Struct, frozen=True, kw_only=True):
    """How requests go out.

    `max_inflight` None: the dispatcher finds it. `retries` counts attempts after the first. Backoff doubles from
    `backoff_seconds` up to `backoff_ceiling_seconds`, with jitter; a server's Retry-After goes before it, up to
    `retry_after_ceiling_seconds`. `engine_down_seconds` is how long an engine that cannot be reached is waited for
    without it costing any line a retry; `overload_seconds` how long a line is put off by an engine that is full (429,
    503) before that costs it retries.
    """

    max_inflight: int | None = None
    retries: int = 5
    request_timeout_seconds: float = 600.0
    backoff_seconds: float = 0.5
    backoff_ceiling_seconds: float = 30.0
    retry_after_ceiling_seconds: float = 300.0
    engine_down_seconds: float = 600.0
    overload_seconds: float = 600.0


class Images(StrEnum):
    """What becomes of pictures that a request names by an http(s) URL: they are fetched here, or the URL goes to the
    engine as it is, or the request is refused."""

    FETCH = "fetch"
    PASS = "pass"  # noqa: S105 - a word, no secret
    REFUSE = "refuse"


class ImageSettings(Struct, frozen=True, kw_only=True):
    """Which pictures are taken, and from where.

    `allow_private` are hosts, addresses and networks beside the public internet that pictures may come from; where
    there are `only_hosts`, they come from no others. One picture may have `most_bytes` and `most_pixels`, and take
    `timeout_seconds`. Up to `cache_bytes` are kept, so that what many requests name is not fetched for each.
    """

    allow_private: tuple[str, ...] = ()
    only_hosts: tuple[str, ...] = ()
    most_bytes: int = 20_000_000
    most_pixels: int = 64_000_000
    timeout_seconds: float = 20.0
    cache_bytes: int = 64 << 20


MAX_LINE_BYTES = 256 << 20
"""A longer line is refused without being read whole; large images fit as base64."""


class EngineFlag(Struct, frozen=True):
    """A flag that is not ours, as the user gave it: `name` with its dashes (`--tensor-parallel-size`), then its values.

    Underscores in the name are written as dashes; a name may carry a key (`--hf-overrides.rope`) or a plus sign.
    """

    name: str
    values: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """As a program takes it."""
        return (self.name, *self.values)


class RunOptions(Struct, frozen=True, kw_only=True):
    """Everything that one run needs to be told.

    Places: `input` is a path, `-`, a FIFO or an http(s) URL; so are `output` and `errors` (where failed lines go
    instead, None: into the output, as all lines). `run_folder` holds the plan, the journal and staged files, None: a
    folder beside the output, or in the current one where the output is no file. `staging_folder` is where fetched and
    undelivered files lie, None: in the run folder.

    Models: `model` is a GGUF file, a folder, a Hugging Face id or `demo`, and the name that lines without a model get;
    `served_names` are the names that lines may use for it (the first goes out in answers). `upstreams` are base URLs
    of OpenAI-compatible servers; `api_key_env` names the environment variable with their key, never the key (None: the
    usual one, empty: no key). `mmproj` is the vision tower of a GGUF model, None: the only `mmproj*.gguf` beside it.
    `images` is what becomes of pictures behind URLs.
    `engine` is the name of a module in `engines/`, of a managed program, or `auto`. `slots`, `context_tokens` (of one
    request) and `threads` are None where the engine decides. `chat_template` is a path or the template itself,
    `template_arguments` a JSON object for it. `seed` is the engine's own where a request has none.
    `embeddings_per_call` is how many lines that ask for an embedding are asked in one call at most. `engine_flags` are
    those that only a managed engine understands, in the user's order. `engine_start_seconds` is how long an engine may
    take to become ready, below zero without limit. `pictures` is how upstreams are asked for some.

    `fresh` starts over; otherwise a run goes on where an earlier one with the same input stopped. `dedupe` asks once
    what several lines ask in the same words, where an answer is a function of its request.
    """

    input: str
    output: str
    errors: str | None = None
    run_folder: str | None = None
    staging_folder: str | None = None

    compat: Compat = Compat.OPENAI
    model: str | None = None
    served_names: tuple[str, ...] = ()
    engine: str = "auto"
    upstreams: tuple[str, ...] = ()
    api_key_env: str | None = None
    mmproj: str | None = None
    images: Images = Images.FETCH
    slots: int | None = None
    context_tokens: int | None = None
    threads: int | None = None
    chat_template: str | None = None
    template_arguments: str | None = None
    seed: int | None = None
    embeddings_per_call: int = 64
    engine_flags: tuple[EngineFlag, ...] = ()
    engine_start_seconds: float | None = None
    pictures: Pictures = Pictures.IMAGES

    on_invalid_line: OnInvalidLine = OnInvalidLine.ABORT
    order: Order = Order.INPUT
    dedupe: bool = True
    fresh: bool = False
    max_line_bytes: int = MAX_LINE_BYTES
    dispatch: DispatchSettings = DispatchSettings()
    image_settings: ImageSettings = ImageSettings()
