"""What lies in deploy/ fits the program: its flags and waits, its packages, the files that an image is made of."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from batchyard.server.listen import LAST_WORDS_SECONDS
from batchyard.server.options import ServeOptions
from batchyard.transport.life import Patience
from batchyard.wiring.process import OPEN_FILES
from tools import cli_reference

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "batchyard.service"
CONTAINERFILE = ROOT / "deploy" / "Containerfile"
DEPLOY = ROOT / "docs" / "how-to" / "deploy.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def service() -> "configparser.SectionProxy":
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]
    unit.read_string(UNIT.read_text(encoding="utf-8"))
    return unit["Service"]


def instructions(name: str) -> list[str]:
    """What stands after an instruction of the container file, continued lines as one."""
    text = CONTAINERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(rf"^{name} +(.+)$", text, re.M)


def flags_of(command: str) -> set[str]:
    return {word for word in shlex.split(command) if word.startswith("--")}


# systemd


def test_the_unit_waits_longer_than_the_server_takes_to_end() -> None:
    grace = int(re.findall(r"--grace (\d+)", service()["ExecStart"])[0])
    programs = Patience().stop_seconds + 10
    assert int(service()["TimeoutStopSec"]) > grace + LAST_WORDS_SECONDS + programs
    assert grace == ServeOptions(data_folder="").grace_seconds


def test_the_unit_lets_the_server_write_its_data_and_nothing_else() -> None:
    unit = service()
    data = re.findall(r"--data-dir (\S+)", unit["ExecStart"])[0]
    assert unit["ProtectSystem"] == "strict" and data in unit["ReadWritePaths"].split()
    assert data == f"/var/lib/{unit['StateDirectory']}" and unit["StateDirectoryMode"] == "0700"
    assert (unit["NoNewPrivileges"], unit["UMask"], unit["User"]) == ("yes", "0077", "batchyard")


def test_the_unit_ends_the_server_before_its_engines_and_starts_it_again() -> None:
    unit = service()
    assert (unit["KillMode"], unit["KillSignal"], unit["Restart"]) == ("mixed", "SIGTERM", "on-failure")
    assert int(unit["LimitNOFILE"]) == OPEN_FILES


def test_the_command_of_the_unit_has_flags_that_there_are() -> None:
    assert flags_of(service()["ExecStart"]) <= set(cli_reference.names())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8").replace("/opt/batchyard/bin/batchyard", "/bin/true")
    unit = tmp_path / "batchyard.service"
    unit.write_text(re.sub(r"^(User|Group)=.*$", r"\1=root", text, flags=re.M))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert done.returncode == 0 and said == [], done.stderr


# The container


def test_everything_that_the_image_is_made_of_is_there() -> None:
    copied = [source for line in instructions("COPY") for source in line.split()[:-1]]
    assert {"pyproject.toml", "constraints.txt", "src"} <= set(copied)
    assert [source for source in copied if not (ROOT / source).exists()] == []
    named = {PROJECT["readme"], *PROJECT["license-files"]}
    assert named <= set(copied), "the build reads them"


def test_the_packages_of_the_image_are_pinned_as_they_are_tested() -> None:
    (install,) = (line for line in instructions("RUN") if "pip install" in line)
    assert "-c constraints.txt" in install
    extras = re.findall(r"'\.\[([a-z,]+)\]'", install)[0].split(",")
    wanted = [*PROJECT["dependencies"], *(each for extra in extras for each in PROJECT["optional-dependencies"][extra])]
    pins = dict(_pin(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    for requirement in map(Requirement, wanted):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None and requirement.specifier.contains(pin), requirement


def _pin(line: str) -> tuple[str, str]:
    name, _, version = line.partition("==")
    return canonicalize_name(name), version.strip()


def test_the_image_runs_as_nobody_special_and_serves_what_it_exposes() -> None:
    assert instructions("USER") == ["batchyard"]
    (volume,) = instructions("VOLUME")
    assert f"BATCHYARD_DATA_DIR={volume}" in instructions("ENV")[0]
    variables = set(re.findall(r"(BATCHYARD_\w+)=", instructions("ENV")[0]))
    assert variables <= set(cli_reference.variables())
    options = ServeOptions(data_folder="")
    assert instructions("EXPOSE") == [str(options.port)]
    (check,) = instructions("HEALTHCHECK")
    assert f"http://127.0.0.1:{options.port}/readyz" in check
    program = json.loads(check[check.index("CMD") + 3 :])
    assert program[:2] == ["python", "-c"]
    compile(program[2], "healthcheck", "exec")


# The page


def test_the_page_of_deployment_names_flags_that_there_are() -> None:
    text = DEPLOY.read_text(encoding="utf-8")
    ours = re.findall(r"batchyard (?:serve|keys|backup|restore|config)\b[^`\n]*", text)
    assert len(ours) > 5
    assert {flag for line in ours for flag in flags_of(line.replace("'", "").replace('"', ""))} <= set(
        cli_reference.names()
    )
    waits = {int(each) for each in re.findall(r"--stop-timeout (\d+)", text)}
    assert waits == {int(service()["TimeoutStopSec"])}
