"""What cannot be asked, and the numbers of google.rpc that say why."""

from enum import IntEnum


class Rpc(IntEnum):
    """google.rpc.Code, as far as rows and calls need it."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class Unfit(Exception):
    """A request cannot be answered as it is. `field` is a dotted path below the request, `remedy` one sentence.

    `shapeless` says that it is no request at all (a field that nobody knows, a value of another type): such a row fails
    its file, where any other wish that cannot be honoured is answered with an error.
    """

    shapeless = False

    def __init__(self, message: str, field: str = "", remedy: str = "", code: Rpc = Rpc.INVALID_ARGUMENT) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.remedy = remedy
        self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class Shapeless(Unfit):
    """It is no request at all."""

    shapeless = True
