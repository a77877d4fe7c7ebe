"""What is wrong with a configuration as a whole, and what it tells a server."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from batchyard.config import EngineFlag, Images, ImageSettings
from batchyard.domain.access import NO_LIMITS, ModelLimits, Quota
from batchyard.domain.price import Price
from batchyard.server.options import ModelOptions, ServeOptions
from batchyard.wiring.settings import Fault, Settings, settings
from batchyard.wiring.settings.check import check
from batchyard.wiring.settings.read import read

UP = 'upstreams = ["http://localhost:1/v1"]\n'
MODEL = '[models.m]\nmodel = "demo"\n'


def faults(
    text: str, *, projects: frozenset[str] | None = None, environment: Mapping[str, str] | None = None
) -> list[Fault]:
    return check(read(text, environment or {}), "", environment or {}, projects)


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ('[server]\nkeys = false\nhost = "0.0.0.0"\n' + MODEL, "server.keys", "administrator"),
        ("[models.m]\nslots = 1", "models.m", "neither model nor upstreams"),
        ('[models.m]\nengine = "http"', "models.m.engine", "Add upstreams"),
        (MODEL + UP, "models.m.model", "upstream_model"),
        ("[models.m]\nengine = 'vllm'\n" + UP, "models.m.engine", "auto or http"),
        ("[models.m]\nthreads = 1\n" + UP, "models.m.threads", "means nothing to upstreams"),
        ("[models.m]\ncontext = 100\n" + UP, "models.m.context", "means nothing to upstreams"),
        ("[models.m]\nflags = { a = 1 }\n" + UP, "models.m.flags", "means nothing to upstreams"),
        ("[models.m]\nupstreams = []", "models.m.upstreams", "Add one"),
        (MODEL + 'upstream_model = "x"', "models.m.upstream_model", "Add upstreams, or drop it"),
        (MODEL + 'pictures = "chat"', "models.m.pictures", "Add upstreams, or drop it"),
        ("[models.m]\npictures = 'post'\n" + UP, "models.m.pictures", "images, chat"),
        (MODEL + 'engine = "llamacpp"\nflags = { a = 1 }', "models.m.flags", "engine llamacpp"),
        ("[models.m]\nslots = 4\nbatch_slots = 5\n" + UP, "models.m.batch_slots", "1 to 4"),
        (MODEL + 'aliases = ["m"]', "models.m.aliases", '"m"'),
        (MODEL + 'aliases = ["n"]\n[models.n]\nmodel = "demo"', "models.m.aliases", "Give each name to one model"),
        (MODEL + '[windows]\n"24h" = "1h"', "windows.24h", "Leave it out"),
        (MODEL + "[webhooks]\nallow_private = ['10.0.0.0/8', '10.0.0.0/99']", "webhooks.allow_private", "10.0.0.0/99"),
        (MODEL + "[images]\nallow_private = ['http://a']", "images.allow_private", "http://a"),
        (MODEL + 'images = "never"', "models.m.images", "fetch, pass, refuse"),
        (MODEL + "prices = { output = 1 }", "models.m.prices", "no price of input"),
        (MODEL + "[limits]\nfile_bytes = 10\ntotal_bytes = 5", "limits.file_bytes", "at most all of them"),
        (MODEL + "[projects.p]\nfile_bytes = 10\ntotal_bytes = 5", "projects.p.file_bytes", "10 bytes, of 5"),
    ],
)
def test_what_does_not_go_together_is_a_mistake(text: str, key: str, said: str) -> None:
    (fault,) = faults(text)
    assert (fault.key, fault.warning) == (key, False) and said in f"{fault.found} {fault.allowed} {fault.remedy}"
    assert fault.line


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("", "", "no model"),
        (MODEL + "[server]\nkeys = false", "server.keys", "every program on this machine"),
        ('[models.m]\nmodel = "./nowhere.gguf"', "models.m.model", "no such file"),
        (f'[models.m]\napi_key_env = "NOT_SET"\n{UP}', "models.m.api_key_env", "not set here"),
        ('[models.m]\nmodel = "org/name"\nengine = "fastdeploy"', "models.m.engine", "not installed here"),
        (MODEL + "[projects.search]\nfiles = 1", "projects.search", "create = true"),
        (
            MODEL + "enqueued_tokens = 1\n[batches]\nseveral_models = true",
            "batches.several_models",
            "tokens of their project",
        ),
    ],
)
def test_what_another_machine_may_have_is_a_warning(text: str, key: str, said: str) -> None:
    (fault,) = faults(text, projects=frozenset())
    assert (fault.key, fault.warning) == (key, True) and said in f"{fault.found} {fault.remedy}"


@pytest.mark.parametrize(
    "text",
    [
        MODEL,
        '[models.m]\nengine = "echo"',
        "[models.m]\n" + UP,
        '[models.m]\nmodel = "org/name"\nengine = "auto"\nflags = { a = 1 }',
        '[models.m]\nmodel = "org/name"',
        MODEL + "[projects.search]\ncreate = true",
        MODEL + "[projects.there]\nfiles = 1",
    ],
)
def test_what_is_right_is_not_told_of(text: str) -> None:
    assert faults(text, projects=frozenset({"there"})) == []


def test_where_the_store_is_not_known_no_project_is_missed() -> None:
    assert faults(MODEL + "[projects.search]\nfiles = 1", projects=None) == []


def test_what_could_not_be_read_is_not_missed_as_well() -> None:
    (fault,) = faults("[models.m]\nmodel = demo\n[limits]\nfiles = 1")
    assert fault.line == 2


def test_a_key_that_is_set_is_not_missed() -> None:
    assert faults(f'[models.m]\napi_key_env = "IS_SET"\n{UP}', environment={"IS_SET": "secret"}) == []


# What it tells a server


def configured(folder: Path, text: str, **environment: str) -> Settings:
    path = folder / "batchyard.toml"
    path.write_text(text)
    return settings(str(path), environment)


def test_a_file_becomes_what_a_server_is_told(tmp_path: Path) -> None:
    (tmp_path / "own.gguf").touch()
    found = configured(
        tmp_path,
        """
        [server]
        host = "::1"
        port = 1
        keys = false
        grace = "1m"
        log_level = "info"
        request_timeout = 5
        request_bytes = "1 MiB"
        [models.own]
        model = "own.gguf"
        slots = 3
        context = 512
        aliases = ["mine"]
        [models.served]
        model = "org/name"
        engine = "auto"
        flags = { tensor-parallel-size = 2, enforce-eager = true }
        template_arguments = { thinking = false }
        start_timeout = "1h"
        [models.remote]
        upstreams = ["http://a/v1", "http://b/v1"]
        upstream_model = "theirs"
        api_key_env = "REMOTE_KEY"
        pictures = "chat"
        batch_slots = 2
        images = "pass"
        requests_per_minute = 60
        prices = { input = 0.15, output = 0.6, batch_discount = 0.25 }
        [limits]
        files = 7
        batches = 8
        [projects.p]
        files = 9
        create = true
        [projects.p.models.remote]
        tokens_per_minute = 1000
        [windows]
        "1h" = 3600
        [retention]
        files = "2h"
        uploads = "10m"
        [batches]
        several_models = true
        at_once = 3
        retries = 0
        when_full = "fail"
        [webhooks]
        allow_private = ["10.0.0.0/8"]
        [images]
        allow_private = ["10.0.0.0/8"]
        only_hosts = ["a.example"]
        most_bytes = "1 MB"
        most_pixels = 1000
        timeout = "1m"
        cache_bytes = 0
        """,
    )
    assert found.mistakes == 0
    options = found.options
    assert options.data_folder == str(tmp_path / "batchyard-data")
    assert (options.host, options.port, options.keys, options.grace_seconds) == ("::1", 1, False, 60)
    assert (options.log_level, options.request_timeout_seconds, options.request_bytes) == ("info", 5, 1 << 20)
    own, served, remote = options.models
    assert own == ModelOptions(
        name="own", model=str(tmp_path / "own.gguf"), slots=3, context_tokens=512, aliases=("mine",)
    )
    assert served.model == "org/name", "it does not lie here, so it is no path"
    assert served.engine_flags == (EngineFlag("--tensor-parallel-size", ("2",)), EngineFlag("--enforce-eager"))
    assert (served.template_arguments, served.engine_start_seconds) == ('{"thinking":false}', 3600)
    assert (remote.upstreams, remote.upstream_model) == (("http://a/v1", "http://b/v1"), "theirs")
    assert (remote.api_key_env, remote.batch_slots, own.api_key_env) == ("REMOTE_KEY", 2, "")
    assert (remote.pictures, own.pictures) == ("chat", "images")
    assert options.quota == Quota(files=7, batches=8)
    own_limits = {"remote": ModelLimits(tokens_per_minute=1000)}
    assert options.projects["p"].quota == Quota(files=9, batches=8, models=own_limits) and options.projects["p"].create
    assert remote.limits == ModelLimits(requests_per_minute=60) and own.limits == NO_LIMITS
    assert remote.price == Price(input=150_000_000, output=600_000_000, batch_discount=250_000_000)
    assert own.price is None and options.batches.when_full == "fail"
    assert (options.windows, options.file_seconds, options.upload_seconds) == ({"1h": 3600}, 7200, 600)
    assert (options.batches.several_models, options.batches.at_once, options.batches.retries) == (True, 3, 0)
    assert options.webhook_allow_private == ("10.0.0.0/8",) and options.patient
    assert options.images == ImageSettings(
        allow_private=("10.0.0.0/8",), only_hosts=("a.example",), most_bytes=1_000_000, most_pixels=1000,
        timeout_seconds=60, cache_bytes=0,
    )  # fmt: skip
    assert (own.images, remote.images) == (Images.FETCH, Images.PASS)


def test_an_empty_file_says_what_no_file_says(tmp_path: Path) -> None:
    found = configured(tmp_path, "")
    assert found.mistakes == 0
    assert found.options == ServeOptions(data_folder=str(tmp_path / "batchyard-data"), patient=True)


def test_variables_are_enough(tmp_path: Path) -> None:
    found = settings(None, {"BATCHYARD_SERVER__PORT": "81"})
    assert (found.options.port, found.options.data_folder) == (81, "batchyard-data")


def test_projects_that_the_store_does_not_know_are_told_without_touching_it(tmp_path: Path) -> None:
    import sqlite3

    (tmp_path / "batchyard-data").mkdir()
    facts = tmp_path / "batchyard-data" / "facts.db"
    with sqlite3.connect(facts) as database:
        database.execute("CREATE TABLE projects (id TEXT, name TEXT)")
        database.execute("INSERT INTO projects VALUES ('1', 'there')")
    database.close()
    before = facts.read_bytes()
    found = configured(tmp_path, MODEL + "[projects.there]\nfiles = 1\n[projects.gone]\nfiles = 1")
    assert [fault.key for fault in found.faults] == ["projects.gone"] and found.mistakes == 0
    assert facts.read_bytes() == before
