"""How a run ends, as a number: the exit codes, in one table."""

from typing import Protocol

from batchyard.config import Compat

ANSWERED = 0
COULD_NOT_RUN = 1
BAD_USAGE = 2
FAILED_LINES = 3
INTERRUPTED = 130

EPILOGUE = """
\b
Exit codes:
  0    all lines were answered
  3    the run is finished, but lines failed
  1    it could not run, or the results could not be delivered
  2    the command line is wrong
  130  it was interrupted: the same command goes on
With --compat vllm or fastdeploy a finished run is 0 even where lines failed, as it is there.

Environment: BATCHYARD_MODEL, BATCHYARD_UPSTREAM and so on, as named beside each flag; a flag goes before its variable.

The flags of vllm run-batch and fastdeploy run-batch are all accepted. Those of the engine go to the engine's program
where it is one; what means nothing here is named in one line on standard error.

Ctrl-C lets what is under way finish; a second one gives it up. Nothing that was answered is lost either way.
"""


class Ended(Protocol):
    """How a run ended that could run: `complete` unless it was stopped, and the lines of its output.

    `already`: an earlier run had finished, and this one found its output.
    """

    @property
    def complete(self) -> bool: ...

    @property
    def already(self) -> bool: ...

    @property
    def lines(self) -> int: ...

    @property
    def succeeded(self) -> int: ...

    @property
    def errored(self) -> int: ...


def exit_code(ended: Ended | Exception, compat: Compat) -> int:
    """The number for the shell."""
    if isinstance(ended, Exception):
        return COULD_NOT_RUN
    if not ended.complete:
        return INTERRUPTED
    if ended.errored and compat is Compat.OPENAI:
        return FAILED_LINES
    return ANSWERED
