"""A converted model must say the same in both engines, which know nothing of each other."""

import asyncio
from pathlib import Path

import pytest

from batchyard import demo
from tests.support import models
from tests.support.embedded import a_chat, open_llamacpp, open_openvino, told
from tools.demo_model.convert import convert, read_source


@pytest.mark.parametrize("architecture", ["Qwen2ForCausalLM", "LlamaForCausalLM"])
async def test_a_converted_model_says_the_same_everywhere(tmp_path: Path, architecture: str) -> None:
    folder = models.tiny_folder(tmp_path / "hf", demo.tokenizer_path(), architecture)
    target = tmp_path / "tiny.gguf"
    convert(folder, target, "f16")
    first: list[tuple[str, float]] = []
    for engine in (open_llamacpp(target), open_openvino(target)):
        await engine.start()
        questions = [f"What is {number} + 4?" for number in range(6)]
        replies = await asyncio.gather(
            *(engine.infer(a_chat(question, logprobs=True, max_tokens=1)) for question in questions)
        )
        await engine.close()
        tokens = [told(reply)["choices"][0]["logprobs"]["content"][0] for reply in replies]
        first.append((" ".join(token["token"] for token in tokens), sum(token["logprob"] for token in tokens)))
    assert first[0][0] == first[1][0]
    # One of the two reckons in 16 bits.
    assert first[0][1] == pytest.approx(first[1][1], abs=0.3)


def test_a_folder_s_template_is_found_wherever_it_lies(tmp_path: Path) -> None:
    folder = models.tiny_folder(tmp_path, demo.tokenizer_path(), "Qwen2ForCausalLM")
    inside = read_source(folder).chat_template
    assert inside is not None
    (folder / "tokenizer_config.json").unlink()
    assert read_source(folder).chat_template is None
    (folder / "chat_template.jinja").write_text(inside)
    assert read_source(folder).chat_template == inside
