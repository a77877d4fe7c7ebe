"""What happened in a simulated run, as one number: two runs of a seed must agree on it."""

import zlib


class Trace:
    """Folds events into a checksum; with `keep`, holds them as text to look at."""

    def __init__(self, *, keep: bool = False) -> None:
        self.checksum = 0
        self.events: list[str] | None = [] if keep else None

    def note(self, event: str) -> None:
        self.checksum = zlib.crc32(event.encode(), self.checksum)
        if self.events is not None:
            self.events.append(event)
