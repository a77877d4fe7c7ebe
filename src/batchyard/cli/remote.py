"""What the commands share that talk to a server: where it is, how its errors are told, how its objects are shown."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from batchyard.transport.api import Api

Object = dict[str, Any]
"""A JSON object of the server."""

SERVER = "Server"
DEFAULT_URL = "http://127.0.0.1:8000/v1"

BaseUrl = Annotated[
    str,
    typer.Option(
        "--base-url",
        help="A server that speaks OpenAI's wire: ours, OpenAI, Azure (.../openai/v1), ...",
        rich_help_panel=SERVER,
        metavar="URL",
        envvar=["BATCHYARD_BASE_URL", "OPENAI_BASE_URL"],
    ),
]
ApiKeyEnv = Annotated[
    str | None,
    typer.Option(
        "--api-key-env",
        help="Environment variable with the key. Default: BATCHYARD_API_KEY, else OPENAI_API_KEY.",
        rich_help_panel=SERVER,
        metavar="NAME",
    ),
]
BatchId = Annotated[str, typer.Argument(metavar="ID", help="A batch's id.", show_default=False)]
Limit = Annotated[int, typer.Option("--limit", help="At most so many, the newest first.", metavar="N", min=1)]
Window = Annotated[
    str | None, typer.Option("--window", help="Completion window, as the server names it.", metavar="TIME")
]
Metadata = Annotated[
    list[str] | None, typer.Option("--metadata", help="A pair for the batch; may be repeated.", metavar="KEY=VALUE")
]
IdempotencyKey = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key",
        help="The same command with the same key makes one batch, however often it runs. Default: a new key.",
        metavar="KEY",
    ),
]


@contextmanager
def server(base_url: str, api_key_env: str | None) -> Generator["Api"]:
    """The server that a command is for. What goes wrong is told in a line, and ends the command with 1."""
    from batchyard.transport.api import Api

    with told():
        api = Api(base_url, key_of(api_key_env))
        try:
            yield api
        finally:
            api.close()


@contextmanager
def told() -> Generator[None]:
    """Errors become one line on standard error and an exit code, never a traceback."""
    from batchyard.domain.errors import BatchyardError
    from batchyard.transport.api import ApiError

    try:
        yield
    except (ApiError, BatchyardError) as error:
        raise failed(str(error)) from None
    except BrokenPipeError:
        raise typer.Exit(1) from None  # nobody reads what we say
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise failed(f"{where}{error.strerror or error}.") from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def failed(message: str) -> typer.Exit:
    """Say why a command cannot do what it was asked; raise what this returns."""
    say(f"batchyard: {message}")
    return typer.Exit(1)


def key_of(variable: str | None) -> str | None:
    """The key of the server, from the environment; None where it needs none."""
    import os

    if variable is not None:
        if not os.environ.get(variable):
            raise typer.BadParameter(f"The environment variable {variable} is not set.")
        return os.environ[variable].strip()
    return (os.environ.get("BATCHYARD_API_KEY") or os.environ.get("OPENAI_API_KEY") or "").strip() or None


def pairs(given: Sequence[str] | None) -> dict[str, str] | None:
    """Metadata from the words of a command line; None where there are none."""
    if not given:
        return None
    for word in given:
        if "=" not in word:
            raise typer.BadParameter(f"{word} is not KEY=VALUE.")
    return dict(word.split("=", 1) for word in given)


# What is shown


def say(text: str) -> None:
    """A line for people, on standard error."""
    typer.echo(text, err=True)


def show_json(value: object) -> None:
    """One JSON document, on one line."""
    import msgspec

    typer.echo(msgspec.json.encode(value))


def show_list(objects: Sequence[Object], *, more: bool) -> None:
    """A list as a JSON document, in the form that the wire has for it."""
    show_json({"object": "list", "data": objects, "has_more": more})


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as what is in them; the last one as long as it is."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        typer.echo("  ".join(padded).rstrip())


def show_facts(facts: Mapping[str, str]) -> None:
    """One thing, a line for each fact that it has."""
    width = max(map(len, facts))
    for name, fact in facts.items():
        if fact:
            typer.echo(f"{name.ljust(width)}  {fact}")


def time_of(seconds: Any) -> str:
    """A time of the wire, in this machine's zone; empty where there is none."""
    from datetime import UTC, datetime

    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return ""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
