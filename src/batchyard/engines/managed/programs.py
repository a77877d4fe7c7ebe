"""The programs that we can start: how each is called, our flags for throughput, and where it is installed.

A batch wants tokens per second, not the first token soon, so our flags ask for large batches, prefix caching and little
logging. The user's flags win over ours. They come in the spelling of `vllm run-batch` and `fastdeploy run-batch`, which
agree in the common ones, and are translated where a program calls the same thing otherwise.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchyard.engines.managed.flags import Flag, flag, number, parse, translated, without, words_of
from batchyard.transport.life import Launch

_ACCELERATORS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd")
_GENERATION = frozenset({"/v1/chat/completions", "/v1/completions"})

_OURS_ALONE: Mapping[str, None] = dict.fromkeys(
    ("--host", "--port", "--uds", "--api-key", "--model", "--model-path", "-m", "--ssl-keyfile", "--ssl-certfile")
)
"""What the user cannot choose: the program must listen where we look for it, with the model of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What one start is to be.

    `names` are the model's names in the input file; `flags` the user's, in the program's own spelling; `slots` how many
    requests it shall work on at once; `context_tokens` how long each may be, where the program wants to be told.
    """

    executable: str
    model: str
    names: tuple[str, ...]
    flags: Sequence[Flag]
    gpu: bool
    slots: int
    context_tokens: int | None
    port: int
    spare_ports: tuple[int, int, int]
    key: str
    log_folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One program.

    `variable` may name the executable; for a `module`, the Python interpreter that has it. `begin` makes the first
    words, `ours` the flags that the user may override, `environment` what is set unless the user has set it.
    `spelling` translates flags of run-batch; None drops one that means nothing here. `slots` is the usual number with
    an accelerator and without, given by `slots_flag`. `serves` is what it serves where it cannot be asked.
    """

    title: str
    executable: str
    variable: str
    install: str
    begin: Callable[[Call], tuple[str, ...]]
    ours: Callable[[Call], Sequence[Flag]]
    slots: tuple[int, int]
    slots_flag: str = "--max-num-seqs"
    module: str = ""
    takes_key: bool = True
    key_variable: str = ""
    spelling: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    environment: Callable[[Call], Mapping[str, str]] = lambda _: {}
    serves: Callable[[Sequence[Flag]], frozenset[str]] = lambda _: _GENERATION

    def flags(self, words: Sequence[str]) -> list[Flag]:
        """The user's words as flags of this program."""
        return translated(parse(words), {**self.spelling, **_OURS_ALONE})

    def ignored(self, words: Sequence[str]) -> tuple[str, ...]:
        """Names of the user's flags that have no effect on the program."""
        return tuple(
            each.name for each in parse(words) if not self.flags(each.words) and each.name != "--max-model-len"
        )

    def slots_for(self, flags: Sequence[Flag], *, gpu: bool) -> int:
        return number(flags, self.slots_flag) or self.slots[0 if gpu else 1]

    def launch(self, call: Call) -> Launch:
        """The command for one life."""
        ours = without(self.ours(call), call.flags)
        unset = {name: text for name, text in self.environment(call).items() if name not in os.environ}
        key = {self.key_variable: call.key} if self.key_variable else {}
        return Launch(
            title=f"{self.title} with {call.model}",
            words=(*self.begin(call), *words_of(ours), *words_of(call.flags)),
            port=call.port,
            key=call.key if self.takes_key else "",  # one that nobody knows: other users of the machine stay out
            environment={**unset, **key, "PYTHONUNBUFFERED": "1"},
        )

    def installed(self) -> str | None:
        """The executable: the one that the variable names, else of our own Python environment, else on PATH."""
        if named := os.environ.get(self.variable):
            return shutil.which(named)
        if not self.module:
            beside_us = str(Path(sys.executable).parent)
            return shutil.which(self.executable, path=beside_us) or shutil.which(self.executable)
        if importlib.util.find_spec(self.module.partition(".")[0]) is not None:
            return sys.executable
        script = shutil.which(self.executable)
        return shutil.which("python", path=str(Path(script).resolve().parent)) if script else None


