"""`kill -9` of the real server between the chunks of an upload and inside them: what was told to be safe still is."""

import hashlib
import signal
from base64 import b64decode
from pathlib import Path
from random import Random

import pytest

from tests.support.batches import serving, url_of
from tests.support.cli import Cli, Running
from tests.support.resumable import LAST, QUERY, UPLOAD, Sender, Told, begin, begin_chunk

NOBODY = ("--upstream", "http://127.0.0.1:9/v1", "--model", "m")
CHUNK = 8 << 20
DATA = Random(1).randbytes(3 * CHUNK + 5)


@pytest.fixture
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("server"))


def kill(run: Running, number: signal.Signals = signal.SIGKILL) -> None:
    run.send(number)
    assert run.finish().code == (-signal.SIGKILL if number is signal.SIGKILL else 0)


def port_of(run: Running) -> int:
    return int(url_of(run).rpartition(":")[2])


def key_of(cli: Cli) -> str:
    return cli.path("batchyard-data/admin.key").read_text().strip()


def call(run: Running, address: str, command: str, offset: int = 0, data: bytes = b"") -> Told:
    sender = Sender(port_of(run))
    try:
        return sender.send(address, command, offset, data)
    finally:
        sender.close()


def growing(cli: Cli) -> list[Path]:
    return list(cli.path("batchyard-data/blobs/growing").iterdir())


def until_written(cli: Cli, size: int) -> None:
    """Return once the disk has so many bytes of the only upload: they come while the chunk does."""
    while sum(each.stat().st_size for each in growing(cli)) < size:
        pass


def assert_whole(cli: Cli, told: Told) -> None:
    assert (told.status, told.word) == (200, "final") and told.file is not None
    assert b64decode(told.file["sha256Hash"]).decode() == hashlib.sha256(DATA).hexdigest()
    (kept,) = cli.path("batchyard-data/blobs/files").iterdir()
    assert kept.read_bytes() == DATA and growing(cli) == []


def test_killed_between_chunks_an_upload_goes_on_where_it_was(cli: Cli) -> None:
    with serving(cli, *NOBODY, ready=False) as (run, _):
        address = begin(port_of(run), key_of(cli), len(DATA))
        kill(run)
    for start in range(0, 3 * CHUNK, CHUNK):
        with serving(cli, *NOBODY, ready=False) as (run, _):
            assert call(run, address, QUERY).received == start
            assert call(run, address, UPLOAD, start, DATA[start : start + CHUNK]).received == start + CHUNK
            kill(run)
    with serving(cli, *NOBODY, ready=False) as (run, _):
        told = call(run, address, LAST, 3 * CHUNK, DATA[3 * CHUNK :])
        assert_whole(cli, told)
        kill(run)
    with serving(cli, *NOBODY, ready=False) as (run, _):
        assert call(run, address, LAST, 3 * CHUNK, DATA[3 * CHUNK :]).file is not None
        assert_whole(cli, call(run, address, QUERY))


@pytest.mark.parametrize("command", [UPLOAD, LAST])
def test_killed_inside_a_chunk_an_upload_goes_on_from_the_last_whole_one(cli: Cli, command: str) -> None:
    with serving(cli, *NOBODY, ready=False) as (run, _):
        address = begin(port_of(run), key_of(cli), len(DATA))
        call(run, address, UPLOAD, 0, DATA[:CHUNK])
        rest = DATA[CHUNK:]
        line = begin_chunk(port_of(run), address, command, CHUNK, len(rest), rest[: CHUNK + 100])
        until_written(cli, CHUNK + (4 << 20))
        kill(run)
        line.close()
    with serving(cli, *NOBODY, ready=False) as (run, _):
        received = call(run, address, QUERY).received
        assert received is not None and CHUNK <= received <= 2 * CHUNK + 100
        assert_whole(cli, call(run, address, LAST, CHUNK, rest))


def test_what_a_cut_connection_left_survives_a_kill(cli: Cli) -> None:
    with serving(cli, *NOBODY, ready=False) as (run, _):
        address = begin(port_of(run), key_of(cli), len(DATA))
        line = begin_chunk(port_of(run), address, LAST, 0, len(DATA), DATA[: 2 * CHUNK])
        until_written(cli, CHUNK)
        line.close()
        while not (received := call(run, address, QUERY).received):
            pass
        kill(run)
    with serving(cli, *NOBODY, ready=False) as (run, _):
        assert call(run, address, QUERY).received == received
        assert_whole(cli, call(run, address, LAST, received, DATA[received:]))


def test_a_server_that_is_told_to_end_inside_a_chunk_keeps_the_upload(cli: Cli) -> None:
    with serving(cli, *NOBODY, "--grace", "1", ready=False) as (run, _):
        address = begin(port_of(run), key_of(cli), len(DATA))
        line = begin_chunk(port_of(run), address, LAST, 0, len(DATA), DATA[: 2 * CHUNK])
        until_written(cli, CHUNK)
        kill(run, signal.SIGTERM)
        line.close()
    with serving(cli, *NOBODY, ready=False) as (run, _):
        received = call(run, address, QUERY).received
        assert received is not None
        assert_whole(cli, call(run, address, LAST, received, DATA[received:]))


def test_a_server_that_starts_removes_what_nobody_will_go_on_with(cli: Cli) -> None:
    with serving(cli, *NOBODY, ready=False) as (run, _):
        address = begin(port_of(run), key_of(cli), len(DATA))
        call(run, address, UPLOAD, 0, DATA[:CHUNK])
        kill(run)
    cli.path("batchyard-data/blobs/growing/files.file-nobody").write_bytes(b"x")
    with serving(cli, *NOBODY, ready=False) as (run, _):
        (kept,) = growing(cli)
        assert kept.stat().st_size == CHUNK
