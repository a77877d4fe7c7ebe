"""The flags of the commands, as the parser and the help see them."""

from enum import StrEnum
from typing import Annotated

import typer

from batchyard.cli import compat_flags
from batchyard.config import Compat, Images, OnInvalidLine, Order

FILES = "Files"
MODEL = "Model and engine"
RUN = "How to run"
REPORT = "What to report"

JSON_FLAGS = frozenset({"--default-chat-template-kwargs"})


class Progress(StrEnum):
    AUTO = "auto"
    BAR = "bar"
    PLAIN = "plain"
    NONE = "none"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _size(text: str) -> int | None:
    """A size, or what vLLM and FastDeploy write for "as the model says"."""
    if text in ("auto", "-1"):
        return None
    try:
        return compat_flags.size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


InputFile = Annotated[
    str,
    typer.Option(
        "--input-file",
        "-i",
        help="Requests, one JSON object a line: a path, - (standard input), a FIFO or a URL; gzip and zstd too.",
        rich_help_panel=FILES,
        metavar="FILE",
    ),
]
OutputFile = Annotated[
    str,
    typer.Option(
        "--output-file",
        "-o",
        help="Results: a path, - (standard output), a FIFO or an http(s) URL, which gets one PUT.",
        rich_help_panel=FILES,
        metavar="FILE",
    ),
]
ErrorFile = Annotated[
    str | None,
    typer.Option(
        "--error-file",
        help="Where failed lines go. Without it they stand in the output among the others.",
        rich_help_panel=FILES,
        metavar="FILE",
    ),
]
OutputTmpDir = Annotated[
    str | None,
    typer.Option(
        "--output-tmp-dir",
        help="Folder for the copy of a fetched input and for results that wait for their upload.",
        rich_help_panel=FILES,
        metavar="FOLDER",
        envvar="BATCHYARD_TMP_DIR",
    ),
]
RunDir = Annotated[
    str | None,
    typer.Option(
        "--run-dir",
        help="Folder for the plan and the journal of the run. Default: beside the output.",
        rich_help_panel=FILES,
        metavar="FOLDER",
        envvar="BATCHYARD_RUN_DIR",
    ),
]

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A GGUF file, a folder, a Hugging Face id, or demo. Lines without a model use it.",
        rich_help_panel=MODEL,
        envvar="BATCHYARD_MODEL",
    ),
]
ServedModelName = Annotated[
    list[str] | None,
    typer.Option(
        "--served-model-name",
        help="Names that lines may use for the model; a line without one gets the first.",
        rich_help_panel=MODEL,
        metavar="NAME...",
    ),
]
Upstream = Annotated[
    list[str] | None,
    typer.Option(
        "--upstream",
        help="Base URL of an OpenAI-compatible server that answers instead; may be given several times.",
        rich_help_panel=MODEL,
        metavar="URL",
        envvar="BATCHYARD_UPSTREAM",
    ),
]
ApiKeyEnv = Annotated[
    str | None,
    typer.Option(
        "--api-key-env",
        help="Environment variable with the key of the upstream. Default: OPENAI_API_KEY, where it is set.",
        rich_help_panel=MODEL,
        metavar="NAME",
        envvar="BATCHYARD_API_KEY_ENV",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        help="auto, llamacpp, openvino, http, echo, or a program to start: vllm, sglang, fastdeploy, llama-server.",
        rich_help_panel=MODEL,
        metavar="NAME",
        envvar="BATCHYARD_ENGINE",
    ),
]
Slots = Annotated[
    int | None,
    typer.Option(
        "--slots",
        metavar="N",
        help="Requests that the engine works on at once (also --max-num-seqs). Default: it decides.",
        rich_help_panel=MODEL,
        min=1,
    ),
]
MaxModelLen = Annotated[
    int | None,
    typer.Option(
        "--max-model-len",
        help="Tokens of one request with its answer: 4096, 32K, 25.6k. Default: as the model was made.",
        rich_help_panel=MODEL,
        metavar="TOKENS",
        parser=_size,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        help="Processor threads of an embedded engine. Default: all cores that this process may use.",
        rich_help_panel=MODEL,
        min=1,
        envvar="BATCHYARD_THREADS",
    ),
]
Mmproj = Annotated[
    str | None,
    typer.Option(
        "--mmproj",
        help="Vision tower of a GGUF model. Default: the only mmproj file beside it.",
        rich_help_panel=MODEL,
        metavar="FILE",
    ),
]
ImagesAre = Annotated[
    Images,
    typer.Option(
        "--images",
        metavar="HOW",
        help="fetch, pass or refuse: pictures behind URLs are fetched here, left to the engine, or refused.",
        rich_help_panel=MODEL,
        envvar="BATCHYARD_IMAGES",
    ),
]
ImageAllowPrivate = Annotated[
    list[str] | None,
    typer.Option(
        "--image-allow-private",
        help="Host, address or network beside the public internet that pictures may come from. May be given again.",
        rich_help_panel=MODEL,
        metavar="PLACE",
        envvar="BATCHYARD_IMAGE_ALLOW_PRIVATE",
    ),
]
AllowedMediaDomains = Annotated[
    list[str] | None,
    typer.Option(
        "--allowed-media-domains",
        help="The only hosts that pictures are fetched from. Default: all on the public internet.",
        rich_help_panel=MODEL,
        metavar="HOST...",
        envvar="BATCHYARD_ALLOWED_MEDIA_DOMAINS",
    ),
]
ChatTemplate = Annotated[
    str | None,
    typer.Option(
        "--chat-template",
        metavar="FILE",
        help="A Jinja file or text instead of the model's own.",
        rich_help_panel=MODEL,
    ),
]
TemplateArguments = Annotated[
    str | None,
    typer.Option(
        "--default-chat-template-kwargs",
        help="JSON object for the chat template; also in parts: ...-kwargs.enable_thinking false.",
        rich_help_panel=MODEL,
        metavar="JSON",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", help="The engine's seed where a request has none.", rich_help_panel=MODEL),
]
EngineStart = Annotated[
    float | None,
    typer.Option(
        "--engine-start-timeout",
        help="Seconds that an upstream or program may take to be ready (also --max-waiting-time); -1: no limit.",
        rich_help_panel=MODEL,
        metavar="SECONDS",
    ),
]
CompatWith = Annotated[
    Compat,
    typer.Option(
        "--compat",
        metavar="TOOL",
        help="openai, vllm or fastdeploy: whose id prefixes, field names, error shapes and exit codes.",
        rich_help_panel=RUN,
        envvar="BATCHYARD_COMPAT",
    ),
]
InvalidLine = Annotated[
    OnInvalidLine,
    typer.Option(
        "--on-invalid-line",
        help="A line that cannot run: stop before anything runs, or make an error line of it.",
        rich_help_panel=RUN,
    ),
]
OutputOrder = Annotated[Order, typer.Option("--order", help="The order of the output's lines.", rich_help_panel=RUN)]
Dedupe = Annotated[
    bool,
    typer.Option(
        "--dedupe/--no-dedupe",
        help="Ask only once what several lines ask alike, where the answer must be the same.",
        rich_help_panel=RUN,
    ),
]
MaxInflight = Annotated[
    int | None,
    typer.Option(
        "--max-inflight",
        metavar="N",
        help="Requests under way at once (also --max-concurrency). Default: found while running.",
        rich_help_panel=RUN,
        min=1,
        envvar="BATCHYARD_MAX_INFLIGHT",
    ),
]
EmbeddingsPerCall = Annotated[
    int,
    typer.Option(
        "--embeddings-per-call",
        metavar="N",
        help="Lines for one embedding each that are asked in one call, at most; 1: each by itself.",
        rich_help_panel=RUN,
        min=1,
        max=2048,
        envvar="BATCHYARD_EMBEDDINGS_PER_CALL",
    ),
]
Retries = Annotated[
    int,
    typer.Option(
        "--retries",
        metavar="N",
        help="Further attempts for a line after 408, 409, 425, 429, 5xx, a lost connection or a timeout.",
        rich_help_panel=RUN,
        min=0,
        envvar="BATCHYARD_RETRIES",
    ),
]
RequestTimeout = Annotated[
    float,
    typer.Option(
        "--request-timeout",
        help="Seconds for one attempt.",
        rich_help_panel=RUN,
        min=0.001,
        metavar="SECONDS",
        envvar="BATCHYARD_REQUEST_TIMEOUT",
    ),
]
Fresh = Annotated[
    bool,
    typer.Option("--fresh", help="Forget what an earlier run of the same command has done.", rich_help_panel=RUN),
]

ShowProgress = Annotated[
    Progress,
    typer.Option(
        "--progress",
        metavar="HOW",
        help="On standard error: a bar, a plain line every 5 s, or nothing; auto takes the bar on a terminal.",
        rich_help_panel=REPORT,
        envvar="BATCHYARD_PROGRESS",
    ),
]
SummaryFile = Annotated[
    str | None,
    typer.Option("--summary", help="Write the final figures as JSON too.", rich_help_panel=REPORT, metavar="FILE.json"),
]
PriceIn = Annotated[
    float | None,
    typer.Option(
        "--price-in",
        metavar="PRICE",
        help="Price of a million input tokens, for the cost in the summary.",
        rich_help_panel=REPORT,
        min=0,
        envvar="BATCHYARD_PRICE_IN",
    ),
]
PriceOut = Annotated[
    float | None,
    typer.Option(
        "--price-out",
        metavar="PRICE",
        help="Price of a million output tokens.",
        rich_help_panel=REPORT,
        min=0,
        envvar="BATCHYARD_PRICE_OUT",
    ),
]
Logging = Annotated[
    LogLevel,
    typer.Option(
        "--log-level",
        metavar="LEVEL",
        help="debug, info, warning or error: events to show on standard error.",
        rich_help_panel=REPORT,
        envvar="BATCHYARD_LOG_LEVEL",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
