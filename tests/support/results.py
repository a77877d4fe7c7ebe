"""Results to write and compare."""

from batchyard.domain.result import Answer, Failure, Fault, Outcome, Result, Usage


def a_result(line: int, body: bytes | None = None, outcome: Outcome = Outcome.SUCCEEDED) -> Result:
    """An answered line, or one that failed as its outcome says."""
    if outcome is Outcome.SUCCEEDED:
        answer = body if body is not None else b'{"answer":"to %d"}' % line
        return Result(line, f"id-{line}", outcome, Answer(200, answer, f"r{line}", Usage(3, 5, 1, 2)), 1, 0.25)
    if outcome is Outcome.ERRORED:
        return Result(line, f"id-{line}", outcome, Answer(400, body or b'{"error":{}}'), 2, 0.5)
    return Result(line, f"id-{line}", outcome, Failure("stopped", "The run was stopped.", Fault.CANCELLED), 0, 0.0)
