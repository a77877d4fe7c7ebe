"""`batchyard serve`: files, batches and models over HTTP, on one data folder."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from batchyard.cli import flags
from batchyard.config import Images
from batchyard.telemetry.logs import LogFormat

if TYPE_CHECKING:
    from batchyard.server.options import ModelOptions, ServeOptions

SERVER = "Server"

Host = Annotated[
    str,
    typer.Option(
        "--host",
        help="Address to listen on. Any but this machine's own needs keys first.",
        rich_help_panel=SERVER,
        metavar="ADDRESS",
        envvar="BATCHYARD_HOST",
    ),
]
Port = Annotated[
    int,
    typer.Option(
        "--port",
        help="Port to listen on; 0 takes a free one.",
        rich_help_panel=SERVER,
        metavar="PORT",
        min=0,
        max=65535,
        envvar="BATCHYARD_PORT",
    ),
]
DataDir = Annotated[
    str,
    typer.Option(
        "--data-dir",
        help="Folder of everything that the server keeps. One server at a time.",
        rich_help_panel=SERVER,
        metavar="FOLDER",
        envvar="BATCHYARD_DATA_DIR",
    ),
]
Grace = Annotated[
    int,
    typer.Option(
        "--grace",
        help="Seconds that calls under way may take when the server is asked to end.",
        rich_help_panel=SERVER,
        metavar="SECONDS",
        min=0,
        envvar="BATCHYARD_GRACE",
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        help="batchyard.toml: models, projects, limits. Flags go before it; --model and its flags add a model.",
        rich_help_panel=SERVER,
        metavar="FILE",
        envvar="BATCHYARD_CONFIG",
    ),
]

OF_SERVER = {
    "host": "host",
    "port": "port",
    "data_dir": "data_folder",
    "grace": "grace_seconds",
    "log_level": "log_level",
    "log_format": "log_format",
    "request_timeout": "request_timeout_seconds",
    "webhook_allow_private": "webhook_allow_private",
}
"""Flags about the server, and what they are called in its options."""
OF_IMAGES = {"image_allow_private": "allow_private", "allowed_media_domains": "only_hosts"}
"""Those about the pictures that it fetches."""
Form = Annotated[
    LogFormat,
    typer.Option(
        "--log-format",
        metavar="FORM",
        help="text, or json: one object per line, for programs that gather logs.",
        rich_help_panel=flags.REPORT,
        envvar="BATCHYARD_LOG_FORMAT",
    ),
]
WebhookAllowPrivate = Annotated[
    list[str] | None,
    typer.Option(
        "--webhook-allow-private",
        help="Host, address or network beside the public internet that webhooks may go to. May be given again.",
        rich_help_panel=SERVER,
        metavar="PLACE",
        envvar="BATCHYARD_WEBHOOK_ALLOW_PRIVATE",
    ),
]


def serve(
    ctx: typer.Context,
    config: Config = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    data_dir: DataDir = "batchyard-data",
    model: flags.Model = None,
    served_model_name: flags.ServedModelName = None,
    upstream: flags.Upstream = None,
    api_key_env: flags.ApiKeyEnv = None,
    engine: flags.Engine = "auto",
    mmproj: flags.Mmproj = None,
    images: flags.ImagesAre = Images.FETCH,
    slots: flags.Slots = None,
    max_model_len: flags.MaxModelLen = None,
    threads: flags.Threads = None,
    engine_start_timeout: flags.EngineStart = None,
    request_timeout: flags.RequestTimeout = 600.0,
    grace: Grace = 30,
    webhook_allow_private: WebhookAllowPrivate = None,
    image_allow_private: flags.ImageAllowPrivate = None,
    allowed_media_domains: flags.AllowedMediaDomains = None,
    log_level: flags.Logging = flags.LogLevel.WARNING,
    log_format: Form = LogFormat.TEXT,
) -> None:
    """Serve models, files and batches to the clients of OpenAI and Azure OpenAI.

    The first start makes an administrator's key, shows it once and keeps it in the data folder. Ctrl-C or SIGTERM ends
    the server when the calls under way have ended; a second one ends it at once.

    Exit codes: 0 it was asked to end, 1 it cannot serve, 2 the command line is wrong.
    """
    raise typer.Exit(_serve(ctx))


def _serve(ctx: typer.Context) -> int:
    import asyncio
    import os

    from batchyard.cli.config import tell
    from batchyard.cli.serving import loop_factory, run
    from batchyard.domain.errors import BatchyardError
    from batchyard.telemetry import logs, traces
    from batchyard.wiring.settings import settings

    config = ctx.params["config"]
    try:
        found = settings(config, os.environ)
    except BatchyardError as error:
        typer.echo(f"batchyard: {error}", err=True)
        return 1
    if found.mistakes:
        tell(found, config, err=True)
        return 1
    options = _options(ctx, found.options)
    logs.set_up(options.log_level, form=LogFormat(options.log_format))
    _trace()
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(run(options))
    finally:
        traces.close()


def _trace() -> None:
    """Send traces where the environment says; without the extra, say that they go nowhere."""
    from batchyard.telemetry import traces

    if traces.wanted() and not traces.set_up():
        typer.echo("Traces go nowhere: pip install 'batchyard[otel]'.", err=True)


def _options(ctx: typer.Context, configured: "ServeOptions") -> "ServeOptions":
    """What was configured, with what flags and their variables say over it."""
    from msgspec import structs

    given = {name for name in ctx.params if _is_given(ctx, name)}
    model = _model(ctx.params)
    models = tuple(each for each in configured.models if model is None or each.name != model.name)
    server = {field: ctx.params[name] for name, field in OF_SERVER.items() if name in given}
    for name in {"log_level", "log_format"} & server.keys():
        server[name] = server[name].value
    if "webhook_allow_private" in server:
        server["webhook_allow_private"] = tuple(server["webhook_allow_private"])
    pictures = {field: tuple(ctx.params[name]) for name, field in OF_IMAGES.items() if name in given}
    server["images"] = structs.replace(configured.images, **pictures)
    patient = ctx.params["config"] is not None
    return structs.replace(
        configured, **server, models=(*models, model) if model is not None else models, patient=patient
    )


def _is_given(ctx: typer.Context, name: str) -> bool:
    """Whether a parameter was given, by its flag or by its variable."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")


def _model(params: dict[str, Any]) -> "ModelOptions | None":
    """The model that flags describe; None where they name none."""
    import os

    from batchyard.cli.options import DEFAULT_KEY
    from batchyard.server.options import ModelOptions

    names, upstreams = tuple(params["served_model_name"] or ()), tuple(params["upstream"] or ())
    if params["model"] is None and not upstreams and params["engine"] in ("auto", "http"):
        return None
    return ModelOptions(
        name=names[0] if names else None,
        aliases=names[1:],
        paths=not upstreams,
        model=None if upstreams else params["model"],
        engine=params["engine"],
        upstreams=upstreams,
        upstream_model=params["model"] if upstreams else None,
        api_key_env=params["api_key_env"] or (DEFAULT_KEY if DEFAULT_KEY in os.environ else ""),
        mmproj=params["mmproj"],
        images=params["images"],
        slots=params["slots"],
        context_tokens=params["max_model_len"],
        threads=params["threads"],
        engine_start_seconds=params["engine_start_timeout"],
    )