def has_gpu() -> bool:
    return any(Path(device).exists() for device in _ACCELERATORS)


def _where(call: Call) -> tuple[str, ...]:
    return ("--host", "127.0.0.1", "--port", str(call.port))


_PARALLEL = {"-tp": "--tensor-parallel-size", "-dp": "--data-parallel-size", "-pp": "--pipeline-parallel-size"}


# vLLM: https://docs.vllm.ai, `vllm serve --help`


def _vllm_ours(call: Call) -> Sequence[Flag]:
    for_cpu = (
        () if call.gpu else (flag("--enforce-eager"),)
    )  # compiling takes a minute and a C++ compiler, gains nothing
    return (
        flag("--served-model-name", *call.names),
        flag("--max-num-seqs", call.slots),
        flag("--max-num-batched-tokens", 16384 if call.gpu else 4096),
        flag("--enable-prefix-caching"),
        flag("--enable-prompt-tokens-details"),
        flag("--no-enable-log-requests"),
        flag("--disable-uvicorn-access-log"),
        *for_cpu,
    )


def _vllm_environment(call: Call) -> Mapping[str, str]:
    cache = {} if call.gpu else {"VLLM_CPU_KVCACHE_SPACE": "4"}  # GiB; left alone, it takes most of the memory
    return {"VLLM_NO_USAGE_STATS": "1", **cache}


VLLM = Recipe(
    title="vLLM",
    executable="vllm",
    variable="BATCHYARD_VLLM",
    install="pip install vllm",
    begin=lambda call: (call.executable, "serve", call.model, *_where(call)),
    ours=_vllm_ours,
    environment=_vllm_environment,
    key_variable="VLLM_API_KEY",
    slots=(1024, 256),
    spelling=_PARALLEL,
)


# SGLang: https://docs.sglang.io/advanced_features/server_arguments.html


def _sglang_ours(call: Call) -> Sequence[Flag]:
    return (
        flag("--served-model-name", call.names[0]),
        flag("--max-running-requests", call.slots),
        flag("--schedule-policy", "lpm"),  # the longest prefix match first
        flag("--enable-cache-report"),
        flag("--log-level-http", "warning"),
    )


SGLANG = Recipe(
    title="SGLang",
    executable="sglang",
    variable="BATCHYARD_SGLANG",
    module="sglang.launch_server",
    install="pip install sglang",
    begin=lambda call: (
        *(call.executable, "-m", "sglang.launch_server", "--model-path", call.model),
        *(*_where(call), "--api-key", call.key),
    ),
    ours=_sglang_ours,
    slots=(1024, 64),
    slots_flag="--max-running-requests",
    spelling={
        "--max-num-seqs": "--max-running-requests",
        "--max-model-len": "--context-length",
        "--max-num-batched-tokens": "--max-prefill-tokens",
        **dict.fromkeys(("--tensor-parallel-size", "-tp"), "--tp-size"),
        **dict.fromkeys(("--data-parallel-size", "-dp"), "--dp-size"),
        **dict.fromkeys(("--pipeline-parallel-size", "-pp"), "--pp-size"),
        "--gpu-memory-utilization": "--mem-fraction-static",
        "--tokenizer": "--tokenizer-path",
        "--seed": "--random-seed",
        "--enforce-eager": "--disable-cuda-graph",
        "--no-enable-prefix-caching": "--disable-radix-cache",
        **dict.fromkeys(("--enable-prefix-caching", "--enable-chunked-prefill")),  # always on
        "--default-chat-template-kwargs": None,
    },
)


# FastDeploy: https://github.com/PaddlePaddle/FastDeploy/blob/develop/docs/parameters.md


