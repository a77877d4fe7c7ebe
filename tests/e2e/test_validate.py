import json

from tests.support.cli import Cli
from tests.support.lines import chat_file, chat_line, jsonl


def test_a_good_file_is_0_and_counted(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(chat_file(10, model="a") + jsonl([chat_line("x", model="b")]))
    done = cli.run("validate", "in.jsonl", "--json", "--progress", "none")
    assert done.code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["valid"] and report["lines"] == 11 and report["by_model"] == {"a": 10, "b": 1}
    assert report["by_endpoint"] == {"/v1/chat/completions": 11} and report["errors"] == []
    assert sorted(path.name for path in cli.folder.iterdir()) == ["in.jsonl"], "nothing is left behind"


def test_every_bad_line_is_named(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(b"{oops\n" * 2500 + chat_file(3, model="a"))
    done = cli.run("validate", "in.jsonl", "--json")
    report = json.loads(done.stdout)
    assert done.code == 1 and not report["valid"] and report["invalid"] == 2500
    assert [error["number"] for error in report["errors"]] == list(range(1, 2501))
    assert all(error["code"] and error["message"] for error in report["errors"])


def test_people_read_it_too(cli: Cli) -> None:
    done = cli.run("validate", "-", "--model", "m", "--price-in", "1", stdin=chat_file(4) + b"[]\n")
    text = done.stdout.decode()
    assert done.code == 1 and "line 5: " in text and "1 of them invalid" in text and "cost" in text


def test_a_missing_file_is_1(cli: Cli) -> None:
    done = cli.run("validate", "gone.jsonl")
    assert done.code == 1 and "gone.jsonl" in done.stderr and "Traceback" not in done.stderr
