"""`batchyard run-batch` from outside: files, streams and addresses in and out, and how it exits."""

import gzip
import json
import os
import threading

from tests.support.chat_server import chatting
from tests.support.cli import Cli
from tests.support.lines import answers_by_id, chat_file, chat_line, jsonl, parsed
from tests.support.web_server import answers, serving

ECHO = ("--engine", "echo", "--model", "m")


def test_every_line_is_answered_in_order(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(chat_file(500))
    done = cli.run("run-batch", "-i", "in.jsonl", "-o", "out.jsonl", *ECHO, "--summary", "s.json")
    assert done.code == 0, done.stderr
    expected = {f"req-{n}": f"text {n}" for n in range(500)}
    got = answers_by_id(cli.path("out.jsonl").read_bytes())
    assert got == expected and list(got) == list(expected)
    summary = json.loads(cli.path("s.json").read_text())
    assert summary["lines"]["succeeded"] == 500 and summary["exit_code"] == 0
    assert "500 answered" in done.stderr and done.stdout == b""


def test_streams_in_and_out(cli: Cli) -> None:
    done = cli.run("run", "-i", "-", "-o", "-", *ECHO, stdin=gzip.compress(chat_file(20)))
    assert done.code == 0, done.stderr
    assert list(answers_by_id(done.stdout)) == [f"req-{n}" for n in range(20)]


def test_pipes_in_and_out(cli: Cli) -> None:
    for name in ("in", "out"):
        os.mkfifo(cli.path(name))
    got: list[bytes] = []
    ends = [
        threading.Thread(target=lambda: cli.path("in").write_bytes(chat_file(20))),
        threading.Thread(target=lambda: got.append(cli.path("out").read_bytes())),
    ]
    for end in ends:
        end.start()
    done = cli.run("run", "-i", "in", "-o", "out", *ECHO)
    for end in ends:
        end.join(30)
    assert done.code == 0, done.stderr
    assert len(answers_by_id(got[0])) == 20


def test_addresses_in_and_out(cli: Cli) -> None:
    with serving(answers(200, chat_file(20))) as source, serving(answers(204)) as target:
        done = cli.run("run", "-i", source.url + "in.jsonl", "-o", target.url + "out.jsonl?sig=1", *ECHO)
    assert done.code == 0, done.stderr
    (upload,) = target.seen
    assert upload.method == "PUT" and len(answers_by_id(upload.body)) == 20


def test_an_upload_that_fails_keeps_the_results_and_the_next_try_asks_nothing_again(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(chat_file(5))
    with chatting() as upstream, serving(answers(403), answers(200)) as target:
        words = (
            "run",
            "-i",
            "in.jsonl",
            "-o",
            target.url + "out?sig=1",
            "--upstream",
            upstream.url + "v1",
            "--model",
            "m",
        )
        failed = cli.run(*words)
        assert failed.code == 1 and "curl --fail -T" in failed.stderr and target.url + "out?sig=1" in failed.stderr
        asked = len(upstream.seen)
        again = cli.run(*words)
    assert again.code == 0, again.stderr
    assert [seen.method for seen in upstream.seen[asked:]].count("POST") == 0
    assert len(answers_by_id(target.seen[-1].body)) == 5


def test_a_bad_line_stops_the_run_before_anything_runs(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(chat_file(3) + b"{oops\n" + jsonl([chat_line("a", stream=True)]))
    done = cli.run("run", "-i", "in.jsonl", "-o", "out.jsonl", *ECHO)
    assert done.code == 1 and not cli.path("out.jsonl").exists()
    assert "line 4: " in done.stderr and "line 5: " in done.stderr


def test_a_bad_line_may_become_an_error_line(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(chat_file(3) + b"{oops\n")
    done = cli.run("run", "-i", "in.jsonl", "-o", "out.jsonl", "--on-invalid-line", "error-line", *ECHO)
    assert done.code == 3, done.stderr
    lines = parsed(cli.path("out.jsonl").read_bytes())
    assert len(lines) == 4 and lines[3]["error"] is not None


def test_failed_lines_can_have_a_file_of_their_own(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(chat_file(3) + b"{oops\n")
    words = ("--on-invalid-line", "error-line", "--error-file", "errors.jsonl")
    done = cli.run("run", "-i", "in.jsonl", "-o", "out.jsonl", *words, *ECHO)
    assert done.code == 3, done.stderr
    assert len(parsed(cli.path("out.jsonl").read_bytes())) == 3
    assert len(parsed(cli.path("errors.jsonl").read_bytes())) == 1


def test_an_empty_file_gives_an_empty_file(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(b"")
    done = cli.run("run", "-i", "in.jsonl", "-o", "out.jsonl", *ECHO, "--compat", "vllm")
    assert done.code == 0, done.stderr
    assert cli.path("out.jsonl").read_bytes() == b""


def test_it_stands_in_for_vllm(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(jsonl([chat_line("a"), chat_line("b", stream=True)]))
    words = ("--dtype", "bfloat16", "--max-num-seqs", "256", "--enforce-eager", "--compat", "vllm")
    done = cli.run("run-batch", "-i", "in.jsonl", "-o", "out.jsonl", *words, *ECHO)
    assert done.code == 0, done.stderr
    good, bad = parsed(cli.path("out.jsonl").read_bytes())
    assert good["id"].startswith("vllm-") and good["error"] is None
    assert bad["response"]["status_code"] == 400 and "stream" in bad["error"]
    assert "--dtype" in done.stderr and "--enforce-eager" in done.stderr


def test_it_stands_in_for_fastdeploy(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(jsonl([chat_line("a"), chat_line("b")]))
    words = ("--workers", "4", "--max-concurrency", "8", "--port", "8000", "--compat", "fastdeploy")
    done = cli.run("run-batch", "-i", "in.jsonl", "-o", "out.jsonl", *words, *ECHO)
    assert done.code == 0, done.stderr
    assert all(line["id"].startswith("fastdeploy-") for line in parsed(cli.path("out.jsonl").read_bytes()))


def test_output_and_input_may_not_be_one_file(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(chat_file(1))
    cli.path("out.jsonl").hardlink_to(cli.path("in.jsonl"))
    done = cli.run("run", "-i", "in.jsonl", "-o", "out.jsonl", *ECHO)
    assert done.code == 1 and "same file" in done.stderr
    assert cli.path("in.jsonl").read_bytes() == chat_file(1)


def test_bad_usage_is_2(cli: Cli) -> None:
    assert cli.run("run", "-i", "in.jsonl").code == 2
    assert cli.run("run", "-i", "in", "-o", "out", "--max-inflight", "0").code == 2
    assert cli.run("walk").code == 2
