"""Train the demo model from its corpus.

    python -m tools.demo_model.train FOLDER MINUTES [SEED]

writes a Hugging Face folder: weights, tokenizer, chat template, and `held-out.json` with its score on questions that it
never saw. Needs torch and transformers (`README.md` beside this file says which). Nine minutes on two cores are enough.
"""

import json
import math
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from tools.demo_model.corpus import QUESTIONS, SYSTEM_PROMPTS, draw

VOCABULARY = 1024
CONTEXT_TOKENS = 1024
BATCH = 64
LEARNING_RATE = 2e-3
LAST_SHARE = 0.02
"""What is left of the learning rate at the end of its cosine."""

WARM_UP_STEPS = 100
SYSTEM_SHARE = 0.15
"""How many of the examples carry a system prompt."""

HELD_OUT_PER_KIND = 100
NOT_LEARNED = -100
"""The label of positions that do not count: only answers are learned."""

PAD, BEGIN, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

CHAT_TEMPLATE = (
    "{% for m in messages %}{{'<|im_start|>'+m['role']+'\n'+m['content']+'<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"
)

Pair = tuple[list[int], list[int]]
"""Token ids of a prompt and of its answer."""


def train(folder: Path, minutes: float, seed: int = 0) -> None:
    """Train for so long and write everything that `convert` needs."""
    torch.manual_seed(seed)
    source = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(source)
    words = save_tokenizer(tokenizer, folder)
    model = make_model(words)
    learn(model, examples(tokenizer, source), minutes * 60)
    save_model(model, folder)
    score = held_out_score(model, tokenizer, random.Random(seed + 1))
    (folder / "held-out.json").write_text(json.dumps(score, indent=1) + "\n")
    print(score, flush=True)


def make_tokenizer(source: random.Random) -> Tokenizer:
    """Byte-level BPE of the corpus. No digit ever merges with another, which is why sums can be learned."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    blank = str.maketrans("0123456789", " " * 10)
    texts = [f"{e.question} {e.answer}".translate(blank) for e in (draw(source) for _ in range(20000))]
    texts += ["user system assistant", *SYSTEM_PROMPTS] * 50
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> int:
    """Write it, and return the size of the vocabulary, rounded up to what quantization wants."""
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT_TOKENS,
    )
    fast.save_pretrained(folder)
    # Older engines look for both here.
    _amend(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast", chat_template=CHAT_TEMPLATE)
    return math.ceil(len(fast) / 32) * 32


def make_model(words: int) -> Any:
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=words,
            hidden_size=256,
            intermediate_size=512,
            num_hidden_layers=3,
            num_attention_heads=8,
            num_key_value_heads=4,
            max_position_embeddings=CONTEXT_TOKENS,
            tie_word_embeddings=False,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=2,
            initializer_range=0.04,
        )
    )


def examples(tokenizer: Tokenizer, source: random.Random) -> Iterator[Pair]:
    """Questions without end, as chats."""
    while True:
        example = draw(source)
        system = source.choice(SYSTEM_PROMPTS) if source.random() < SYSTEM_SHARE else None
        prompt = tokenizer.encode(as_chat(example.question, system)).ids
        yield prompt, tokenizer.encode(f"{example.answer}{END}").ids


def as_chat(question: str, system: str | None = None) -> str:
    before = "" if system is None else f"{BEGIN}system\n{system}{END}\n"
    return f"{before}{BEGIN}user\n{question}{END}\n{BEGIN}assistant\n"


def learn(model: Any, pairs: Iterator[Pair], seconds: float) -> None:
    """Steps of one batch, with a learning rate that falls as the time runs out."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    start = time.perf_counter()
    step = 0
    while (gone := (time.perf_counter() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, gone)
        optimizer.zero_grad()
        loss = loss_of(model, [next(pairs) for _ in range(BATCH)])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(f"step {step}, {gone:.0%} of the time, loss {loss.item():.4f}", flush=True)


def learning_rate(step: int, gone: float) -> float:
    """A short warm-up, then a cosine over the time that is given."""
    cosine = 0.5 * (1 + math.cos(math.pi * gone))
    return LEARNING_RATE * min(1.0, (step + 1) / WARM_UP_STEPS) * (cosine * (1 - LAST_SHARE) + LAST_SHARE)


def loss_of(model: Any, pairs: Sequence[Pair]) -> torch.Tensor:
    """Mean loss per token of the answers. Padding is on the right, so causal attention needs no mask."""
    longest = max(len(prompt) + len(answer) for prompt, answer in pairs)
    ids = torch.zeros(len(pairs), longest, dtype=torch.long)
    labels = torch.full((len(pairs), longest), NOT_LEARNED)
    for row, (prompt, answer) in enumerate(pairs):
        whole = prompt + answer
        ids[row, : len(whole)] = torch.tensor(whole)
        labels[row, len(prompt) - 1 : len(whole) - 1] = torch.tensor(answer)
    learned = labels != NOT_LEARNED
    with torch.autocast("cpu", torch.bfloat16):
        states = model.model(input_ids=ids).last_hidden_state
        logits = model.lm_head(states[learned])
    return torch.nn.functional.cross_entropy(logits.float(), labels[learned])


def save_model(model: Any, folder: Path) -> None:
    model.generation_config.eos_token_id = 2
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    # transformers 5 leaves both out, and older engines want them.
    _amend(folder / "config.json", rope_theta=10000.0, torch_dtype="float32")


def held_out_score(model: Any, tokenizer: Tokenizer, source: random.Random) -> dict[str, float]:
    """The share of exact answers, by kind."""
    model.eval()
    score: dict[str, float] = {}
    for kind in QUESTIONS:
        drawn = [draw(source, kind, held_out=True) for _ in range(HELD_OUT_PER_KIND)]
        right = sum(say(model, tokenizer, example.question) == example.answer for example in drawn)
        score[kind] = right / HELD_OUT_PER_KIND
    return score


def say(model: Any, tokenizer: Tokenizer, question: str) -> str:
    """The model's answer, greedily."""
    ids = torch.tensor([tokenizer.encode(as_chat(question)).ids])
    written = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=32, do_sample=False)
    return tokenizer.decode(written[0][ids.shape[1] :].tolist()).strip()


def _amend(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}, indent=1) + "\n")


if __name__ == "__main__":
    train(Path(sys.argv[1]), float(sys.argv[2]), *(int(seed) for seed in sys.argv[3:4]))