def _fastdeploy_ours(call: Call) -> Sequence[Flag]:
    queue, cache, metrics = call.spare_ports
    return (
        flag("--max-num-seqs", call.slots),
        flag("--max-concurrency", 2048),
        flag("--enable-prefix-caching"),
        flag("--engine-worker-queue-port", queue),
        flag("--cache-queue-port", cache),
        flag("--metrics-port", metrics),
    )


FASTDEPLOY = Recipe(
    title="FastDeploy",
    executable="fastdeploy",
    variable="BATCHYARD_FASTDEPLOY",
    module="fastdeploy.entrypoints.openai.api_server",
    install="see its installation guide",
    begin=lambda call: (
        *(call.executable, "-m", "fastdeploy.entrypoints.openai.api_server", "--model", call.model),
        *_where(call),
    ),
    ours=_fastdeploy_ours,
    environment=lambda call: {"FD_LOG_DIR": call.log_folder},
    slots=(256, 8),
    takes_key=False,  # older versions know no key
    spelling={**_PARALLEL, "--served-model-name": None},  # without a served name it answers to any
)


# llama-server: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md


_LLAMA_CONTEXT = 4096


def _llama_begin(call: Call) -> tuple[str, ...]:
    is_file = call.model.endswith(".gguf") or Path(call.model).exists()
    return (call.executable, "--model" if is_file else "--hf-repo", call.model, *_where(call))


def _llama_ours(call: Call) -> Sequence[Flag]:
    on_gpu = (flag("--n-gpu-layers", 999),) if call.gpu else ()
    return (
        flag("--alias", call.names[0]),
        flag("--parallel", call.slots),
        flag("--ctx-size", call.slots * (call.context_tokens or _LLAMA_CONTEXT)),  # shared out among the slots
        flag("--cont-batching"),
        flag("--jinja"),
        flag("--no-webui"),
        *on_gpu,
    )


def _llama_serves(flags: Sequence[Flag]) -> frozenset[str]:
    given = {each.name for each in flags}
    if "--embeddings" in given:
        return frozenset({"/v1/embeddings"})
    return frozenset({"/v1/rerank"}) if "--reranking" in given else _GENERATION


LLAMA_SERVER = Recipe(
    title="llama-server",
    executable="llama-server",
    variable="BATCHYARD_LLAMA_SERVER",
    install="see the releases of llama.cpp",
    begin=_llama_begin,
    ours=_llama_ours,
    environment=lambda _: {"OMP_WAIT_POLICY": "passive"},
    key_variable="LLAMA_API_KEY",
    slots=(64, 8),
    slots_flag="--parallel",
    serves=_llama_serves,
    spelling={
        **dict.fromkeys(("--max-num-seqs", "-np"), "--parallel"),
        "--max-num-batched-tokens": "--batch-size",
        "--served-model-name": "--alias",
        "-c": "--ctx-size",
        "-ngl": "--n-gpu-layers",
        "--embedding": "--embeddings",
        "--rerank": "--reranking",
        "--max-model-len": None,  # a part of --ctx-size
        "--chat-template": "--chat-template-file",
        "--default-chat-template-kwargs": "--chat-template-kwargs",
        **dict.fromkeys(("--tensor-parallel-size", "--data-parallel-size", "--pipeline-parallel-size", *_PARALLEL)),
        **dict.fromkeys(("--gpu-memory-utilization", "--dtype", "--quantization", "--tokenizer", "--revision")),
        **dict.fromkeys(("--trust-remote-code", "--enforce-eager", "--enable-prefix-caching")),
        **dict.fromkeys(("--no-enable-prefix-caching", "--enable-chunked-prefill", "--kv-cache-dtype")),
    },
)

RECIPES: Mapping[str, Recipe] = {
    "vllm": VLLM,
    "sglang": SGLANG,
    "fastdeploy": FASTDEPLOY,
    "llama-server": LLAMA_SERVER,
}
