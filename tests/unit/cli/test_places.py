import os
from pathlib import Path

import pytest

from batchyard.cli.places import check_places
from batchyard.config import RunOptions
from batchyard.domain.errors import Invalid, NotFound


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("{}\n")
    return path


def check(source: object, output: object, summary: str | None = None, errors: str | None = None) -> None:
    check_places(RunOptions(input=str(source), output=str(output), errors=errors), summary)


def test_a_new_file_beside_the_input_is_fine(source: Path, tmp_path: Path) -> None:
    check(source, tmp_path / "out.jsonl", summary=str(tmp_path / "s.json"), errors=str(tmp_path / "e.jsonl"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"], "asking leaves no trace"


def test_streams_and_addresses_are_fine() -> None:
    check("-", "-")
    check("https://host/in", "https://host/in")
    check("/dev/null", "/dev/null")


def test_the_output_may_not_be_the_input_by_any_name(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "hard").hardlink_to(source)
    (tmp_path / "folder").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in (source, tmp_path / "link", tmp_path / "hard", tmp_path / "folder" / "in.jsonl", "in.jsonl", "./link"):
        with pytest.raises(Invalid, match="same file"):
            check(source, name)


def test_outputs_that_do_not_exist_yet_may_not_meet(source: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").symlink_to(tmp_path)
    with pytest.raises(Invalid, match="same file"):
        check(source, tmp_path / "out", errors=str(tmp_path / "folder" / "out"))
    with pytest.raises(Invalid, match="same file"):
        check(source, tmp_path / "out", summary=str(tmp_path / "out"))


def test_two_names_of_one_pipe_are_no_conflict(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    check(tmp_path / "fifo", tmp_path / "fifo")


def test_what_is_missing_is_named_before_anything_runs(source: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"gone\.jsonl"):
        check(tmp_path / "gone.jsonl", tmp_path / "out")
    with pytest.raises(NotFound, match="mkdir -p"):
        check(source, tmp_path / "no" / "out")
    with pytest.raises(Invalid, match="folder"):
        check(tmp_path, tmp_path / "out")
    with pytest.raises(Invalid, match="folder"):
        check(source, tmp_path)


def test_a_folder_that_cannot_be_written_is_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.R_OK)  # pyright: ignore
    with pytest.raises(Invalid, match="cannot be written"):
        check(source, tmp_path / "out")


def test_folders_to_work_in_may_be_new_but_not_files(source: Path, tmp_path: Path) -> None:
    options = RunOptions(input=str(source), output="-", run_folder=str(tmp_path / "a" / "b"))
    check_places(options, None)
    with pytest.raises(Invalid, match="no folder"):
        check_places(RunOptions(input="-", output="-", staging_folder=str(source)), None)
