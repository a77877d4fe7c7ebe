"""Every table and key of `batchyard.toml`: what each may hold, what it is for, and what it is when it is left out.

This is the only list of them: the reader, the check, the variables and the reference page are all made from it.
"""

from collections.abc import Iterator

from msgspec import Struct

from batchyard.config import Images, Pictures
from batchyard.engines import managed
from batchyard.service.rules import WhenFull
from batchyard.telemetry.logs import LogFormat
from batchyard.wiring.settings.kinds import (
    Bytes,
    Flags,
    Json,
    Kind,
    ListOf,
    Nanos,
    Seconds,
    SecondsOrNever,
    Switch,
    Text,
    Url,
    Variable,
    Whole,
    Word,
)

ENGINES = ("auto", "llamacpp", "openvino", "embedded", "http", "echo", *managed.RECIPES)
LOG_LEVELS = ("debug", "info", "warning", "error")
DAY = 86_400
HOUR = 3_600


class Key(Struct, frozen=True, kw_only=True):
    """One key. `field` is what it is called in our options, where that differs; `default` is for people."""

    name: str
    kind: Kind
    about: str
    default: str = ""
    field: str = ""

    @property
    def target(self) -> str:
        return self.field or self.name


class Table(Struct, frozen=True, kw_only=True):
    """One table. In a `named` one, each key is a name of the user's own for a table of this form.

    In one with `entries`, each key is a name of the user's own for one value. `places` says what the name is.
    """

    name: str
    about: str
    keys: tuple[Key, ...] = ()
    tables: tuple["Table", ...] = ()
    named: str = ""
    entries: Key | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What may stand in it."""
        return tuple(each.name for each in (*self.keys, *self.tables))

    def key(self, name: str) -> Key | None:
        return next((key for key in self.keys if key.name == name), None)

    def table(self, name: str) -> "Table | None":
        return next((table for table in self.tables if table.name == name), None)


SERVER = Table(
    name="server",
    about="Where the server listens and what it keeps.",
    keys=(
        Key(name="host", kind=Text(), about="Address to listen on.", default='"127.0.0.1"'),
        Key(name="port", kind=Whole(0, 65_535), about="Port to listen on; 0 takes a free one.", default="8000"),
        Key(
            name="data_dir",
            kind=Text("a folder"),
            about="Folder of everything that the server keeps.",
            default='"batchyard-data"',
            field="data_folder",
        ),
        Key(
            name="keys",
            kind=Switch(),
            about="Whether calls need a key. Without, everyone who reaches the server is its administrator; only on "
            "127.0.0.1, ::1 or localhost.",
            default="true",
        ),
        Key(
            name="behind_proxy",
            kind=Switch(),
            about="Whether callers come through a proxy that sets `X-Forwarded-Proto`, `-Host` and `-Prefix`: of them "
            "are addresses made in answers of Gemini's wire. Without a proxy anybody could send such headers.",
            default="false",
        ),
        Key(
            name="grace",
            kind=Seconds(0),
            about="How long calls and batches may take to end what is under way, when the server is asked to end.",
            default="30",
            field="grace_seconds",
        ),
        Key(name="log_level", kind=Word(LOG_LEVELS), about="Events to show on standard error.", default='"warning"'),
        Key(
            name="log_format",
            kind=Word(tuple(LogFormat)),
            about="Text for people, or one JSON object per line for programs.",
            default='"text"',
        ),
        Key(
            name="request_timeout",
            kind=Seconds(0.001),
            about="How long one attempt at a request may take.",
            default="600",
            field="request_timeout_seconds",
        ),
        Key(
            name="request_bytes",
            kind=Bytes(1024),
            about="How large one interactive request may be, images and all.",
            default='"32 MiB"',
        ),
    ),
)

PRICES = Table(
    name="prices",
    about="What a million tokens of the model cost.",
    keys=(
        Key(name="input", kind=Nanos(), about="A million input tokens."),
        Key(name="output", kind=Nanos(), about="A million output tokens."),
        Key(name="cached", kind=Nanos(), about="A million input tokens that came from a cache.", default="as `input`"),
        Key(name="currency", kind=Text(), about="What the prices are in.", default='"USD"'),
        Key(
            name="batch_discount",
            kind=Nanos(1),
            about="Which part of it batches save: 0.5 is half price.",
            default="0.5",
        ),
    ),
)

RATES = (
    Key(name="requests_per_minute", kind=Whole(1), about="Interactive requests in a minute.", default="any number"),
    Key(
        name="tokens_per_minute",
        kind=Whole(1),
        about="Tokens of interactive requests in a minute.",
        default="any number",
    ),
    Key(
        name="enqueued_tokens",
        kind=Whole(1),
        about="Input tokens of batches that have not ended.",
        default="any number",
    ),
)
"""What a project may ask of one model."""

MODELS = Table(
    name="models",
    named="the name that callers say",
    about="Each model has an engine of its own: a program of ours, one that is started, or remote servers.",
    keys=(
        Key(
            name="model",
            kind=Text("a GGUF file, a folder, a Hugging Face id, or demo"),
            about="What to load.",
        ),
        Key(name="engine", kind=Word(ENGINES), about="What loads it.", default='"auto"'),
        Key(
            name="upstreams",
            kind=ListOf(Url(), "http or https URLs"),
            about="OpenAI-compatible servers that answer instead, each with the same model; a request goes to the one "
            "that has least.",
        ),
        Key(
            name="upstream_model",
            kind=Text(),
            about="What the upstreams call the model.",
            default="the model's name here",
        ),
        Key(
            name="api_key_env",
            kind=Variable(),
            about="Environment variable with the upstreams' key. The key itself is never written here.",
            default="no key",
        ),
        Key(
            name="pictures",
            kind=Word(tuple(Pictures)),
            about="How the upstreams are asked for pictures: at `/v1/images/generations`, or in a chat whose answer "
            "has them in its message.",
            default='"images"',
        ),
        Key(name="aliases", kind=ListOf(Text(), "names"), about="Other names that callers may say."),
        Key(
            name="slots",
            kind=Whole(1),
            about="Requests that it works on at once. Upstreams get no more than that, people's requests included; "
            "those that are too many wait here.",
            default="as the engine decides; no end for upstreams",
        ),
        Key(
            name="batch_slots",
            kind=Whole(1),
            about="How many requests of batches it may have at once: what is left of its slots is always free for "
            "people.",
            default="all",
        ),
        Key(
            name="embeddings_per_call",
            kind=Whole(1, 2048),
            about="Lines of a batch, for one embedding each, that are asked in one call, at most. 1: each by itself.",
            default="64; of an engine that says how many slots it has, at most about half of them",
        ),
        Key(
            name="context",
            kind=Whole(16),
            about="Tokens of one request with its answer.",
            default="as the model was made",
            field="context_tokens",
        ),
        Key(name="threads", kind=Whole(1), about="Processor threads of an engine in the package.", default="all cores"),
        Key(name="mmproj", kind=Text("a file"), about="Vision tower of a GGUF model.", default="the one beside it"),
        Key(
            name="images",
            kind=Word(tuple(Images)),
            about="Pictures that requests name by a URL: they are fetched here, the URL is passed on to the engine, or "
            "the request is refused.",
            default='"fetch"',
        ),
        Key(
            name="chat_template",
            kind=Text("a Jinja file or text"),
            about="Instead of the model's own.",
        ),
        Key(
            name="template_arguments",
            kind=Json(),
            about="What the chat template gets besides: `{ enable_thinking = false }`.",
        ),
        Key(
            name="start_timeout",
            kind=Seconds(0),
            about="How long upstreams or a started program may take to be ready.",
            default="30 s for upstreams, half an hour for a program",
            field="engine_start_seconds",
        ),
        Key(
            name="request_timeout",
            kind=Seconds(0.001),
            about="How long one attempt at a request may take.",
            default="as in `[server]`",
            field="request_timeout_seconds",
        ),
        *(
            Key(name=key.name, kind=key.kind, about=f"{key.about} For each project.", default=key.default)
            for key in RATES
        ),
        Key(
            name="flags",
            kind=Flags(),
            about="Flags of a started program, without their dashes: `{ tensor-parallel-size = 2, enforce-eager = true "
            "}`.",
            field="engine_flags",
        ),
    ),
    tables=(PRICES,),
)

QUOTA = (
    Key(name="files", kind=Whole(0), about="Files that callers uploaded.", default="500"),
    Key(name="file_bytes", kind=Bytes(1), about="Size of one file.", default='"10 GB"'),
    Key(name="total_bytes", kind=Bytes(1), about="Size of all files, results included.", default='"2500 GB"'),
    Key(name="batches", kind=Whole(0), about="Batches that have not ended.", default="500"),
    Key(name="requests_per_file", kind=Whole(1), about="Lines of one batch.", default="5000000"),
    Key(
        name="enqueued_tokens",
        kind=Whole(1),
        about="Input tokens of batches that have not ended, whatever their model.",
        default="any number",
    ),
    Key(
        name="highest_priority",
        kind=Whole(-100, 100),
        about="The highest priority that its batches may be given.",
        default="100",
    ),
)

LIMITS = Table(name="limits", about="How much each project may keep and ask for.", keys=QUOTA)

PROJECTS = Table(
    name="projects",
    named="the project's name",
    about="Projects with limits of their own. What is left out is as in `[limits]`.",
    keys=(
        *(Key(name=key.name, kind=key.kind, about=key.about, default="as in `[limits]`") for key in QUOTA),
        Key(
            name="create",
            kind=Switch(),
            about="Make the project at the start, where there is none of that name.",
            default="false",
        ),
    ),
    tables=(
        Table(
            name="models",
            named="the model's name",
            about="What the project may ask of one model, in place of what is said there for everyone.",
            keys=RATES,
        ),
    ),
)

WINDOWS = Table(
    name="windows",
    about='Completion windows that batches may ask for, beside "24h".',
    entries=Key(name="NAME", kind=Seconds(1, 30 * DAY), about="How long it is."),
)

RETENTION = Table(
    name="retention",
    about="How long things are kept.",
    keys=(
        Key(
            name="files",
            kind=Seconds(HOUR, 30 * DAY),
            about="Inputs and results of batches, where the caller does not say; at most 30 days, as on the wire.",
            default='"30d"',
        ),
        Key(
            name="gemini_files",
            kind=SecondsOrNever(HOUR, 365 * DAY),
            about="Files that came on Gemini's wire, from when they are whole.",
            default='"48h"',
        ),
        Key(
            name="uploads",
            kind=Seconds(60, 30 * DAY),
            about="An upload, from its beginning to its end.",
            default='"1h"',
        ),
    ),
)

BATCHES = Table(
    name="batches",
    about="How batches run.",
    keys=(
        Key(
            name="several_models",
            kind=Switch(),
            about="Whether the lines of one file may ask for different models.",
            default="false",
        ),
        Key(
            name="refuse_missing_input",
            kind=Switch(),
            about="Refuse a batch whose input file does not exist at once; otherwise it is created and fails, as at "
            "OpenAI.",
            default="false",
        ),
        Key(
            name="azure_expires",
            kind=Switch(),
            about="Hold batches that came on Azure's wire to their deadline, too.",
            default="false",
        ),
        Key(
            name="when_full",
            kind=Word(tuple(WhenFull)),
            about="What becomes of a batch for whose tokens there is no room now: it waits, or fails.",
            default='"queue"',
        ),
        Key(
            name="require_jsonl_name",
            kind=Switch(),
            about="Refuse batch inputs whose name does not end in `.jsonl`.",
            default="false",
        ),
        Key(
            name="model_window",
            kind=Seconds(1, 30 * DAY),
            about="How long batches may take whose callers name no window, as on Gemini's wire.",
            default='"48h"',
            field="model_window_seconds",
        ),
        Key(
            name="inline_bytes",
            kind=Bytes(1024),
            about="How much a batch may carry whose requests come with the call.",
            default='"20 MiB"',
        ),
        Key(
            name="at_once",
            kind=Whole(1, 10_000),
            about="Batches that run at the same time; fewer where the system allows few open files.",
            default="512",
        ),
        Key(
            name="files_at_once",
            kind=Whole(1, 64),
            about="Batches that read or write whole files at the same time.",
            default="2",
        ),
        Key(
            name="retries",
            kind=Whole(0, 100),
            about="Further attempts for a line after 408, 409, 425, 429, 5xx, a lost connection or a timeout.",
            default="5",
        ),
    ),
)

WEBHOOKS = Table(
    name="webhooks",
    about="Where the ends of batches are told.",
    keys=(
        Key(
            name="allow_private",
            kind=ListOf(Text(), "hosts, addresses and networks"),
            about="What is not on the public internet and may be told all the same.",
            field="webhook_allow_private",
        ),
    ),
)

IMAGES = Table(
    name="images",
    about="Pictures that requests carry or name.",
    keys=(
        Key(
            name="allow_private",
            kind=ListOf(Text(), "hosts, addresses and networks"),
            about="What is not on the public internet and may be fetched from all the same.",
        ),
        Key(
            name="only_hosts",
            kind=ListOf(Text(), "hosts"),
            about="The only hosts that pictures are fetched from.",
            default="all that are on the public internet",
        ),
        Key(
            name="most_bytes",
            kind=Bytes(1),
            about="Size of one picture, or of a file that is shown.",
            default='"20 MB"',
        ),
        Key(name="most_pixels", kind=Whole(1), about="Pixels of one picture.", default="64000000"),
        Key(
            name="timeout",
            kind=Seconds(0.001),
            about="How long one picture may take to come.",
            default="20",
            field="timeout_seconds",
        ),
        Key(
            name="cache_bytes",
            kind=Bytes(),
            about="Pictures that are kept in memory, so that what many requests name is not fetched for each.",
            default='"64 MiB"',
        ),
    ),
)

TABLES = (SERVER, MODELS, PROJECTS, LIMITS, WINDOWS, RETENTION, BATCHES, WEBHOOKS, IMAGES)
"""In the order of the reference page."""

ROOT = Table(name="", about="", tables=TABLES)


def every_key(table: Table = ROOT, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Key]]:
    """All keys with the tables that they stand in; names of the user's own are NAME."""
    inside = (*before, *((table.name,) if table.name else ()), *(("NAME",) if table.named else ()))
    if table.entries is not None:
        yield (*inside, table.entries.name), table.entries
    yield from (((*inside, key.name), key) for key in table.keys)
    for each in table.tables:
        yield from every_key(each, inside)
