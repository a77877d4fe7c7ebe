"""`batchyard serve`: files, batches and models over HTTP, on one data folder."""

from typing import Annotated, Any

import typer

from batchyard.cli import flags
from batchyard.telemetry.logs import LogFormat

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
    host: Host = "127.0.0.1",
    port: Port = 8000,
    data_dir: DataDir = "batchyard-data",
    model: flags.Model = None,
    served_model_name: flags.ServedModelName = None,
    upstream: flags.Upstream = None,
    api_key_env: flags.ApiKeyEnv = None,
    engine: flags.Engine = "auto",
    mmproj: flags.Mmproj = None,
    slots: flags.Slots = None,
    max_model_len: flags.MaxModelLen = None,
    threads: flags.Threads = None,
    engine_start_timeout: flags.EngineStart = None,
    request_timeout: flags.RequestTimeout = 600.0,
    grace: Grace = 30,
    webhook_allow_private: WebhookAllowPrivate = None,
    log_level: flags.Logging = flags.LogLevel.WARNING,
    log_format: Form = LogFormat.TEXT,
) -> None:
    """Serve models, files and batches to the clients of OpenAI and Azure OpenAI.

    The first start makes an administrator's key, shows it once and keeps it in the data folder. Ctrl-C or SIGTERM ends
    the server when the calls under way have ended; a second one ends it at once.

    Exit codes: 0 it was asked to end, 1 it cannot serve, 2 the command line is wrong.
    """
    raise typer.Exit(_serve(ctx.params))


def _serve(params: dict[str, Any]) -> int:
    import asyncio

    from batchyard.cli.serving import loop_factory, run
    from batchyard.telemetry import logs, traces

    logs.set_up(params["log_level"], form=params["log_format"])
    _trace()
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(run(_options(params)))
    finally:
        traces.close()


def _trace() -> None:
    """Send traces where the environment says; without the extra, say that they go nowhere."""
    from batchyard.telemetry import traces

    if traces.wanted() and not traces.set_up():
        typer.echo("Traces go nowhere: pip install 'batchyard[otel]'.", err=True)


def _options(params: dict[str, Any]) -> Any:
    import os

    from batchyard.cli.options import DEFAULT_KEY
    from batchyard.server.options import ServeOptions

    same = ("host", "port", "model", "engine", "mmproj", "slots", "threads")
    start = params["engine_start_timeout"]
    return ServeOptions(
        **{name: params[name] for name in same},
        data_folder=params["data_dir"],
        served_names=tuple(params["served_model_name"] or ()),
        upstreams=tuple(params["upstream"] or ()),
        api_key_env=params["api_key_env"] or (DEFAULT_KEY if DEFAULT_KEY in os.environ else None),
        context_tokens=params["max_model_len"],
        engine_start_seconds=start,
        request_timeout_seconds=params["request_timeout"],
        grace_seconds=params["grace"],
        webhook_allow_private=tuple(params["webhook_allow_private"] or ()),
    )
