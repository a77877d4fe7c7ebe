"""Checking a file in one pass: the verdict, the errors and the plan."""

import json
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

from batchyard.dialect import LineDialect
from batchyard.dialects.lines import openai, vllm
from batchyard.domain.line import LineError
from batchyard.domain.result import Answer, Result
from batchyard.endpoints import ENDPOINTS
from batchyard.pipeline import lines as chunks
from batchyard.pipeline import plan, spill
from batchyard.pipeline import validate as module
from batchyard.pipeline.plan import Entry, Flag, Plan
from batchyard.pipeline.validate import Reader, Verdict, line_errors, refusal, validate
from tests.support.memory_disk import MemoryDisk
from tests.support.request_lines import CHAT, EMBEDDINGS, a_line, an_embedding, as_line

BOM = b"\xef\xbb\xbf"


class Checked:
    """A file that was checked: its verdict, plan and errors."""

    def __init__(self, data: bytes, dialect: LineDialect | None = None, **options: Any) -> None:
        self.dialect = dialect or openai.open(openai.Config(run_id="r", endpoints=ENDPOINTS, default_model="own"))
        self.disk = MemoryDisk(file=data)
        self.progress: list[tuple[int, int]] = []
        settings: dict[str, Any] = {"dedupe": True, "on_progress": self._see, **options}
        self.verdict: Verdict = validate(self.disk, "file", "plan", self.dialect, **settings)
        self.plan = Plan.open(self.disk, "plan")
        self.entries = [entry for _, entry in self.plan.entries()]
        self.errors = list(line_errors(self.disk, "file", self.plan, self.dialect))

    def _see(self, read: int, lines: int) -> None:
        self.progress.append((read, lines))

    @property
    def codes(self) -> list[tuple[int, str]]:
        return [(error.number, error.code) for error in self.errors]


def check(*lines: bytes, **options: Any) -> Checked:
    return Checked(b"\n".join(lines) + b"\n", **options)


def test_a_file_is_counted() -> None:
    checked = check(
        a_line("a", max_tokens=5), a_line("b", model="other"), an_embedding("c"), a_line("d", stream=True), b"{"
    )
    verdict = checked.verdict
    assert (verdict.lines, verdict.invalid, verdict.error_count, verdict.followers) == (5, 2, 2, 0)
    assert verdict.by_model == {"m": 2, "other": 1}
    assert verdict.by_endpoint == {CHAT: 2, EMBEDDINGS: 1}
    assert verdict.output_tokens == 5
    assert verdict.input_tokens == sum(entry.input_tokens for entry in checked.entries) > 0
    assert verdict.bytes == len(checked.disk.files["file"])
    assert verdict.digest == xxh3_128_hexdigest(bytes(checked.disk.files["file"]))
    assert checked.codes == [(4, "streaming_unsupported"), (5, "invalid_json_line")]
    assert verdict.errors == checked.errors


@pytest.mark.parametrize("data", [b"", BOM, b"\n\r\n \t\n"])
def test_an_empty_file_has_no_lines(data: bytes) -> None:
    checked = Checked(data)
    assert checked.verdict.lines == checked.plan.lines == checked.verdict.error_count == 0
    assert checked.errors == []


def test_marks_ends_and_blank_lines_do_no_harm() -> None:
    data = BOM + a_line("a") + b"\r\n\n \t\r\n" + a_line("b") + b"\r\n" + b"{\r\n" + a_line("c")
    checked = Checked(data)
    assert [entry.number for entry in checked.entries] == [1, 4, 5, 6]
    assert checked.codes == [(5, "invalid_json_line")]
    reader = Reader(checked.disk, "file")
    assert [checked.dialect.custom_id(reader.line(entry)) for entry in checked.entries] == ["a", "b", None, "c"]


def test_a_second_use_of_an_id_names_the_first() -> None:
    checked = check(a_line("a"), b"", a_line("b"), a_line("a", n=2), a_line("b"), a_line("a"), dedupe=False)
    assert checked.codes == [(number, "duplicate_custom_id") for number in (4, 5, 6)]
    assert [error.custom_id for error in checked.errors] == ["a", "b", "a"]
    assert "line 1 " in checked.errors[0].message and "line 3 " in checked.errors[1].message
    assert checked.errors[0].param == "custom_id" and checked.errors[0].remedy
    assert (checked.verdict.invalid, checked.verdict.error_count) == (3, 3)
    assert [entry.flags for entry in checked.entries] == [0, 0, 2, 2, 2]


