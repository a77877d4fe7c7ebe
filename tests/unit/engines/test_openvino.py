"""What only the openvino engine does, or does not do."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from batchyard import demo
from batchyard.engines import openvino
from batchyard.workers.gguf import read_gguf
from tests.support.embedded import a_chat, a_request, open_openvino, refused, text, told
from tests.unit.engines.conftest import Started

SAVE = """
import sys
sys.modules["openvino_telemetry"] = None
import openvino_genai
scheduler = openvino_genai.SchedulerConfig()
scheduler.num_kv_blocks = 8
openvino_genai.LLMPipeline(sys.argv[1], "CPU", scheduler_config=scheduler, enable_save_ov_model=True)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model as an OpenVINO folder, as optimum-intel lays one out."""
    folder = tmp_path_factory.mktemp("demo-ir")
    model = folder / "demo.gguf"
    model.write_bytes(demo.model_path().read_bytes())
    subprocess.run([sys.executable, "-c", SAVE, str(model)], check=True, capture_output=True)
    model.unlink()
    (folder / "tokenizer.json").write_bytes(demo.tokenizer_path().read_bytes())
    template = read_gguf(demo.model_path()).chat_template
    settings = {"chat_template": template, "eos_token": "<|im_end|>"}
    config = {"max_position_embeddings": 512, "eos_token_id": 2, "num_hidden_layers": 3, "num_attention_heads": 8}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 256, "num_key_value_heads": 4}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 0]}))
    return folder


async def test_an_openvino_folder_is_answered_like_the_file_it_was_made_from(folder: Path) -> None:
    assert openvino.can_load(str(folder)) is None
    engine = open_openvino(folder)
    abilities = await engine.start()
    assert abilities.context_tokens == 512
    for a in range(5):
        assert text(await engine.infer(a_chat(f"What is {a} + 40?"))) == str(a + 40)
    await engine.close()


async def test_a_model_with_a_rebuilt_tokenizer_answers_as_well(started: Started, tmp_path: Path) -> None:
    alone = tmp_path / "alone.gguf"
    alone.write_bytes(demo.model_path().read_bytes())
    engine = await started("openvino", model=alone)
    assert text(await engine.infer(a_chat("What is 30 + 40?"))) == "70"


async def test_what_it_cannot_do_is_refused_up_front(started: Started) -> None:
    engine = await started("openvino")
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    bodies: dict[str, dict[str, Any]] = {
        "tools": {"tools": [tool]},
        "top_logprobs": {"logprobs": True, "top_logprobs": 2},
        "logit_bias": {"logit_bias": {"25": -100}},
    }
    assert set(bodies) <= openvino.WITHOUT
    for param, body in bodies.items():
        assert refused(await engine.infer(a_chat(**body)))["param"] == param
    assert text(await engine.infer(a_chat(tools=[tool], tool_choice="none"))) == "7"
    for field, value in (("echo", True), ("suffix", "x"), ("best_of", 4)):
        asked: dict[str, Any] = {"prompt": "What is", field: value}
        assert refused(await engine.infer(a_request("/v1/completions", **asked)))["param"] == field
        assert field in openvino.WITHOUT


async def test_a_schema_that_only_the_compiler_can_refuse_never_reaches_the_pipeline(started: Started) -> None:
    engine = await started("openvino")
    schemas: list[dict[str, Any]] = [{"$ref": "#/nowhere"}, {"type": "string", "pattern": "(("}, {"enum": []}]
    for schema in schemas:
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        assert refused(await engine.infer(a_chat(response_format=form)))["code"] == "invalid_json_schema"


async def test_prompts_of_ids_must_be_the_model_s_own(started: Started) -> None:
    engine = await started("openvino")
    assert refused(await engine.infer(a_request("/v1/completions", prompt=[5, 500_000])))["param"] == "prompt"
    body = told(await engine.infer(a_request("/v1/completions", prompt=[5, 6], max_tokens=1, temperature=0)))
    assert body["usage"]["prompt_tokens"] == 2


async def test_nothing_is_written_into_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO's telemetry would keep an id there, and call home with it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    engine = open_openvino()
    await engine.start()
    await engine.close()
    assert not os.listdir(tmp_path)
