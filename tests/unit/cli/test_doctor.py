import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from batchyard.cli import doctor, installed, machine
from batchyard.cli.finding import Finding, Level
from batchyard.cli.main import app


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def test_the_report_is_one_document_with_every_subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "_trouble_loading", lambda modules: None)  # pyright: ignore
    done = CliRunner().invoke(app, ["doctor", "--json", "--folder", str(tmp_path)])
    report = json.loads(done.stdout)
    assert set(report) == {"batchyard", "healthy", "findings"}
    for finding in report["findings"]:
        assert set(finding) == {"subject", "level", "text", "remedy", "facts"}
        assert finding["level"] in list(Level)
    subjects = {finding["subject"] for finding in report["findings"]}
    assert subjects >= {"system", "cores", "memory", "open_files", "disk", "disk.sync", "accelerator"}
    assert subjects >= {"engine.llamacpp", "engine.openvino", "models.demo", "models.cache"}
    assert done.exit_code == (0 if report["healthy"] else 1)


def test_something_wrong_is_1_and_has_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Finding(subject="disk", level=Level.WRONG, text="no room", remedy="make some")
    monkeypatch.setattr(doctor, "examine", lambda folder: [wrong])  # pyright: ignore
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1 and "no room" in done.stdout and "make some" in done.stdout


def test_a_folder_that_is_not_there_is_wrong(tmp_path: Path) -> None:
    (finding,) = machine.disk(str(tmp_path / "gone"))
    assert finding.level is Level.WRONG and "--folder" in finding.remedy


def test_a_control_group_cuts_cores_and_memory(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text(f"{4 << 30}\n")
    (tmp_path / "memory.current").write_text(f"{(4 << 30) - (512 << 20)}\n")
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n")
    assert machine.usable_cores(tmp_path) == 0.5
    found = machine.memory(meminfo, tmp_path)
    assert found.facts["free_bytes"] == 512 << 20 and found.level is Level.WARNING


def test_without_a_control_group_the_machine_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n")
    assert machine.memory(meminfo, tmp_path).facts["free_bytes"] == 16 << 30


def test_spinning_threads_are_warned_of() -> None:
    found = list(machine.openmp({"OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": "64"}, cores=2))
    assert [finding.remedy for finding in found] == ["unset OMP_WAIT_POLICY", "unset OMP_NUM_THREADS"]
    assert list(machine.openmp({"OMP_NUM_THREADS": "2"}, cores=2)) == []


def test_accelerators_are_read_from_their_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100, 81559, 80000, 570.1'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (found,) = machine.accelerators()
    assert found.level is Level.OK and found.facts["name"] == "NVIDIA H100"
    tool.write_text("#!/bin/sh\nexit 9\n")
    (broken,) = machine.accelerators()
    assert broken.level is Level.WARNING


def test_engines_are_told_apart_as_missing_broken_and_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brokenengine.py").write_text("raise OSError('libfoo.so is missing')\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert installed.embedded("openvino", ["no_such_engine"]).level is Level.NOTE
    broken = installed.embedded("x", ["brokenengine"])
    assert broken.level is Level.WRONG and "libfoo.so is missing" in broken.text
    assert installed.embedded("x", ["json"]).level is Level.OK


def test_without_any_engine_something_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, modules: list[str]) -> Finding:
        return Finding(subject=f"engine.{name}", level=Level.NOTE, text="missing", remedy="install it")

    monkeypatch.setattr(installed, "embedded", missing)
    monkeypatch.setattr(installed, "program", lambda name: None)  # pyright: ignore
    found = by_subject(list(installed.look_at_engines(accelerator=True)))
    assert found["engine.llamacpp"].level is Level.WRONG and "--upstream" in found["engine.llamacpp"].remedy
    assert found["engine.accelerated"].level is Level.WARNING


def test_programs_are_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "llama-server").write_text("#!/bin/sh\n")
    (tmp_path / "llama-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = installed.program("llama-server")
    assert found is not None and found.facts["program"] == str(tmp_path / "llama-server")


def test_models_in_the_hub_cache_are_named(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--org--name" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (tmp_path / "models--org--empty").mkdir()
    found = by_subject(list(installed.look_at_models({"HF_HUB_CACHE": str(tmp_path)})))
    assert found["models.cache"].facts["models"] == ["org/name"]


def test_the_hub_cache_is_where_the_hub_says() -> None:
    assert installed.hub_cache({"HF_HOME": "/h"}) == Path("/h/hub")
    assert installed.hub_cache({"HF_HUB_CACHE": "/c", "HF_HOME": "/h"}) == Path("/c")
    assert installed.hub_cache({}) == Path("~/.cache/huggingface/hub").expanduser()


def test_the_key_itself_is_never_shown() -> None:
    (found,) = installed.look_at_upstream({"OPENAI_API_KEY": "sk-secret"})
    assert "sk-secret" not in found.text
