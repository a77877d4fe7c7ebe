"""The command with a run that is scripted: what it is told, what it says, and how it exits."""

import asyncio
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec import Struct
from typer.testing import CliRunner

import batchyard
from batchyard.cli.main import app
from batchyard.config import Compat, EngineFlag, Images, ImageSettings, OnInvalidLine, Order, RunOptions
from batchyard.domain.errors import BadLines, Unavailable
from batchyard.domain.line import LineError
from batchyard.pipeline.stop import Stop, Stopped
from batchyard.pipeline.tally import Tally


class End(Struct):
    complete: bool = True
    succeeded: int = 2
    errored: int = 0
    lines: int = 2
    already: bool = False


class Shell:
    """Types commands; `seen` are the options of each run, `behave` is what a run does."""

    def __init__(self) -> None:
        self.seen: list[RunOptions] = []
        self.engine = "llamacpp"
        self.behave: Callable[[Tally, Stop], End] = lambda tally, stop: End()

    async def run_batch(self, options: RunOptions, tally: Tally, stop: Stop) -> End:
        self.seen.append(options)
        tally.stage, tally.lines = "running", 2
        await asyncio.sleep(0)
        return self.behave(tally, stop)

    def engine_name(self, options: RunOptions) -> str:
        return self.engine

    def type(self, line: str) -> tuple[int, str]:
        """Exit code, and everything printed."""
        done = CliRunner().invoke(app, shlex.split(line))
        return done.exit_code, done.output

    def options(self, line: str) -> RunOptions:
        code, text = self.type(f"run-batch -i in.jsonl -o out.jsonl {line}")
        assert code == 0, text
        return self.seen[-1]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    shell = Shell()
    wiring = SimpleNamespace(run_batch=shell.run_batch, engine_name=shell.engine_name)
    monkeypatch.setitem(sys.modules, "batchyard.wiring", wiring)
    monkeypatch.setattr(batchyard, "wiring", wiring, raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text("{}\n")
    return shell


def test_the_plain_command_has_the_defaults_of_a_run(shell: Shell) -> None:
    assert shell.options("") == RunOptions(input="in.jsonl", output="out.jsonl")


def test_run_is_run_batch(shell: Shell) -> None:
    assert shell.type("run -i in.jsonl -o out.jsonl")[0] == 0


def test_every_flag_arrives(shell: Shell) -> None:
    options = shell.options(
        "--model m.gguf --served-model-name a b --engine openvino --upstream http://h/v1 --upstream http://i/v1"
        " --api-key-env KEY --slots 4 --max-model-len 32K --threads 2 --chat-template t.jinja --seed 7"
        " --chat-template-kwargs.enable_thinking false --engine-start-timeout 90 --compat vllm"
        " --on-invalid-line error-line --order completion --no-dedupe --max-inflight 9 --retries 1"
        " --request-timeout 2.5 --fresh --error-file e.jsonl --run-dir r --output-tmp-dir t"
    )
    assert (options.model, options.served_names, options.engine) == ("m.gguf", ("a", "b"), "openvino")
    assert options.upstreams == ("http://h/v1", "http://i/v1") and options.api_key_env == "KEY"
    assert (options.slots, options.context_tokens, options.threads, options.seed) == (4, 32768, 2, 7)
    assert (options.chat_template, options.template_arguments) == ("t.jinja", '{"enable_thinking": false}')
    assert options.engine_start_seconds == 90 and options.compat is Compat.VLLM
    assert options.on_invalid_line is OnInvalidLine.ERROR_LINE and options.order is Order.COMPLETION
    assert not options.dedupe and options.fresh
    sent = options.dispatch
    assert (sent.max_inflight, sent.retries, sent.request_timeout_seconds) == (9, 1, 2.5)
    assert (options.errors, options.run_folder, options.staging_folder) == ("e.jsonl", "r", "t")


@pytest.mark.parametrize(
    "line",
    [
        "--model MODEL_DIR --served-model-name bench --dtype bfloat16 --max-model-len 1024 --max-num-seqs 256"
        " --enforce-eager",
        "--model m --max-num-seqs 1024 --max-num-batched-tokens 16384",
        "--output-tmp-dir tmp --max-inflight 64 --enable-metrics --host 0.0.0.0 --port 8000 --url 0.0.0.0 --model m",
        "--model m --response-role assistant --chat-template x --chat-template-content-format auto"
        " --default-chat-template-kwargs '{}' --trust-request-chat-template --lora-modules a=b c=d"
        " --enable-auto-tool-choice --tool-call-parser hermes --tool-parser-plugin p --enable-prompt-tokens-details"
        " --enable-force-include-usage --max-log-len 10 --enable-log-outputs --return-tokens-as-token-ids",
        "--model m --tensor-parallel-size 2 --data-parallel-size 2 --gpu-memory-utilization 0.9 --reasoning-parser r"
        " --enable-lora --allowed-media-domains a.org b.org --allowed-local-media-path / --seed 0",
        "--model m --max-num-queued-reqs 5 --max-num-queued-tokens 5 --hf-overrides.a.b 1 --override-x+ 2 -tp 2 -O3",
        "--model m --max_model_len 25.6k --max-num_seqs 8 --limit-mm-per-prompt '{\"image\": 2}'",
        "--max-waiting-time -1 --port 8000 --workers 4 --max-concurrency 512 --enable-mm-output --model m",
        "--model m --revision r --tokenizer t --quantization wint4 --kv-cache-ratio 0.75 --block-size 64"
        " --enable-prefix-caching --enable-chunked-prefill --engine-worker-queue-port 8002 --cache-queue-port 8003"
        " --metrics-port 8001 --load-choices default --guided-decoding-backend off --speculative-config '{}'"
        " --graph-optimization-config '{}' --enable-logprob --splitwise-role mixed",
    ],
)
def test_command_lines_of_other_runners_run_as_they_stand(shell: Shell, line: str) -> None:
    assert shell.options(line).model is not None


def test_flags_of_other_names_mean_ours_and_programs_get_theirs(shell: Shell) -> None:
    options = shell.options("--model m --max-num-seqs 8 --max-concurrency 64 -tp 2 --max-waiting-time -1 --port 1")
    assert (options.slots, options.dispatch.max_inflight, options.engine_start_seconds) == (8, 64, -1)
    assert options.engine_flags == (EngineFlag("-tp", ("2",)), EngineFlag("--max-num-seqs", ("8",)))


def test_where_pictures_may_come_from_is_said_by_flags_and_vllm_s_own_means_the_same(shell: Shell) -> None:
    plain = shell.options("--model m")
    assert (plain.images, plain.image_settings) == (Images.FETCH, ImageSettings())
    options = shell.options(
        "--model m --images pass --image-allow-private 10.0.0.0/8 --image-allow-private a.internal"
        " --allowed-media-domains a.internal b.example"
    )
    places, hosts = ("10.0.0.0/8", "a.internal"), ("a.internal", "b.example")
    assert options.images is Images.PASS
    assert options.image_settings == ImageSettings(allow_private=places, only_hosts=hosts)
    assert options.engine_flags == (EngineFlag("--allowed-media-domains", hosts),), "vLLM fetches for itself then"


def test_what_is_ignored_is_named_in_one_line(shell: Shell) -> None:
    _, text = shell.type("run -i in.jsonl -o out.jsonl --dtype half --enforce-eager --api-key sk-secret")
    warnings = [line for line in text.splitlines() if "Ignored" in line]
    assert warnings == ["Ignored with the engine llamacpp: --dtype, --enforce-eager, --api-key"]
    assert "sk-secret" not in text


def test_what_this_engine_does_not_heed_is_named_too(shell: Shell) -> None:
    shell.engine = "http"
    _, text = shell.type("run -i in.jsonl -o out.jsonl --max-num-seqs 8 --seed 1 --dtype half")
    assert "Ignored with the engine http: --max-num-seqs, --seed, --dtype" in text
    shell.engine = "llamacpp"
    assert "Ignored" not in shell.type("run -i in.jsonl -o out.jsonl --max-num-seqs 8")[1]


def test_a_program_gets_its_flags_without_a_word(shell: Shell) -> None:
    shell.engine = "vllm"
    assert "Ignored" not in shell.type("run -i in.jsonl -o out.jsonl --dtype half")[1]


@pytest.mark.parametrize(
    "line",
    ["--max-inflight 0", "--retries -1", "--max-model-len 1.5K", "--compat other", "--model", "stray", "--slots many"],
)
def test_bad_usage_is_2_and_runs_nothing(shell: Shell, line: str) -> None:
    code, text = shell.type(f"run-batch -i in.jsonl -o out.jsonl {line}")
    assert (code, shell.seen) == (2, []), text


def test_missing_files_are_bad_usage(shell: Shell) -> None:
    assert shell.type("run-batch -i in.jsonl")[0] == 2


def test_a_place_that_cannot_be_used_stops_the_run_before_it_begins(shell: Shell) -> None:
    code, text = shell.type("run -i in.jsonl -o in.jsonl")
    assert code == 1 and "same file" in text and shell.seen == []


def test_flags_go_before_the_environment(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHYARD_MODEL", "from-environment")
    monkeypatch.setenv("BATCHYARD_UPSTREAM", "http://a/v1 http://b/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    options = shell.options("")
    assert options.model == "from-environment" and options.upstreams == ("http://a/v1", "http://b/v1")
    assert options.api_key_env == "OPENAI_API_KEY"
    assert shell.options("--model from-flag").model == "from-flag"


def test_failed_lines_are_3_unless_another_runner_is_played(shell: Shell) -> None:
    shell.behave = lambda tally, stop: End(errored=1)
    assert shell.type("run -i in.jsonl -o out.jsonl")[0] == 3
    assert shell.type("run -i in.jsonl -o out.jsonl --compat vllm")[0] == 0
    assert shell.type("run -i in.jsonl -o out.jsonl --compat fastdeploy")[0] == 0


def failing(error: Exception) -> Callable[[Tally, Stop], End]:
    def behave(tally: Tally, stop: Stop) -> End:
        raise error

    return behave


def test_a_run_that_cannot_run_is_1_and_says_what_to_do(shell: Shell) -> None:
    shell.behave = failing(Unavailable("The engine did not start.", remedy="Free some memory."))
    code, text = shell.type("run -i in.jsonl -o out.jsonl --summary s.json")
    assert code == 1 and "The engine did not start." in text and "Free some memory." in text
    assert json.loads(Path("s.json").read_text())["error"]["code"] == "unavailable"


def test_an_error_out_of_a_group_of_tasks_is_told_as_itself(shell: Shell) -> None:
    shell.behave = failing(ExceptionGroup("tasks", [ExceptionGroup("inner", [Unavailable("The disk is full.")])]))
    code, text = shell.type("run -i in.jsonl -o out.jsonl")
    assert code == 1 and "batchyard: The disk is full." in text and "Traceback" not in text


def test_our_own_fault_is_shown_with_its_trace(shell: Shell) -> None:
    shell.behave = failing(KeyError("oops"))
    code, text = shell.type("run -i in.jsonl -o out.jsonl")
    assert code == 1 and "Traceback" in text and "fault of Batchyard" in text


def test_bad_lines_are_named(shell: Shell) -> None:
    errors = [LineError(number=n, code="invalid_json", message="No JSON.", param="body") for n in range(1, 31)]
    shell.behave = failing(BadLines("30 lines cannot run.", errors, count=1000))
    code, text = shell.type("run -i in.jsonl -o out.jsonl")
    assert code == 1 and "line 1: body: invalid_json: No JSON." in text
    assert "line 21:" not in text and "980 more: batchyard validate in.jsonl" in text


def test_a_stopped_run_is_130_and_says_how_to_go_on(shell: Shell) -> None:
    shell.behave = lambda tally, stop: End(complete=False)
    code, text = shell.type("run -i in.jsonl -o out.jsonl")
    assert code == 130 and "run the same command again" in text
    assert "without --fresh" in shell.type("run -i in.jsonl -o out.jsonl --fresh")[1]


def test_a_run_with_nothing_left_to_do_says_so(shell: Shell) -> None:
    shell.behave = lambda tally, stop: End(already=True)
    code, text = shell.type("run -i in.jsonl -o out.jsonl")
    assert code == 0 and "Nothing was left to do" in text


def test_a_step_that_gave_up_is_a_stop(shell: Shell) -> None:
    shell.behave = failing(ExceptionGroup("tasks", [Stopped()]))
    assert shell.type("run -i in.jsonl -o out.jsonl")[0] == 130


def test_the_summary_is_written_with_the_exit_code(shell: Shell) -> None:
    shell.behave = lambda tally, stop: End(errored=1)
    shell.type("run -i in.jsonl -o out.jsonl --summary s.json --price-in 1")
    written = json.loads(Path("s.json").read_text())
    assert written["exit_code"] == 3 and written["lines"]["errored"] == 1 and written["cost"] == 0


def test_nothing_goes_to_standard_output(shell: Shell) -> None:
    shell.behave = lambda tally, stop: End(errored=1)
    done = CliRunner().invoke(app, ["run", "-i", "in.jsonl", "-o", "-", "--dtype", "half"])
    assert done.stdout == "" and "answered" in done.stderr
