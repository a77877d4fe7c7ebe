"""Why a program cannot serve, in words that a person can act on."""

from pathlib import Path

import pytest

from batchyard.engines.managed.trouble import unavailable
from batchyard.transport.life import CannotStart

LOG = Path("/logs/vllm.log")


def test_of_a_long_log_the_lines_that_name_the_error_are_shown() -> None:
    lines = (
        "INFO loading the model",
        "WARNING this can cause fd limit errors like OSError: too many open files",
        "Traceback (most recent call last):",
        '  File "engine.py", line 3, in start',
        "    raise RuntimeError(",
        "RuntimeError: CUDA out of memory.",
        "INFO good bye",
    )
    error = unavailable(CannotStart("vLLM ended.", lines, LOG))
    assert error.message.splitlines() == ["vLLM ended.", "  RuntimeError: CUDA out of memory."]


def test_where_no_line_names_an_error_the_last_ones_are_shown() -> None:
    error = unavailable(CannotStart("vLLM ended.", tuple(f"line {number}" for number in range(20)), LOG))
    assert error.message.splitlines()[-1] == "  line 19"
    assert len(error.message.splitlines()) == 9


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory.", "Lower --max-model-len, --max-num-seqs"),
        ("vllm: error: unrecognized arguments: --nonsense", "leave out that flag"),
        ("Value error, Invalid repository ID or local directory specified: 'x'.", "Check --model"),
        ("OSError: You are trying to access a gated repo.", "HF_TOKEN"),
    ],
)
def test_known_errors_have_a_remedy(line: str, remedy: str) -> None:
    error = unavailable(CannotStart("vLLM ended.", (line,), LOG))
    assert remedy in error.remedy
    assert str(LOG) in error.remedy


def test_a_program_that_left_no_log_has_none_named() -> None:
    assert unavailable(CannotStart("vLLM cannot be started: no space left.")).remedy == ""
