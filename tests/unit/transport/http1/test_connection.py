"""The connection against a peer made of bytes: every framing, cut at every byte."""

import asyncio
import gzip
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.transport.http1 import BadAnswer, Connection, HttpError, Limits, Lost, Received, TooLarge
from batchyard.transport.http1.exchange import Stale
from tests.support.upstream import answer, chunked

BODY = b'{"text":"0123456789"}'
LIMITS = Limits(answer_bytes=1000, header_bytes=500)
NO_LENGTH = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"


@pytest.fixture(scope="module", autouse=True)
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Never run: it only makes futures."""
    Talk.loop = asyncio.new_event_loop()
    yield Talk.loop
    Talk.loop.close()


class Wire(asyncio.Transport):
    """The other end in memory. It is `full` after each write where it is told to be."""

    def __init__(self, *, full: bool = False) -> None:
        super().__init__()
        self.written = bytearray()
        self.writes = 0
        self.aborted = False
        self.full = full
        self.connection: Connection | None = None

    def write(self, data: Any) -> None:
        self.written += data
        self.writes += 1
        if self.full:
            assert self.connection is not None
            self.connection.pause_writing()

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted


class Talk:
    """A connection on a wire, with one request under way."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, *, limits: Limits = LIMITS, body: bytes = b"{}", full: bool = False) -> None:
        self.lost: list[Connection] = []
        self.wire = Wire(full=full)
        self.connection = self.wire.connection = Connection(self.loop, limits, self.lost.append)
        self.connection.connection_made(self.wire)
        self.ask(body)

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *_: object) -> None:
        if not self.lost:
            self.connection.connection_lost(None)
        if self.future.done() and not self.future.cancelled():
            self.future.exception()

    def ask(self, body: bytes = b"{}") -> None:
        self.future = self.connection.send(b"POST / HTTP/1.1\r\n", body)

    def hear(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.connection.data_received(piece)

    def hear_byte_by_byte(self, data: bytes) -> None:
        self.hear(*(data[place : place + 1] for place in range(len(data))))

    def end(self, error: Exception | None = None) -> None:
        self.connection.connection_lost(error)

    @property
    def received(self) -> Received:
        return self.future.result()

    @property
    def error(self) -> BaseException | None:
        return self.future.exception()


FRAMINGS = {
    "length": answer(BODY),
    "one chunk": chunked(BODY),
    "many chunks": chunked(BODY[:1], BODY[1:7], BODY[7:]),
    "trailer": chunked(BODY, trailer=b"x-sum: 1\r\n"),
    "chunk extension": chunked(BODY).replace(b"15\r\n", b"15;name=value\r\n"),
    "after 100": b"HTTP/1.1 100 Continue\r\n\r\n" + answer(BODY),
    "after 103": b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + answer(BODY),
    "after several": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + chunked(BODY),
    "no reason": b"HTTP/1.1 200\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY),
}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_answer_is_read_however_it_is_framed_and_cut(framing: str) -> None:
    data = FRAMINGS[framing]
    for cut in range(1, len(data)):
        with Talk() as talk:
            talk.hear(data[:cut], data[cut:])
            assert talk.received.body == BODY, cut
            assert talk.connection.open
    with Talk() as talk:
        talk.hear_byte_by_byte(data)
        assert talk.received.body == BODY


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_answer_that_breaks_off_anywhere_is_lost(framing: str) -> None:
    data = FRAMINGS[framing]
    for cut in range(len(data)):
        with Talk() as talk:
            if cut:
                talk.hear(data[:cut])
            talk.end()
            assert isinstance(talk.error, Lost), cut


def test_an_answer_without_length_ends_with_the_connection() -> None:
    with Talk() as talk:
        talk.hear(NO_LENGTH, BODY[:5], BODY[5:])
        assert not talk.future.done()
        talk.end()
        assert talk.received.body == BODY


def test_an_answer_without_length_is_lost_where_the_connection_breaks() -> None:
    with Talk() as talk:
        talk.hear(NO_LENGTH, BODY)
        talk.end(ConnectionResetError())
        assert isinstance(talk.error, Lost)


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body(status: int) -> None:
    with Talk() as talk:
        talk.hear(b"HTTP/1.1 %d X\r\nx-request-id: r1\r\n\r\n" % status)
        assert (talk.received.status, talk.received.body, talk.received.header(b"x-request-id")) == (status, b"", "r1")


BROKEN = {
    "garbage": b"\x16\x03\x01 what is this\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "status line": b"HTTP/1.1 abc OK\r\n\r\n",
    "chunk size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    "chunk end": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
    "length and chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}",
    "an upgrade": b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nabc",
    "more than its length": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}, and more",
    "two answers": answer(b"{}") + answer(b"[]"),
    "more after close": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}more",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_not_one_proper_answer_is_a_bad_answer_and_closes(kind: str) -> None:
    with Talk() as talk:
        talk.hear(BROKEN[kind])
        assert isinstance(talk.error, BadAnswer)
        assert talk.wire.aborted
        assert not talk.connection.open


