import os
import random
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from batchyard.domain.errors import Unavailable, Unsupported
from batchyard.pipeline.deliver import Delivered, deliver, upload_command
from batchyard.pipeline.stop import Stopped
from batchyard.transport.web import Patience
from tests.support.web_server import Exchange, answers, redirects_to, serving

LINES = b"".join(b'{"id": "batch_req_%d"}\n' % n for n in range(20_000))
QUICK = Patience(tries=4, backoff_seconds=0.001, retry_after_ceiling_seconds=0.001, idle_seconds=5)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    path = tmp_path / "finished.jsonl"
    path.write_bytes(LINES)
    return path


def bring(finished: Path, target: str, should_stop: Callable[[], bool] = lambda: False) -> Delivered:
    return deliver(str(finished), target, patience=QUICK, rng=random.Random(1), should_stop=should_stop)


def test_a_file_is_replaced_whole(finished: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_bytes(b"old")
    bring(finished, str(target))
    assert target.read_bytes() == LINES and finished.read_bytes() == LINES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["finished.jsonl", "out.jsonl"]


def test_a_link_stays_a_link(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    bring(finished, str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == LINES


def test_a_file_that_is_already_there_is_left_alone(finished: Path) -> None:
    assert bring(finished, str(finished)).tries == 0
    assert finished.read_bytes() == LINES


def test_a_missing_folder_costs_nothing_but_the_delivery(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        bring(finished, str(tmp_path / "no" / "out"))
    assert str(finished) in caught.value.remedy


def test_a_fifo_gets_everything(finished: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    bring(finished, str(fifo))
    reader.join()
    assert got == [LINES]


def test_a_fifo_without_a_reader_can_be_given_up(finished: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    asked = iter([False, True])
    with pytest.raises(Stopped):
        bring(finished, str(tmp_path / "fifo"), should_stop=lambda: next(asked, True))


def test_standard_output_gets_everything(finished: Path) -> None:
    code = f"from batchyard.pipeline.deliver import deliver; deliver({str(finished)!r}, '-')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == LINES


def test_a_reader_that_went_away_is_named(finished: Path) -> None:
    code = (
        "from batchyard.domain.errors import Unavailable\n"
        "from batchyard.pipeline.deliver import deliver\n"
        f"try: deliver({str(finished)!r}, '-')\n"
        "except Unavailable as error: raise SystemExit(str(error))\n"
    )
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout is not None and program.stderr is not None
    program.stdout.read(10)
    program.stdout.close()
    said = program.stderr.read().decode()
    program.stderr.close()
    assert program.wait() == 1
    assert "nobody reads it any more" in said and str(finished) in said


@pytest.mark.parametrize("status", [200, 201, 204])
def test_any_success_is_one_upload(finished: Path, status: int) -> None:
    with serving(answers(status)) as script:
        assert bring(finished, script.url + "out").tries == 1
    assert [(seen.method, seen.body) for seen in script.seen] == [("PUT", LINES)]


def test_an_upload_announces_its_size_and_nothing_that_a_signature_might_not_cover(finished: Path) -> None:
    with serving(answers(200)) as script:
        bring(finished, script.url)
    sent = script.seen[0].headers
    assert sent["content-length"] == str(len(LINES))
    assert set(sent) <= {"host", "content-length", "user-agent", "accept-encoding"}


@pytest.mark.parametrize("status", [500, 503, 408, 429])
def test_a_busy_server_is_asked_again_and_only_until_it_has_it(finished: Path, status: int) -> None:
    with serving(answers(status, Retry_After="1"), answers(201)) as script:
        assert bring(finished, script.url).tries == 2
    assert [seen.body for seen in script.seen] == [LINES, LINES]


def test_a_lost_connection_is_tried_again(finished: Path) -> None:
    def drops(exchange: Exchange) -> None:
        exchange.drop()

    with serving(drops, drops, answers(200)) as script:
        assert bring(finished, script.url).tries == 3


def test_an_upload_follows_a_redirect_with_its_whole_body(finished: Path) -> None:
    with serving(answers(200)) as there, serving(redirects_to(there.url + "x")) as here:
        bring(finished, here.url)
    assert there.seen[0].method == "PUT" and there.seen[0].body == LINES


@pytest.mark.parametrize(("status", "tries"), [(403, 1), (404, 1), (400, 1), (303, 1), (500, 4)])
def test_a_failed_upload_says_where_the_results_are_and_how_to_upload_them(
    finished: Path, status: int, tries: int
) -> None:
    with serving(answers(status, b"<Code>AccessDenied</Code>")) as script, pytest.raises(Unavailable) as caught:
        bring(finished, script.url + "out?sig=se%20cret&x=1")
    assert len(script.seen) == tries
    assert str(status) in caught.value.message and "AccessDenied" in caught.value.message
    assert "cret" not in caught.value.message
    assert caught.value.remedy.endswith(upload_command(str(finished), script.url + "out?sig=se%20cret&x=1"))
    assert finished.read_bytes() == LINES


def test_the_upload_command_is_words_a_shell_understands() -> None:
    words = shlex.split(upload_command("/a folder/out.jsonl", "https://h/x?sig=a&b=c"))
    assert words == ["curl", "--fail", "-T", "/a folder/out.jsonl", "https://h/x?sig=a&b=c"]
    assert "x-ms-blob-type: BlockBlob" in upload_command("o", "https://acc.blob.core.windows.net/c/o?sig=1")


def test_an_unknown_kind_of_address_is_refused(finished: Path) -> None:
    with pytest.raises(Unsupported, match="s3://"):
        bring(finished, "s3://bucket/out")


def test_an_upload_can_be_stopped(finished: Path) -> None:
    with serving(answers(503)) as script, pytest.raises(Stopped):
        bring(finished, script.url, should_stop=lambda: bool(script.seen))
    assert len(script.seen) == 1
