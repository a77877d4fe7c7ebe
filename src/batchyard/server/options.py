"""What a server is told to do: plain values, checked where they enter."""

import ipaddress
from collections.abc import Mapping

from msgspec import Struct, field

from batchyard.config import EngineFlag, Images, ImageSettings
from batchyard.domain.access import NO_LIMITS, ModelLimits, Quota
from batchyard.domain.errors import Invalid
from batchyard.domain.file import DEFAULT_EXPIRY_SECONDS, GEMINI_EXPIRY_SECONDS
from batchyard.domain.price import Price
from batchyard.domain.upload import LIFETIME_SECONDS


class ModelOptions(Struct, frozen=True, kw_only=True):
    """One model, and who answers for it. For what is not told here see `RunOptions`.

    `name` is what callers say and what stands in answers, None: the upstreams' name, or that of the file or folder;
    `aliases` are what they may say besides, and `paths` whether they may also say where it lies. `model` is what is
    loaded, `upstream_model` what the upstreams call it, None: `name`. An `api_key_env` that is empty means no key.
    `slots` bounds what upstreams get at once, `batch_slots` what batches get of that. `request_timeout_seconds` None is
    the server's.
    """

    name: str | None = None
    aliases: tuple[str, ...] = ()
    paths: bool = False
    model: str | None = None
    engine: str = "auto"
    upstreams: tuple[str, ...] = ()
    upstream_model: str | None = None
    api_key_env: str | None = ""
    mmproj: str | None = None
    images: Images = Images.FETCH
    slots: int | None = None
    batch_slots: int | None = None
    embeddings_per_call: int = 64
    context_tokens: int | None = None
    threads: int | None = None
    chat_template: str | None = None
    template_arguments: str | None = None
    engine_flags: tuple[EngineFlag, ...] = ()
    engine_start_seconds: float | None = None
    pictures: str = "images"
    request_timeout_seconds: float | None = None
    price: Price | None = None
    limits: ModelLimits = NO_LIMITS


class ProjectOptions(Struct, frozen=True, kw_only=True):
    """One project's own limits; `create` makes it at the start where there is none of its name."""

    quota: Quota = Quota()
    create: bool = False


class BatchOptions(Struct, frozen=True, kw_only=True):
    """How batches run. `files_at_once` of them read or write whole files at the same time. See also `BatchRules`."""

    several_models: bool = False
    refuse_missing_input: bool = False
    azure_expires: bool = False
    when_full: str = "queue"
    require_jsonl_name: bool = False
    model_window_seconds: float = 172_800
    inline_bytes: int = 20 << 20
    at_once: int = 512
    files_at_once: int = 2
    retries: int = 5


class ServeOptions(Struct, frozen=True, kw_only=True):
    """Everything that one server needs to be told.

    `data_folder` holds its facts and files. `keys` is whether calls need one, `behind_proxy` whether headers that say
    how callers reach a proxy before us are believed. `grace_seconds` is how long calls under way may take at the end. A
    `patient` server tries models again that cannot start, and serves the others meanwhile. `quota` is for projects that
    have none of their own, by name, in `projects`. `windows` are completion windows beside 24h, in seconds.
    `file_seconds` is how long inputs and results of batches are kept, `gemini_file_seconds` what came on Gemini's wire
    (None: for ever), `upload_seconds` how long an upload may take. `webhook_allow_private` are hosts, addresses and
    networks beside the public internet that webhooks may go to.
    """

    data_folder: str
    host: str = "127.0.0.1"
    port: int = 8000
    keys: bool = True
    behind_proxy: bool = False
    grace_seconds: float = 30
    log_level: str = "warning"
    log_format: str = "text"
    request_timeout_seconds: float = 600.0
    request_bytes: int = 32 << 20
    models: tuple[ModelOptions, ...] = ()
    patient: bool = False
    quota: Quota = Quota()
    projects: Mapping[str, ProjectOptions] = field(default_factory=dict[str, ProjectOptions])
    windows: Mapping[str, int] = field(default_factory=dict[str, int])
    file_seconds: int = DEFAULT_EXPIRY_SECONDS
    gemini_file_seconds: int | None = GEMINI_EXPIRY_SECONDS
    upload_seconds: int = LIFETIME_SECONDS
    batches: BatchOptions = BatchOptions()
    webhook_allow_private: tuple[str, ...] = ()
    images: ImageSettings = ImageSettings()


def check(options: ServeOptions) -> None:
    """Raises Invalid where the options do not make a server."""
    if not options.keys and not is_loopback(options.host):
        raise Invalid(
            f"Without keys everyone who reaches {options.host} would be the server's administrator.",
            remedy="Listen on 127.0.0.1, or let calls need keys.",
        )
    if not options.models:
        raise Invalid(
            "There is no model to run.",
            remedy="Give --model (a GGUF file, a folder, a Hugging Face id, or demo), --upstream URL, or --config FILE "
            "with [models.NAME].",
        )
    for model in options.models:
        if model.upstreams and model.name is None and model.upstream_model is None:
            raise Invalid("The upstream's model has no name here.", remedy="Give --model NAME.")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
