"""Why a program cannot serve, in words that a person can act on."""

import re
from collections.abc import Sequence

from batchyard.domain.errors import Unavailable
from batchyard.transport.life import CannotStart

_TELLING = re.compile(r"\b\w*(error|exception)\b|\bfatal\b", re.IGNORECASE)
_SILENT = re.compile(r"\bWARNING\b|^\s*raise |^Traceback|^\s*File |for further information", re.IGNORECASE)
_REMEDIES = {
    r"greater than the derived max_model_len": "Lower --max-model-len: the model knows no longer context.",
    r"out of memory|no available memory|cannot allocate memory": (
        "Lower --max-model-len, --max-num-seqs or --gpu-memory-utilization, or take a smaller model."
    ),
    r"unrecognized arguments|invalid choice|error: argument": "Mend or leave out that flag.",
    r"gated|401 client error|403 client error": "Set HF_TOKEN to a token that may read the model.",
    r"repository not found|invalid repository id|not a valid model|not a local folder|couldn't connect"
    r"|localentrynotfound|offline mode|does not appear to have a file|cannot find any model": (
        "Check --model: a folder must hold the whole model, and a hub id needs a hub that can be reached."
    ),
}


def unavailable(trouble: CannotStart) -> Unavailable:
    """What went wrong, the lines of the log that say why, and what to do about it."""
    lines = _telling(trouble.lines)
    text = "\n".join([trouble.message, *(f"  {line}" for line in lines)])
    known = [remedy for pattern, remedy in _REMEDIES.items() if re.search(pattern, text, re.IGNORECASE)]
    whole = [f"The whole log is {trouble.log}."] if trouble.log else []
    return Unavailable(text, remedy=" ".join([*known[:1], *whole]))


def _telling(lines: Sequence[str]) -> Sequence[str]:
    """The last lines that name an error, each once; where there is none, simply the last."""
    errors = [line for line in dict.fromkeys(lines) if _TELLING.search(line) and not _SILENT.search(line)]
    return errors[-4:] if errors else lines[-8:]