def test_a_repeated_id_is_told_before_a_later_fault_and_after_an_earlier_one() -> None:
    no_body = b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}'
    checked = check(a_line("a", stream=True), a_line("a", method="GET"), a_line("a", messages=5), no_body)
    assert checked.codes == [
        (1, "streaming_unsupported"),
        (2, "duplicate_custom_id"),
        (3, "duplicate_custom_id"),
        (4, "missing_required_parameter"),
    ]
    assert checked.verdict.error_count == 4 and checked.verdict.invalid == 4


def test_equal_requests_follow_the_first() -> None:
    checked = check(
        an_embedding("a", "x"), an_embedding("b", "y"), an_embedding("c", "x"), a_line("d"), a_line("e"),
        an_embedding("f", "x"), a_line("g", temperature=0), a_line("h", temperature=0),
    )  # fmt: skip
    assert [entry.leader for entry in checked.entries] == [-1, -1, 0, -1, -1, 0, -1, 6]
    assert checked.verdict.followers == checked.plan.followers == 3
    assert checked.verdict.error_count == 0


def test_without_dedupe_nobody_follows() -> None:
    checked = check(an_embedding("a"), an_embedding("b"), dedupe=False)
    assert [entry.leader for entry in checked.entries] == [-1, -1]


def test_a_line_that_cannot_run_leads_nobody() -> None:
    checked = check(an_embedding("a", "x"), an_embedding("a", "y"), an_embedding("b", "y"), an_embedding("c", "y"))
    assert [entry.flags for entry in checked.entries] == [0, 2, 0, 0]
    assert [entry.leader for entry in checked.entries] == [-1, -1, -1, 2]


def test_equal_hashes_of_different_lines_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEY", 0)
    monkeypatch.setattr(module, "BUCKET", 0)
    lines = [an_embedding(f"{number % 5}", f"{number % 3}") for number in range(12)]
    checked = check(*lines)
    first_of_id = {f"{number % 5}": number + 1 for number in reversed(range(12))}
    assert [(entry.number, entry.prefix) for entry in checked.entries if entry.flags] == [
        (number + 1, first_of_id[f"{number % 5}"]) for number in range(5, 12)
    ]
    assert [entry.leader for entry in checked.entries[:5]] == [-1, -1, -1, 0, 1]


def test_a_line_beyond_the_limit_is_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for chunk_bytes in (64, 1 << 20):
        monkeypatch.setattr(chunks, "CHUNK_BYTES", chunk_bytes)
        long = a_line("long", text="x" * 1000)
        checked = check(a_line("a"), long, a_line("b"), long, max_line_bytes=len(long) - 1)
        assert [(entry.number, entry.length, entry.flags) for entry in checked.entries if entry.flags] == [
            (2, len(long), Flag.TOO_LONG),
            (4, len(long), Flag.TOO_LONG),
        ]
        assert checked.codes == [(2, "invalid_request"), (4, "invalid_request")]
        assert "too long" in checked.errors[0].message
        assert checked.verdict.error_count == checked.verdict.invalid == 2


def test_a_line_that_the_dialect_answers_is_flagged_but_no_error() -> None:
    dialect = vllm.open(vllm.Config(run_id="r", endpoints=ENDPOINTS, default_model="m"))
    checked = check(a_line("a"), a_line("a", stream=True), a_line("a"), dialect=dialect)
    assert [entry.flags for entry in checked.entries] == [0, Flag.INVALID, 0]
    assert (checked.verdict.invalid, checked.verdict.error_count, checked.errors) == (1, 0, [])
    found = refusal(checked.entries[1], Reader(checked.disk, "file"), dialect)
    assert isinstance(found, Result) and isinstance(found.reply, Answer)


def test_only_the_first_errors_are_kept_but_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOLD_ERRORS", 3)
    checked = check(*[b"{"] * 10)
    assert [error.number for error in checked.verdict.errors] == [1, 2, 3]
    assert checked.verdict.error_count == len(checked.errors) == 10


def test_a_shared_start_is_counted_from_the_second_line_on() -> None:
    start = "word " * 200
    shared = [as_line(str(n), {"model": "m", "messages": [{"role": "user", "content": f"{start}{n}"}]}) for n in "abc"]
    assert check(*shared).verdict.shared_prefix_tokens == 2 * 128
    assert check(a_line("a", messages=["x"]), a_line("b", messages=["y"])).verdict.shared_prefix_tokens == 0