@given(data=st.binary(max_size=200), framed=st.booleans())
def test_no_bytes_at_all_make_it_raise(data: bytes, framed: bool) -> None:
    with Talk() as talk:
        talk.hear((b"HTTP/1.1 200 OK\r\n" if framed else b"") + data, data)
        talk.end()
        assert talk.future.done()
        assert talk.error is None or isinstance(talk.error, HttpError)


def test_two_exchanges_follow_each_other_on_one_connection() -> None:
    with Talk() as talk:
        talk.hear(answer(BODY, 200, {"x_first": "1"}))
        assert talk.received.header(b"x-first") == "1"
        talk.ask(b'{"n":2}')
        talk.hear(chunked(b"{}"))
        assert talk.received.body == b"{}"
        assert talk.received.header(b"x-first") == ""
        assert bytes(talk.wire.written).endswith(b'content-length: 7\r\n\r\n{"n":2}')


@pytest.mark.parametrize("last", [b"connection: close\r\n", None])
def test_a_connection_that_will_close_is_not_used_again(last: bytes | None) -> None:
    head = b"HTTP/1.0 200 OK\r\n" if last is None else b"HTTP/1.1 200 OK\r\n" + last
    with Talk() as talk:
        talk.hear(head + b"content-length: 2\r\n\r\n{}")
        assert talk.received.body == b"{}"
        assert not talk.connection.open


def test_bytes_that_nobody_asked_for_close_the_connection() -> None:
    with Talk() as talk:
        talk.hear(answer(BODY))
        talk.hear(answer(b'{"for":"nobody"}'))
        assert talk.wire.aborted
        assert not talk.connection.open


def test_the_answer_to_a_given_up_request_reaches_nobody() -> None:
    with Talk() as talk:
        talk.future.cancel()
        talk.hear(answer(BODY))
        assert talk.wire.aborted
        assert talk.future.cancelled()


def test_a_used_connection_that_closes_without_a_byte_was_stale_and_a_new_one_was_not() -> None:
    with Talk() as talk:
        talk.end(ConnectionResetError())
        assert type(talk.error) is Lost
    with Talk() as talk:
        talk.hear(answer(BODY))
        talk.ask()
        talk.end(ConnectionResetError())
        assert type(talk.error) is Stale
    with Talk() as talk:
        talk.hear(answer(BODY))
        talk.ask()
        talk.hear(b"H")
        talk.end(ConnectionResetError())
        assert type(talk.error) is Lost


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
ENDLESS = {  # how it begins, and what comes again and again
    "a length": (b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n", b"x" * 100),
    "chunks": (CHUNKED, b"64\r\n" + b"x" * 100 + b"\r\n"),
    "no length": (NO_LENGTH, b"x" * 100),
    "a header": (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 100),
    "many headers": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 10),
    "hints": (b"", b"HTTP/1.1 103 Early\r\nx: y\r\n\r\n"),
    "a trailer": (CHUNKED + b"0\r\nx: ", b"y" * 100),
    "a chunk extension": (CHUNKED + b"2;x=", b"y" * 100),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_answer_without_end_is_too_large(kind: str) -> None:
    front, piece = ENDLESS[kind]
    with Talk() as talk:
        if front:
            talk.hear(front)
        heard = 0
        while not talk.future.done():
            talk.hear(piece)
            heard += len(piece)
            assert heard < 3000
        assert isinstance(talk.error, TooLarge)
        assert talk.wire.aborted


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_answer_that_nobody_asked_for_is_decoded(encoding: str, pack: Any) -> None:
    with Talk() as talk:
        talk.hear(answer(pack(BODY), headers={"content_encoding": encoding}))
        assert talk.received.body == BODY


@pytest.mark.parametrize(
    ("encoding", "body", "error"),
    [
        ("gzip", b"not gzip", BadAnswer),
        ("gzip", gzip.compress(BODY, mtime=0)[:-5], BadAnswer),
        ("gzip", gzip.compress(b"x" * 100_000, mtime=0), TooLarge),
        ("br", BODY, BadAnswer),
    ],
)
def test_a_compressed_answer_that_cannot_be_read_is_bad(encoding: str, body: bytes, error: type[HttpError]) -> None:
    with Talk() as talk:
        talk.hear(answer(body, headers={"content_encoding": encoding}))
        assert type(talk.error) is error


def test_a_large_body_goes_out_only_as_the_transport_takes_it() -> None:
    body = bytes(range(256)) * 8192
    with Talk(body=body, full=True) as talk:
        head = talk.wire.writes
        rounds = 0
        while len(talk.wire.written) < len(body):
            assert talk.wire.writes <= head + rounds
            talk.connection.resume_writing()
            rounds += 1
        assert rounds > 4
        assert bytes(talk.wire.written).endswith(b"\r\n\r\n" + body)


def test_an_early_answer_to_a_large_body_ends_the_connection_without_the_rest() -> None:
    with Talk(body=b"x" * (4 << 20), full=True) as talk:
        sent = len(talk.wire.written)
        talk.hear(answer(b"{}", 413))
        assert talk.received.status == 413
        assert talk.wire.aborted
        talk.connection.resume_writing()
        assert len(talk.wire.written) == sent
