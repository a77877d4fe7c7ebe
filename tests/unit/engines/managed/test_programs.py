"""What each program is called with."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from batchyard.engines.managed.flags import number, parse
from batchyard.engines.managed.programs import RECIPES, Call, Recipe


def words(
    recipe: Recipe, *given: str, gpu: bool = True, model: str = "org/name", names: Sequence[str] = ()
) -> list[str]:
    flags = recipe.flags(given)
    call = Call(
        executable="/opt/program",
        model=model,
        names=tuple(names) or (model,),
        flags=flags,
        gpu=gpu,
        slots=recipe.slots_for(flags, gpu=gpu),
        context_tokens=number(parse(given), "--max-model-len"),
        port=8123,
        spare_ports=(1, 2, 3),
        key="secret",
        log_folder="/logs",
    )
    return list(recipe.launch(call).words)


def value(command: Sequence[str], name: str) -> str:
    assert command.count(name) == 1, f"{name} once in {command}"
    return command[command.index(name) + 1]


@pytest.mark.parametrize("name", RECIPES)
def test_every_program_listens_on_loopback_only(name: str) -> None:
    command = words(RECIPES[name], "--host", "0.0.0.0", "--port=9")
    assert value(command, "--host") == "127.0.0.1"
    assert value(command, "--port") == "8123"


@pytest.mark.parametrize("name", RECIPES)
def test_the_users_number_of_sequences_replaces_ours(name: str) -> None:
    recipe = RECIPES[name]
    ours, theirs = words(recipe), words(recipe, "--max_num_seqs", "7")
    assert value(theirs, recipe.slots_flag) == "7" != value(ours, recipe.slots_flag)
    assert recipe.slots_for(recipe.flags(["--max-num-seqs", "7"]), gpu=True) == 7


def test_vllm_is_asked_for_throughput() -> None:
    command = words(RECIPES["vllm"], names=["a", "b"])
    assert command[:3] == ["/opt/program", "serve", "org/name"]
    assert value(command, "--max-num-seqs") == "1024"
    assert value(command, "--max-num-batched-tokens") == "16384"
    assert command[command.index("--served-model-name") + 1 :][:2] == ["a", "b"]
    assert {"--enable-prefix-caching", "--no-enable-log-requests"} <= set(command)
    assert "--enforce-eager" not in command


def test_vllm_on_a_processor_is_asked_for_less() -> None:
    command = words(RECIPES["vllm"], gpu=False)
    assert value(command, "--max-num-seqs") == "256"
    assert "--enforce-eager" in command


def test_a_negated_flag_of_the_user_silences_ours() -> None:
    command = words(RECIPES["vllm"], "--no-enable-prefix-caching", gpu=False)
    assert "--enable-prefix-caching" not in command
    assert "--no-enable-prefix-caching" in command


def test_sglang_is_given_run_batch_flags_under_its_own_names() -> None:
    command = words(RECIPES["sglang"], "--max-model-len", "4096", "-tp", "2", "--gpu-memory-utilization", "0.8")
    assert command[1:3] == ["-m", "sglang.launch_server"]
    assert value(command, "--model-path") == "org/name"
    assert value(command, "--context-length") == "4096"
    assert value(command, "--tp-size") == "2"
    assert value(command, "--mem-fraction-static") == "0.8"
    assert value(command, "--schedule-policy") == "lpm"


def test_fastdeploy_takes_its_own_flags_as_they_are_and_ports_that_are_free() -> None:
    command = words(
        RECIPES["fastdeploy"], "--max-model-len", "8192", "--tensor-parallel-size", "2", "--quantization=wint4"
    )
    assert command[1:3] == ["-m", "fastdeploy.entrypoints.openai.api_server"]
    assert value(command, "--max-model-len") == "8192"
    assert value(command, "--tensor-parallel-size") == "2"
    assert value(command, "--quantization") == "wint4"
    assert value(command, "--engine-worker-queue-port") == "1"


def test_llama_server_shares_its_context_out_among_its_slots() -> None:
    command = words(RECIPES["llama-server"], "-np", "4", "--max-model-len", "2048", model="x.gguf")
    assert value(command, "--model") == "x.gguf"
    assert value(command, "--parallel") == "4"
    assert value(command, "--ctx-size") == str(4 * 2048)


def test_llama_server_fetches_what_is_not_a_file() -> None:
    assert value(words(RECIPES["llama-server"], model="org/name-GGUF"), "--hf-repo") == "org/name-GGUF"


def test_llama_server_with_embeddings_serves_only_these() -> None:
    recipe = RECIPES["llama-server"]
    assert recipe.serves(recipe.flags(["--embedding"])) == {"/v1/embeddings"}


@pytest.mark.parametrize("name", RECIPES)
def test_flags_that_mean_nothing_are_named(name: str) -> None:
    assert "--port" in RECIPES[name].ignored(["--port", "8000", "--max-num-seqs", "8"])
    assert "--max-num-seqs" not in RECIPES[name].ignored(["--port", "8000", "--max-num-seqs", "8"])


@pytest.mark.parametrize("name", ["vllm", "llama-server"])
def test_the_key_does_not_stand_on_the_command_line(name: str) -> None:
    assert "secret" not in words(RECIPES[name])


def test_a_variable_names_the_executable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "my-vllm"
    program.write_text("#!/bin/sh\n")
    monkeypatch.setenv("BATCHYARD_VLLM", str(program))
    assert RECIPES["vllm"].installed() is None, "not executable"
    program.chmod(0o755)
    assert RECIPES["vllm"].installed() == str(program)


def test_a_program_on_the_path_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "elsewhere" / "python"))
    monkeypatch.delenv("BATCHYARD_LLAMA_SERVER", raising=False)
    assert RECIPES["llama-server"].installed() is None
    (tmp_path / "llama-server").write_text("#!/bin/sh\n")
    (tmp_path / "llama-server").chmod(0o755)
    assert RECIPES["llama-server"].installed() == str(tmp_path / "llama-server")


def test_a_module_is_run_by_the_interpreter_beside_its_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BATCHYARD_SGLANG", raising=False)
    for name in ("sglang", "python"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert RECIPES["sglang"].installed() == str(tmp_path / "python")