def test_progress_is_told_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 100)
    monkeypatch.setattr(module, "PROGRESS_BYTES", 1000)
    checked = check(*[a_line(str(number)) for number in range(50)])
    seen = [bytes_ for bytes_, _ in checked.progress]
    assert all(later - earlier >= 1000 for earlier, later in pairwise(seen[:-1]))
    assert len(seen) > 3
    assert checked.progress[-1] == (checked.verdict.bytes, 50)


def test_whoever_watches_may_stop_it_and_nothing_is_left() -> None:
    disk = MemoryDisk(file=a_line("a"))

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    dialect = openai.open(openai.Config(run_id="r", endpoints=ENDPOINTS))
    with pytest.raises(KeyboardInterrupt):
        validate(disk, "file", "plan", dialect, dedupe=True, on_progress=stop)
    assert set(disk.files) == {"file"}


def test_nothing_but_the_plan_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "PENDING_RECORDS", 10)
    checked = check(*[an_embedding(str(number), str(number % 40)) for number in range(100)])
    assert set(checked.disk.files) == {"file", "plan"}
    assert checked.verdict.followers == 60
    assert [entry.leader for entry in checked.entries] == [-1] * 40 + [place % 40 for place in range(40, 100)]


def test_names_beyond_a_thousand_models_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_NAMES", 2)
    checked = check(*[a_line(str(number), model=f"m{number}") for number in range(5)])
    assert checked.verdict.by_model == {"m0": 1, "m1": 1, "(others)": 3}


def test_memory_does_not_grow_with_the_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "PENDING_RECORDS", 10_000)
    monkeypatch.setattr(plan, "PENDING_MARKS", 500)
    monkeypatch.setattr(plan, "PENDING_BYTES", 1 << 16)
    monkeypatch.setattr(module, "KNOWN_PREFIXES", 100)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1 << 16)
    disk = pytest.importorskip("batchyard.disks.local").LocalDisk()
    dialect = openai.open(openai.Config(run_id="r", endpoints=ENDPOINTS))
    peaks: list[int] = []
    for count in (10_000, 30_000):
        file = tmp_path / "file"
        file.write_bytes(
            b"\n".join(an_embedding(str(number), str(number % (count * 9 // 10))) for number in range(count))
        )
        tracemalloc.start()
        try:
            validate(disk, str(file), str(tmp_path / "plan"), dialect, dedupe=True, on_progress=_ignore)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 20_000 <= 24


def _ignore(read: int, lines: int) -> None:
    return None


pieces = st.one_of(
    st.sampled_from([b"", b" ", b"\r", b"{", a_line("a"), a_line("a", stream=True), a_line("é"), an_embedding("x")]),
    st.binary(max_size=20),
    st.integers(0, 5).map(lambda number: an_embedding(str(number), str(number % 2))),
)


@given(st.lists(pieces), st.sampled_from([b"\n", b"\r\n"]), st.integers(30, 400), st.integers(60, 200))
def test_every_line_that_is_not_blank_runs_or_is_told(
    lines: list[bytes], end: bytes, chunk_bytes: int, most: int
) -> None:
    data = end.join(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK_BYTES", chunk_bytes)
        checked = Checked(data, max_line_bytes=most)

    text = data.removeprefix(BOM)
    physical = {number: line for number, line in enumerate(text.split(b"\n"), 1) if line and not line.isspace()}
    assert [entry.number for entry in checked.entries] == list(physical)
    told = {error.number for error in checked.errors}
    assert told == {entry.number for entry in checked.entries if entry.flags}
    assert checked.verdict.error_count == len(told)
    for entry in checked.entries:
        assert data[entry.offset : entry.offset + entry.length] == physical[entry.number]
        if not entry.flags:
            _can_be_asked(checked, entry)


def _can_be_asked(checked: Checked, entry: Entry) -> None:
    line = Reader(checked.disk, "file").line(entry)
    request = checked.dialect.request(0, line)
    if entry.leader >= 0:
        leader = Reader(checked.disk, "file").line(checked.entries[entry.leader])
        assert checked.dialect.request(0, leader).body == request.body
        assert checked.entries[entry.leader].leader == -1
    assert json.loads(request.body)["model"] == request.model


def test_errors_of_a_changed_file_are_not_told() -> None:
    checked = check(b"{", a_line("a"))
    checked.disk.files["file"][0:1] = b"["
    from batchyard.domain.errors import Conflict

    with pytest.raises(Conflict):
        list(line_errors(checked.disk, "file", checked.plan, checked.dialect))


def test_line_errors_are_values() -> None:
    assert all(isinstance(error, LineError) for error in check(b"[]", b"{").errors)
