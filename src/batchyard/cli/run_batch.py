"""`batchyard run-batch`: a file of requests in, a file of results out."""

from typing import Any

import typer

from batchyard.cli import flags
from batchyard.cli.options import foreign_flags, given_flags, own_flags, run_options
from batchyard.config import Compat, Images, OnInvalidLine, Order


def run_batch(
    ctx: typer.Context,
    input_file: flags.InputFile,
    output_file: flags.OutputFile,
    error_file: flags.ErrorFile = None,
    model: flags.Model = None,
    served_model_name: flags.ServedModelName = None,
    upstream: flags.Upstream = None,
    api_key_env: flags.ApiKeyEnv = None,
    engine: flags.Engine = "auto",
    mmproj: flags.Mmproj = None,
    images: flags.ImagesAre = Images.FETCH,
    image_allow_private: flags.ImageAllowPrivate = None,
    allowed_media_domains: flags.AllowedMediaDomains = None,
    slots: flags.Slots = None,
    max_model_len: flags.MaxModelLen = None,
    threads: flags.Threads = None,
    chat_template: flags.ChatTemplate = None,
    template_arguments: flags.TemplateArguments = None,
    seed: flags.Seed = None,
    engine_start_timeout: flags.EngineStart = None,
    compat: flags.CompatWith = Compat.OPENAI,
    on_invalid_line: flags.InvalidLine = OnInvalidLine.ABORT,
    order: flags.OutputOrder = Order.INPUT,
    dedupe: flags.Dedupe = True,
    max_inflight: flags.MaxInflight = None,
    embeddings_per_call: flags.EmbeddingsPerCall = 64,
    retries: flags.Retries = 5,
    request_timeout: flags.RequestTimeout = 600.0,
    fresh: flags.Fresh = False,
    output_tmp_dir: flags.OutputTmpDir = None,
    run_dir: flags.RunDir = None,
    progress: flags.ShowProgress = flags.Progress.AUTO,
    summary: flags.SummaryFile = None,
    price_in: flags.PriceIn = None,
    price_out: flags.PriceOut = None,
    log_level: flags.Logging = flags.LogLevel.WARNING,
) -> None:
    """Answer every line of a file of requests, each exactly once.

    A run that was interrupted, by whatever, goes on when the same command is given again.
    """
    raise typer.Exit(_run(ctx, ctx.params))


def _run(ctx: typer.Context, params: dict[str, Any]) -> int:
    from batchyard.cli.places import check_places
    from batchyard.cli.running import Reporting, names, run
    from batchyard.cli.summary import Prices
    from batchyard.domain.errors import BatchyardError
    from batchyard.telemetry import logs

    foreign = foreign_flags(ctx)
    options = run_options(params, foreign)
    try:
        check_places(options, params["summary"])
    except BatchyardError as error:
        typer.echo(f"batchyard: {error}", err=True)
        return 1
    logs.set_up(params["log_level"])
    reporting = Reporting(
        progress=params["progress"],
        summary=params["summary"],
        prices=Prices(params["price_in"], params["price_out"]),
        foreign=foreign,
        own=names(own_flags(ctx.command.params)),
        given=given_flags(params),
    )
    return run(options, reporting)
