import gzip
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from batchyard.domain.errors import Invalid, NotFound, TooLarge, Unavailable, Unsupported
from batchyard.pipeline import fetch as station
from batchyard.pipeline.fetch import Fetched, fetch
from batchyard.pipeline.stop import Stopped
from batchyard.transport.web import Patience
from tests.support.web_server import Exchange, answers, breaks_off, redirects_to, serves_ranges, serving

LINES = b"".join(b'{"custom_id": "r-%d"}\n' % n for n in range(20_000))
QUICK = Patience(tries=4, backoff_seconds=0.001, retry_after_ceiling_seconds=0.001, idle_seconds=5)


def bring(source: str, folder: Path, should_stop: Callable[[], bool] = lambda: False) -> Fetched:
    return fetch(source, str(folder), patience=QUICK, rng=random.Random(1), should_stop=should_stop)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_plain_file_is_read_where_it_lies(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(LINES)
    fetched = bring(str(source), tmp_path / "run")
    assert fetched.in_place and fetched.path == str(source) and fetched.bytes == len(LINES)
    assert not (tmp_path / "run").exists()


def test_a_link_is_followed_to_the_file_itself(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(LINES)
    (tmp_path / "link").symlink_to("in.jsonl")
    assert bring(str(tmp_path / "link"), tmp_path).path == str(tmp_path / "in.jsonl")


def test_the_identity_of_a_file_changes_with_the_file(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(LINES)
    before = bring(str(source), tmp_path).identity
    assert bring(str(source), tmp_path).identity == before
    source.write_bytes(LINES + b"{}\n")
    assert bring(str(source), tmp_path).identity != before


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(LINES),
        gzip.compress(LINES[:5000]) + gzip.compress(LINES[5000:]),
        gzip.compress(LINES) + b"\0" * 512,
        zstandard.compress(LINES),
        zstandard.compress(LINES[:5000]) + zstandard.compress(LINES[5000:]),
    ],
    ids=["gzip", "two gzip members", "padded gzip", "zstd", "two zstd frames"],
)
def test_archives_are_known_by_their_content_and_unpacked(tmp_path: Path, packed: bytes) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(packed)
    fetched = bring(str(source), tmp_path / "run")
    assert Path(fetched.path).read_bytes() == LINES
    assert not fetched.in_place and fetched.bytes == len(LINES)
    assert left_in(tmp_path / "run") == ["input.jsonl"]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_torn_archive_is_an_error_and_leaves_nothing(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    source = tmp_path / "in"
    source.write_bytes(pack(LINES)[:-7])
    with pytest.raises(Invalid, match="ends in the middle"):
        bring(str(source), tmp_path / "run")
    assert left_in(tmp_path / "run") == []


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_damaged_archive_is_an_error(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    packed = bytearray(pack(LINES))
    packed[40:60] = bytes(20)
    (tmp_path / "in").write_bytes(packed)
    with pytest.raises(Invalid):
        bring(str(tmp_path / "in"), tmp_path / "run")
    assert left_in(tmp_path / "run") == []


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_an_archive_larger_than_the_disk_stops_early(
    tmp_path: Path, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = iter([1 << 30, 1 << 30])
    monkeypatch.setattr(station, "_free_bytes", lambda folder: next(room, 0))  # pyright: ignore
    (tmp_path / "in").write_bytes(pack(bytes(128 << 20)))
    with pytest.raises(TooLarge, match="does not fit"):
        bring(str(tmp_path / "in"), tmp_path / "run")
    assert left_in(tmp_path / "run") == []


def test_a_fifo_is_read_to_its_end(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(LINES))
    writer.start()
    fetched = bring(str(fifo), tmp_path / "run")
    writer.join()
    assert Path(fetched.path).read_bytes() == LINES


def test_a_fifo_without_a_writer_can_be_given_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    asked = iter([False, True])
    with pytest.raises(Stopped):
        bring(str(tmp_path / "fifo"), tmp_path / "run", should_stop=lambda: next(asked, True))
    assert left_in(tmp_path / "run") == []


def test_standard_input_is_read_to_its_end(tmp_path: Path) -> None:
    code = f"from batchyard.pipeline.fetch import fetch; print(fetch('-', {str(tmp_path)!r}).path)"
    done = subprocess.run([sys.executable, "-c", code], input=gzip.compress(LINES), capture_output=True, check=True)
    assert Path(done.stdout.decode().strip()).read_bytes() == LINES


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"missing\.jsonl"):
        bring(str(tmp_path / "missing.jsonl"), tmp_path)
    with pytest.raises(Invalid, match="folder"):
        bring(str(tmp_path), tmp_path)
    with pytest.raises(Unsupported, match="s3://"):
        bring("s3://bucket/in.jsonl", tmp_path)


def test_a_url_is_fetched(tmp_path: Path) -> None:
    with serving(answers(200, LINES)) as script:
        fetched = bring(script.url + "in.jsonl?sig=secret", tmp_path)
    assert Path(fetched.path).read_bytes() == LINES
    assert fetched.origin == script.url + "in.jsonl?..."


def test_a_packed_url_is_unpacked(tmp_path: Path) -> None:
    with serving(answers(200, zstandard.compress(LINES))) as script:
        assert Path(bring(script.url, tmp_path).path).read_bytes() == LINES


def test_a_broken_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with serving(serves_ranges(LINES, '"v1"', part=60_000)) as script:
        fetched = bring(script.url, tmp_path)
    assert Path(fetched.path).read_bytes() == LINES
    ranges = [seen.headers.get("range") for seen in script.seen]
    assert ranges[:3] == [None, "bytes=60000-", "bytes=120000-"]
    assert len(ranges) > QUICK.tries, "progress forgives earlier failures"


def test_a_broken_archive_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with serving(serves_ranges(gzip.compress(LINES), '"v1"', part=20_000)) as script:
        assert Path(bring(script.url, tmp_path).path).read_bytes() == LINES


def test_a_download_starts_over_where_the_server_cannot_resume(tmp_path: Path) -> None:
    with serving(breaks_off(LINES, 50_000), answers(200, LINES)) as script:
        assert Path(bring(script.url, tmp_path).path).read_bytes() == LINES
    assert "range" not in script.seen[1].headers


def test_versions_are_never_mixed(tmp_path: Path) -> None:
    other = LINES.upper()
    with serving(breaks_off(LINES, 50_000, ETag='"v1"'), serves_ranges(other, '"v2"')) as script:
        assert Path(bring(script.url, tmp_path).path).read_bytes() == other
    assert script.seen[1].headers["if-range"] == '"v1"'


def test_a_range_that_was_not_asked_for_is_not_taken(tmp_path: Path) -> None:
    wrong = {"ETag": '"v1"', "Content-Range": f"bytes 40000-{len(LINES) - 1}/{len(LINES)}"}
    with serving(
        breaks_off(LINES, 50_000, ETag='"v1"'),
        lambda exchange: exchange.reply(206, LINES[40_000:], wrong),
        answers(200, LINES, ETag='"v1"'),
    ) as script:
        assert Path(bring(script.url, tmp_path).path).read_bytes() == LINES


@pytest.mark.parametrize("etag", ['"v1"', ""], ids=["named version", "unnamed version"])
def test_a_server_that_always_breaks_off_is_given_up(tmp_path: Path, etag: str) -> None:
    with serving(breaks_off(LINES, 50_000, ETag=etag)) as script, pytest.raises(Unavailable):
        bring(script.url, tmp_path)
    assert 2 <= len(script.seen) <= 2 * QUICK.tries
    assert left_in(tmp_path) == []


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    with serving(answers(503, Retry_After="1"), answers(429), answers(200, LINES)) as script:
        assert Path(bring(script.url, tmp_path).path).read_bytes() == LINES


def test_a_busy_server_is_given_up_after_some_tries(tmp_path: Path) -> None:
    with serving(answers(500)) as script, pytest.raises(Unavailable, match="500"):
        bring(script.url, tmp_path)
    assert len(script.seen) == QUICK.tries


@pytest.mark.parametrize(("status", "error"), [(404, NotFound), (403, Unavailable), (400, Unavailable)])
def test_a_refusal_is_final_and_keeps_the_signature_secret(tmp_path: Path, status: int, error: type[Exception]) -> None:
    with serving(answers(status)) as script, pytest.raises(error) as caught:
        bring(script.url + "in?sig=secret", tmp_path)
    assert len(script.seen) == 1
    assert str(status) in str(caught.value) and "secret" not in str(caught.value)


def test_a_dead_host_is_unavailable(tmp_path: Path) -> None:
    with serving(answers(200)) as script:
        gone = script.url
    with pytest.raises(Unavailable, match="refused"):
        bring(gone, tmp_path)


def test_redirects_are_followed(tmp_path: Path) -> None:
    with serving(answers(200, LINES)) as there, serving(redirects_to(there.url + "x", 302)) as here:
        assert Path(bring(here.url, tmp_path).path).read_bytes() == LINES


def test_the_user_in_a_url_goes_to_its_host_only(tmp_path: Path) -> None:
    with serving(answers(200, LINES)) as there, serving(redirects_to(there.url)) as here:
        fetched = bring(here.url.replace("http://", "http://ann:p%40ss@"), tmp_path)
    assert here.seen[0].headers["authorization"] == "Basic YW5uOnBAc3M="
    assert "authorization" not in there.seen[0].headers
    assert "ann" not in fetched.origin


def test_a_copy_that_is_still_good_is_not_fetched_again(tmp_path: Path) -> None:
    with serving(answers(200, LINES, ETag='"v1"'), answers(304)) as script:
        bring(script.url, tmp_path)
        again = bring(script.url, tmp_path)
    assert again.reused and Path(again.path).read_bytes() == LINES
    assert script.seen[1].headers["if-none-match"] == '"v1"'


def test_an_expired_address_does_not_lose_the_copy(tmp_path: Path) -> None:
    with serving(answers(200, LINES), answers(403)) as script:
        bring(script.url + "?sig=1", tmp_path)
        assert bring(script.url + "?sig=1", tmp_path).reused
        with pytest.raises(Unavailable):
            bring(script.url + "?sig=2", tmp_path)


def test_a_changed_file_replaces_the_copy(tmp_path: Path) -> None:
    with serving(answers(200, LINES, ETag='"v1"'), answers(200, b"{}\n", ETag='"v2"')) as script:
        first = bring(script.url, tmp_path)
        second = bring(script.url, tmp_path)
    assert Path(second.path).read_bytes() == b"{}\n" and first.identity != second.identity


def test_a_download_can_be_stopped(tmp_path: Path) -> None:
    stopped = threading.Event()

    def slowly(exchange: Exchange) -> None:
        exchange.reply(200, LINES[:1000], length=len(LINES))
        stopped.set()
        exchange.wfile.write(LINES[1000:])

    with serving(slowly) as script, pytest.raises(Stopped):
        bring(script.url, tmp_path, should_stop=stopped.is_set)
    assert left_in(tmp_path) == []
