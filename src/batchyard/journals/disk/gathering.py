"""Results that were taken and wait to be written together."""

import zlib
from typing import Final

from batchyard.domain.result import NO_USAGE, Answer, Result
from batchyard.journals.disk.index import result_record, seal_record
from batchyard.journals.disk.slots import slot_of
from batchyard.journals.disk.text import encode

_FULL_BYTES: Final = 256 * 1024
_FULL_RESULTS: Final = 256


class Gathering:
    """The next group: where it will stand is known from the start, because groups are written one after another."""

    def __init__(self, segment: int, start: int) -> None:
        self.segment = segment
        self.start = start
        self.end = start
        self.places: list[int] = []
        self.outcomes = bytearray()
        self.input_tokens = 0
        self.output_tokens = 0
        self.cached_tokens = 0
        self._lines: list[bytes] = []
        self._records: list[bytes] = []

    @property
    def full(self) -> bool:
        return len(self.places) >= _FULL_RESULTS or self.end - self.start >= _FULL_BYTES

    def add(self, result: Result) -> int:
        """Take a result and return its slot."""
        line = encode(result)
        reply, offset, check = result.reply, self.end, zlib.crc32(line)
        status, usage = (reply.status, reply.usage) if isinstance(reply, Answer) else (0, NO_USAGE)
        record = result_record(result.line, status, result.outcome, offset, len(line), check, usage)
        self._lines.append(line)
        self._records.append(record)
        self.places.append(result.line)
        self.outcomes.append(result.outcome)
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.cached_tokens += usage.cached_tokens
        self.end = offset + len(line)
        return slot_of(self.segment, offset, check)

    def data(self) -> bytes:
        return b"".join(self._lines)

    def sealed_records(self) -> bytes:
        records = b"".join(self._records)
        return records + seal_record(records, self.end)
