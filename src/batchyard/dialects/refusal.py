"""An error answer, whichever wire it is on."""

from msgspec import Struct


class Refusal(Struct, frozen=True):
    """An error answer. `heals` says whether asking again could ever help; None: as the status says."""

    status: int
    body: bytes
    heals: bool | None = None
    retry_after_seconds: float | None = None
    retry_after_milliseconds: int | None = None
