"""Server-sent events: a stream of bytes, cut anywhere, into the data of its events.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from collections.abc import Iterator

MOST_EVENT_BYTES = 16 << 20
"""No event of an inference API comes near it."""

_BOM = b"\xef\xbb\xbf"


class BrokenEvents(Exception):
    """An event without end."""


class EventReader:
    """Keeps what is not yet a whole event. An event's name and id are of no use here: the data say it all."""

    def __init__(self, most_bytes: int = MOST_EVENT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._began = False
        self._after_cr = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data of the events that are complete with these bytes. Raises BrokenEvents."""
        for line in self._lines(data):
            if line:
                self._take(line)
            elif self._data:
                yield b"\n".join(self._data)
                self._data.clear()
                self._size = 0

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name != b"data":  # a comment, or a field that says nothing to us
            return
        self._data.append(value.removeprefix(b" "))
        self._size += len(value)
        self._check(self._size)

    def _lines(self, data: bytes) -> Iterator[bytes]:
        """Lines without their ends, which are LF, CR LF or CR; a CR at the end of the bytes may be half of one."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = self._rest + lines[0]
            self._rest = rest
        else:
            self._rest += rest
            self._check(len(self._rest))
        for line in lines:
            yield line if self._began else self._without_mark(line)

    def _without_mark(self, line: bytes) -> bytes:
        self._began = True
        return line.removeprefix(_BOM)

    def _check(self, size: int) -> None:
        if size > self._most_bytes:
            raise BrokenEvents(f"an event of more than {self._most_bytes} bytes")
