"""`batchyard config check`, and what `serve` makes of a configuration and flags together."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from msgspec import structs
from typer.testing import CliRunner

from batchyard.cli import serve as serving
from batchyard.cli.main import app
from batchyard.config import Images, ImageSettings
from batchyard.server.options import ServeOptions
from batchyard.wiring.settings import settings

RIGHT = '[server]\nport = 1234\nhost = "127.0.0.1"\n[models.demo]\nmodel = "demo"\n'
WRONG = "[server]\nprot = 1\n[models.m]\nslots = 0\nmodel = 'demo'\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*words: str, **environment: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["config", "check", *words], env=environment)
    return done.exit_code, done.output


def test_a_right_file_is_said_to_be_right(folder: Path) -> None:
    (folder / "batchyard.toml").write_text(RIGHT)
    assert check() == (0, "batchyard.toml is right: 1 model, 0 projects.\n")


def test_every_mistake_is_told_where_an_editor_finds_it(folder: Path) -> None:
    (folder / "my.toml").write_text(WRONG)
    code, said = check("my.toml")
    assert code == 1
    assert "my.toml:2: server.prot\n" in said and "Did you mean port?" in said
    assert "my.toml:4: models.m.slots\n    found    the number 0\n    allowed  a whole number, 1 or more\n" in said
    assert said.endswith("2 mistakes in my.toml.\n")


def test_warnings_alone_are_no_failure(folder: Path) -> None:
    (folder / "batchyard.toml").write_text('[models.m]\nmodel = "./gone.gguf"')
    code, said = check()
    assert code == 0 and "batchyard.toml:2: warning: models.m.model" in said and "and 1 warning" in said


def test_a_variable_that_is_wrong_is_told_by_its_name(folder: Path) -> None:
    (folder / "batchyard.toml").write_text(RIGHT)
    code, said = check(BATCHYARD_SERVER__PORT="x")
    assert code == 1 and said.startswith("BATCHYARD_SERVER__PORT: server.port\n")


def test_programs_read_it_as_json(folder: Path) -> None:
    (folder / "batchyard.toml").write_text(WRONG)
    code, said = check("--json")
    document = json.loads(said)
    assert code == 1 and not document["right"]
    assert [(fault["key"], fault["line"]) for fault in document["faults"]] == [
        ("server.prot", 2),
        ("models.m.slots", 4),
    ]


def test_a_file_that_is_not_there_is_said(folder: Path) -> None:
    code, said = check()
    assert code == 1 and "batchyard.toml cannot be read" in said


# Flags over the file


def told(monkeypatch: pytest.MonkeyPatch, *words: str, **environment: str) -> ServeOptions:
    """What `serve` tells a server, had it been started."""
    heard: list[ServeOptions] = []

    def start(ctx: typer.Context) -> int:
        config = ctx.params["config"]
        options: Any = serving._options  # pyright: ignore[reportPrivateUsage]
        heard.append(options(ctx, settings(config, environment).options))
        return 0

    monkeypatch.setattr(serving, "_serve", start)
    done = CliRunner().invoke(app, ["serve", *words], env=environment)
    assert done.exit_code == 0, done.output
    return heard[0]


def test_flags_go_before_the_file_and_what_they_leave_out_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "batchyard.toml").write_text(RIGHT + "[retention]\nuploads = '5m'")
    options = told(monkeypatch, "--config", "batchyard.toml", "--port", "0", "--log-level", "info")
    assert (options.port, options.log_level, options.upload_seconds) == (0, "info", 300)
    assert [model.name for model in options.models] == ["demo"] and options.patient


def test_a_flags_variable_goes_before_that_of_a_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "batchyard.toml").write_text(RIGHT)
    both = {"BATCHYARD_SERVER__PORT": "2", "BATCHYARD_CONFIG": "batchyard.toml"}
    assert told(monkeypatch, **both).port == 2
    assert told(monkeypatch, **both, BATCHYARD_PORT="3").port == 3
    assert told(monkeypatch, "--port", "4", **both, BATCHYARD_PORT="3").port == 4


def test_a_model_of_flags_is_one_more_or_takes_its_names_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "batchyard.toml").write_text(RIGHT)
    more = told(monkeypatch, "-c", "batchyard.toml", "--engine", "echo", "--served-model-name", "other")
    assert [model.name for model in more.models] == ["demo", "other"]
    instead = told(monkeypatch, "-c", "batchyard.toml", "--engine", "echo", "--served-model-name", "demo")
    assert [(model.name, model.engine) for model in instead.models] == [("demo", "echo")]


def test_no_file_is_read_that_was_not_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "batchyard.toml").write_text(RIGHT)
    options = told(monkeypatch, "--model", "demo")
    assert options.port == 8000 and not options.patient
    assert [(model.name, model.model) for model in options.models] == [(None, "demo")]


def test_flags_about_pictures_go_before_the_file_each_for_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "batchyard.toml").write_text(RIGHT + "[images]\nmost_pixels = 5\nallow_private = ['10.0.0.1']")
    told_by_file = told(monkeypatch, "-c", "batchyard.toml").images
    assert told_by_file == ImageSettings(most_pixels=5, allow_private=("10.0.0.1",))
    by_flags = told(monkeypatch, "-c", "batchyard.toml", "--allowed-media-domains", "a.example")
    assert by_flags.images == structs.replace(told_by_file, only_hosts=("a.example",))
    variables = {"BATCHYARD_IMAGE_ALLOW_PRIVATE": "10.0.0.2 a.internal", "BATCHYARD_IMAGES": "refuse"}
    by_variables = told(monkeypatch, "-c", "batchyard.toml", "--engine", "echo", **variables)
    assert by_variables.images == structs.replace(told_by_file, allow_private=("10.0.0.2", "a.internal"))
    assert by_variables.models[-1].images is Images.REFUSE
