import subprocess
import sys
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from batchyard import __version__
from batchyard.cli.main import app

HEAVY = ("rich", "uvloop", "xllamacpp", "openvino", "numpy", "urllib3", "asyncio", "ssl", "batchyard.engines", "vllm")


@pytest.mark.parametrize("line", ["--help", "--version", "run-batch --help", "validate --help", "doctor --help"])
def test_help_imports_nothing_heavy(line: str) -> None:
    """Counted, not timed: these modules are what would make it slow."""
    code = (
        "import sys\n"
        f"sys.argv = ['batchyard', *{line.split()!r}]\n"
        "from batchyard.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([m for m in sys.modules if m.startswith({HEAVY!r})], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr.strip() == "[]"


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"batchyard {__version__}\n"


def test_the_help_of_a_run_documents_its_exit_codes_and_every_flag_has_help() -> None:
    text = CliRunner().invoke(app, ["run-batch", "--help"], env={"COLUMNS": "200"}).stdout
    for words in ("3    the run is finished, but lines failed", "130  it was interrupted", "Ctrl-C", "BATCHYARD_MODEL"):
        assert words in text


def test_every_flag_has_its_help() -> None:
    commands = [typer.main.get_command(app)]
    while commands:
        command: Any = commands.pop()
        commands += getattr(command, "commands", {}).values()
        assert command.help
        for param in command.params:
            assert param.help, (command.name, param.name)


@pytest.mark.parametrize(("shell", "word"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete ")])
def test_shells_can_be_taught(shell: str, word: str) -> None:
    text = CliRunner().invoke(app, ["completion", shell]).stdout
    assert word in text and "batchyard" in text


def test_a_taught_shell_completes_commands_and_flags() -> None:
    def completed(words: str, place: int) -> list[str]:
        environment = {"_BATCHYARD_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(place)}
        done = CliRunner().invoke(app, [], prog_name="batchyard", env=environment)
        return done.stdout.split()

    assert completed("batchyard va", 1) == ["validate"]
    assert completed("batchyard run-batch --max-inf", 2) == ["--max-inflight"]
