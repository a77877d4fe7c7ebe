"""What the commands that talk to a server read from their words and their environment."""

from pathlib import Path

import pytest
import typer

from batchyard.cli.remote import failed, key_of, pairs, told
from batchyard.cli.submit import first_url, name_of
from batchyard.cli.tenants import seconds_of


def test_the_key_is_ours_then_openais(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BATCHYARD_API_KEY", "OPENAI_API_KEY", "MINE"):
        monkeypatch.delenv(name, raising=False)
    assert key_of(None) is None
    monkeypatch.setenv("OPENAI_API_KEY", "theirs\n")
    assert key_of(None) == "theirs"
    monkeypatch.setenv("BATCHYARD_API_KEY", "ours")
    assert key_of(None) == "ours"
    with pytest.raises(typer.BadParameter, match="MINE is not set"):
        key_of("MINE")
    monkeypatch.setenv("MINE", "mine")
    assert key_of("MINE") == "mine"


def test_metadata_are_pairs() -> None:
    assert pairs(["a=b", "c=d=e", "f="]) == {"a": "b", "c": "d=e", "f": ""}
    assert pairs(None) is pairs([]) is None
    with pytest.raises(typer.BadParameter, match="nonsense is not KEY=VALUE"):
        pairs(["nonsense"])


def test_times_to_come_have_units() -> None:
    assert [seconds_of(text) for text in ("90d", "12h", "30m", "0s", "2w")] == [7_776_000, 43_200, 1_800, 0, 1_209_600]
    for text in ("90", "d", "-1d", "1y", "1.5h", ""):
        with pytest.raises(typer.BadParameter):
            seconds_of(text)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("/a/b/in.jsonl", "in.jsonl"),
        ("in.jsonl.gz", "in.jsonl"),
        ("in.txt", "in.txt.jsonl"),
        ("-", "stdin.jsonl"),
        ("https://h/a/in.jsonl?sig=1", "in.jsonl"),
        ("https://h/", "batch.jsonl"),
    ],
)
def test_a_file_has_a_name_that_every_server_takes(place: str, name: str) -> None:
    assert name_of(place) == name


def test_the_endpoint_is_that_of_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b'\xef\xbb\xbf{"url": "/v1/embeddings"}\n')
    assert first_url(str(tmp_path / "in")) == "/v1/embeddings"
    (tmp_path / "in").write_bytes(b'\n  \n{"url": "/v1/embeddings"}\n{"url": "/other"}\n')
    assert first_url(str(tmp_path / "in")) == "/v1/embeddings"
    for content in (b"", b"[]", b'{"url": 1}', b"nonsense"):
        (tmp_path / "in").write_bytes(content)
        with pytest.raises(typer.Exit):
            first_url(str(tmp_path / "in"))


def test_errors_are_one_line_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    for error, said, code in (
        (OSError(28, "No space left on device", "/x"), "batchyard: /x: No space left on device.\n", 1),
        (BrokenPipeError(), "", 1),
        (KeyboardInterrupt(), "", 130),
    ):
        with pytest.raises(typer.Exit) as ended, told():
            raise error
        assert (ended.value.exit_code, capsys.readouterr().err) == (code, said)
    assert failed("why").exit_code == 1
