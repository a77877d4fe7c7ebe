"""Reading a configuration: values, variables, and what is wrong with them one by one."""

from collections.abc import Mapping

import pytest

from batchyard.domain.errors import Invalid
from batchyard.wiring.settings.keys import ROOT, every_key
from batchyard.wiring.settings.read import Fault, dotted, load, read


def faults(text: str, environment: Mapping[str, str] | None = None) -> list[Fault]:
    return read(text, environment or {}).faults


def only(text: str, environment: Mapping[str, str] | None = None) -> Fault:
    (fault,) = faults(text, environment)
    return fault


def test_what_is_right_is_read_into_tables() -> None:
    found = read(
        """
        [server]
        port = 80
        data_dir = "d"
        [models."a b"]
        model = "demo"
        context = 512
        prices = { input = 0.15 }
        [projects.p.models.m]
        requests_per_minute = 5
        [windows]
        "1h" = "1h"
        """,
        {},
    )
    assert found.faults == []
    assert found.values == {
        "server": {"port": 80, "data_folder": "d"},
        "models": {"a b": {"model": "demo", "context_tokens": 512, "prices": {"input": 150_000_000}}},
        "projects": {"p": {"models": {"m": {"requests_per_minute": 5}}}},
        "windows": {"1h": 3600},
    }


def test_a_misspelt_key_is_told_with_its_line_and_the_nearest_name() -> None:
    fault = only("[server]\nhost = 'a'\nprot = 80")
    assert (fault.key, fault.line, fault.remedy) == ("server.prot", 3, "Did you mean port?")
    assert "port" in fault.allowed.split(", ")


@pytest.mark.parametrize(
    ("text", "key", "remedy"),
    [
        ("[sever]\nport = 1", "sever", "Did you mean server?"),
        ("[models.m.price]\ninput = 1", "models.m.price", "Did you mean prices?"),
        ("[models.m]\nMax-Slots = 1", "models.m.Max-Slots", "Did you mean"),
        ("[server]\nseveral_models = true", "server.several_models", "It belongs below [batches]."),
        ("[server]\nupstreams = []", "server.upstreams", "It belongs below [models.NAME]."),
        ("[models]\nslots = 1", "models.slots", "Write it below [models.NAME]."),
        ("[models]\ndemo = 1", "models.demo", "Write [models.demo] on a line of its own"),
        ('[models.""]', 'models.""', "Write [models.NAME]."),
        ("server = 1", "server", "Write [server] on a line of its own"),
        ("models = []", "models", "Write [models.NAME] on a line of its own"),
    ],
)
def test_what_stands_in_the_wrong_place_is_told_with_the_right_one(text: str, key: str, remedy: str) -> None:
    fault = only(text)
    assert fault.key == key and remedy in fault.remedy and fault.line


def test_a_key_in_the_file_is_refused_and_not_shown() -> None:
    for name in ("api_key", "token", "password"):
        fault = only(f'[models.m]\n{name} = "sk-12345"')
        assert "api_key_env" in fault.remedy and "12345" not in repr(fault)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "[server]\nport = 99999\ngrace = x\nhots = 1\n[models.a]\nslots = 0\nengine = 'vlm'\n[nothing]\n"
    assert [fault.line for fault in faults(text)] == [2, 3, 4, 6, 7, 8]


# Variables


def test_a_variable_goes_before_the_file() -> None:
    text = "[server]\nport = 80\n[models.my-model]\nslots = 1"
    environment = {
        "BATCHYARD_SERVER__PORT": "81",
        "BATCHYARD_MODELS__MY_MODEL__SLOTS": "2",
        "BATCHYARD_MODELS__MY_MODEL__PRICES__INPUT": "0.5",
        "BATCHYARD_WINDOWS__1H": "1h",
        "BATCHYARD_PORT": "82",
        "OTHER__PORT": "83",
    }
    found = read(text, environment)
    assert found.faults == []
    assert found.values["server"] == {"port": 81} and found.values["windows"] == {"1h": 3600}
    assert found.values["models"] == {"my-model": {"slots": 2, "prices": {"input": 500_000_000}}}


def test_a_variable_mends_what_is_wrong_in_the_file() -> None:
    assert faults("[server]\nport = 'x'", {"BATCHYARD_SERVER__PORT": "80"}) == []


def test_a_wrong_variable_is_told_by_its_name() -> None:
    fault = only("[server]\nport = 80", {"BATCHYARD_SERVER__PORT": "many"})
    assert (fault.variable, fault.key, fault.line) == ("BATCHYARD_SERVER__PORT", "server.port", 0)


@pytest.mark.parametrize(
    ("variable", "found"),
    [
        ("BATCHYARD_SERVER__PROT", "did you mean PORT"),
        ("BATCHYARD_SEVER__PORT", "did you mean SERVER"),
        ("BATCHYARD_MODELS__B__SLOTS", "B, which is no name below [models]"),
        ("BATCHYARD_MODELS__A", "no name below [models]"),
        ("BATCHYARD_SERVER__PORT__X", "no key"),
        ("BATCHYARD_WINDOWS__1H__X", "no key"),
        ("BATCHYARD_SERVER__", "no key"),
    ],
)
def test_a_variable_that_means_nothing_is_told(variable: str, found: str) -> None:
    fault = only("[models.a]\nslots = 1", {variable: "1"})
    assert fault.variable == variable and found in fault.found


def test_every_key_can_be_set_by_a_variable() -> None:
    names = "[models.name]\n[projects.name.models.name]\n"
    for path, key in every_key(ROOT):
        variable = "BATCHYARD_" + "__".join(path).upper()
        found = read(names, {variable: "\0"})
        assert all(fault.variable == variable and fault.key != variable for fault in found.faults), (variable, key)
        assert list(found.variables.values()) == [variable]


# The file


def test_a_file_that_is_not_there_is_said_with_its_name() -> None:
    with pytest.raises(Invalid, match=r"nowhere\.toml cannot be read"):
        load("nowhere.toml")


def test_no_file_is_an_empty_one() -> None:
    assert load(None) == ""


def test_names_with_dots_are_quoted() -> None:
    assert dotted(("models", "gpt-4.1", "slots")) == 'models."gpt-4.1".slots'
