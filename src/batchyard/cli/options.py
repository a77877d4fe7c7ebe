"""From the words of a command line to `RunOptions`."""

import os
from collections.abc import Mapping
from typing import Any, cast

import typer
from typer.core import TyperCommand

from batchyard.cli.compat_flags import MissingValue, Own, Sorted, for_program, sort_out
from batchyard.cli.flags import JSON_FLAGS
from batchyard.config import DispatchSettings, EngineFlag, ImageSettings, RunOptions

SORTED = "batchyard.sorted"
SPELLING: Mapping[str, str] = {
    "slots": "--max-num-seqs",
    "max_model_len": "--max-model-len",
    "chat_template": "--chat-template",
    "template_arguments": "--default-chat-template-kwargs",
    "seed": "--seed",
}
"""Parameters that go to the engine, as vLLM and FastDeploy spell them."""

DEFAULT_KEY = "OPENAI_API_KEY"


class PanelledCommand(TyperCommand):
    """A command whose plain help groups its flags under the names of their panels."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                panel = getattr(param, "rich_help_panel", None) or "Options"
                panels.setdefault(panel, []).append(record)
        for panel, records in panels.items():
            with formatter.section(panel):
                formatter.write_dl(records)


class LenientCommand(PanelledCommand):
    """A command whose line may carry flags of other runners: they are set aside before it is parsed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:  # a shell asks for completions of half a line
            return super().parse_args(ctx, args)
        try:
            parts = sort_out(args, own_flags(self.get_params(ctx)))
        except MissingValue as error:
            raise typer.BadParameter(f"{error} needs a value.") from error
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        ctx.meta[SORTED] = parts
        return super().parse_args(ctx, list(parts.words))


def own_flags(params: Any) -> dict[str, Own]:
    """What the parser knows, by every name."""
    own: dict[str, Own] = {}
    for param in params:
        for name in (*param.opts, *param.secondary_opts):
            own[name] = Own(not param.is_flag, bool(param.multiple), name in JSON_FLAGS)
    return own


def foreign_flags(ctx: typer.Context) -> tuple[EngineFlag, ...]:
    """The flags that were set aside."""
    parts = cast("Sorted | None", ctx.meta.get(SORTED))
    return () if parts is None else parts.foreign


def run_options(params: Mapping[str, Any], foreign: tuple[EngineFlag, ...]) -> RunOptions:
    """Everything the run needs to know, from the parser's parameters."""
    same = ("model", "engine", "mmproj", "compat", "slots", "threads", "chat_template", "template_arguments", "seed")
    taken = {name: params[name] for name in (*same, "images", "on_invalid_line", "order", "dedupe", "fresh")}
    return RunOptions(
        **taken,
        input=params["input_file"],
        output=params["output_file"],
        errors=params["error_file"],
        run_folder=params["run_dir"],
        staging_folder=params["output_tmp_dir"],
        served_names=tuple(params["served_model_name"] or ()),
        upstreams=tuple(params["upstream"] or ()),
        api_key_env=params["api_key_env"] or (DEFAULT_KEY if DEFAULT_KEY in os.environ else None),
        context_tokens=params["max_model_len"],
        engine_flags=(*for_program(foreign), *_for_program(params)),
        engine_start_seconds=params["engine_start_timeout"],
        embeddings_per_call=params["embeddings_per_call"],
        dispatch=DispatchSettings(
            max_inflight=params["max_inflight"],
            retries=params["retries"],
            request_timeout_seconds=params["request_timeout"],
        ),
        image_settings=ImageSettings(
            allow_private=tuple(params["image_allow_private"] or ()),
            only_hosts=tuple(params["allowed_media_domains"] or ()),
        ),
    )


def _for_program(params: Mapping[str, Any]) -> tuple[EngineFlag, ...]:
    """Our own flags that an engine's program understands too, as vLLM spells them."""
    given = {name: params[key] for key, name in SPELLING.items() if params[key] is not None}
    flags = [EngineFlag(name, (str(value),)) for name, value in given.items()]
    if params["allowed_media_domains"]:
        flags.append(EngineFlag("--allowed-media-domains", tuple(params["allowed_media_domains"])))
    return tuple(flags)


def given_flags(params: Mapping[str, Any]) -> tuple[str, ...]:
    """The flags that only some engines heed, where they were given."""
    return tuple(name for key, name in SPELLING.items() if params[key] is not None)
