"""A pipeline that makes pictures, small enough for tests: a few kilobytes of weights, drawn at random from one seed.

It has the parts of Stable Diffusion in the folders where optimum-intel puts them, each a handful of operations. Its
pictures mean nothing, but they depend on the words, on the unwanted words, on the seed and on each setting, as those of
a real one do.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

SIDE = 64
"""Pixels on a side of a picture whose size nobody says."""

WORD_LENGTH = 77
_WIDTH = 8
_LATENT = 4
_SCALE = 8


def tiny_painter(folder: Path) -> Path:
    """Write the pipeline into a folder, and give the folder back."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    parts = _Parts()
    _write(folder, "tokenizer", parts.tokenizer(), name="openvino_tokenizer.xml")
    _write(
        folder,
        "text_encoder",
        parts.text_encoder(),
        {"max_position_embeddings": WORD_LENGTH, "num_hidden_layers": 1, "hidden_size": _WIDTH},
    )
    _write(folder, "unet", parts.unet(), {"in_channels": _LATENT, "sample_size": SIDE // _SCALE})
    _write(
        folder,
        "vae_decoder",
        parts.decoder(),
        {
            "in_channels": 3,
            "out_channels": 3,
            "latent_channels": _LATENT,
            "scaling_factor": 0.18215,
            "block_out_channels": [1, 1, 1, 1],
        },
    )
    _write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    _write_json(folder / "model_index.json", INDEX)
    return folder


SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "trained_betas": None,
}
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


class _Parts:
    """Builds each network. OpenVINO says nothing of its types."""

    def __init__(self) -> None:
        self.ov: Any = importlib.import_module("openvino")
        self.op: Any = importlib.import_module("openvino.opset13")
        self.numpy: Any = importlib.import_module("numpy")
        self.factory: Any = importlib.import_module("openvino_tokenizers")._get_factory()
        self.random: Any = self.numpy.random.default_rng(20261129)

    def tokenizer(self) -> Any:
        """Each byte is a token."""
        op = self.op
        text = self._named(op.parameter([-1], self.ov.Type.string), "string_input")
        begins, ends, letters = self.factory.create("StringTensorUnpack", text.outputs()).outputs()
        longest = op.reduce_max(op.subtract(ends, begins), op.constant(0), keep_dims=False)
        room = op.minimum(longest, op.constant(WORD_LENGTH, self.ov.Type.i32))
        padding = op.constant(0, self.ov.Type.i32)
        inputs = [begins, ends, *(each.output(0) for each in (op.convert(letters, "i32"), room, padding))]
        dense = self.factory.create("RaggedToDense", inputs, {"pad_right": True})
        ids = self._named(op.convert(dense.output(0), "i64"), "input_ids")
        mask = self._named(op.convert(dense.output(1), "i64"), "attention_mask")
        model = self.ov.Model([ids, mask], [text], "tokenizer")
        model.set_rt_info(0, "pad_token_id")
        return model

    def text_encoder(self) -> Any:
        """A table of tokens."""
        ids = self._named(self.op.parameter([-1, -1], self.ov.Type.i64), "input_ids")
        states = self.op.gather(self._weights(256, _WIDTH), ids, self.op.constant(0))
        return self.ov.Model([self._named(states, "last_hidden_state")], [ids], "text_encoder")

    def unet(self) -> Any:
        """One convolution, moved by the mean of the words and by the step."""
        op, f32 = self.op, self.ov.Type.f32
        sample = self._named(op.parameter([-1, _LATENT, -1, -1], f32), "sample")
        step = self._named(op.parameter([-1], self.ov.Type.i64), "timestep")
        words = self._named(op.parameter([-1, -1, _WIDTH], f32), "encoder_hidden_states")
        seen = op.convolution(sample, self._weights(_LATENT, _LATENT, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])
        mean = op.reduce_mean(words, op.constant([1]), keep_dims=False)
        meant = op.matmul(mean, self._weights(_WIDTH, _LATENT, scale=3.0), False, False)
        moved = op.add(seen, op.unsqueeze(meant, op.constant([2, 3])))
        late = op.multiply(op.convert(step, "f32"), op.constant(self.numpy.float32(1e-3)))
        noise = op.tanh(op.add(moved, op.reshape(late, op.constant([-1, 1, 1, 1]), False)))
        return self.ov.Model([self._named(noise, "out_sample")], [sample, step, words], "unet")

    def decoder(self) -> Any:
        """A block of pixels for each point of the latent."""
        op = self.op
        latent = self._named(op.parameter([-1, _LATENT, -1, -1], self.ov.Type.f32), "latent_sample")
        weights = self._weights(3 * _SCALE * _SCALE, _LATENT, 1, 1, scale=0.05)
        blocks = op.convolution(latent, weights, [1, 1], [0, 0], [0, 0], [1, 1])
        pixels = op.depth_to_space(blocks, "blocks_first", _SCALE)
        return self.ov.Model([self._named(pixels, "sample")], [latent], "vae_decoder")

    def _weights(self, *shape: int, scale: float = 0.2) -> Any:
        drawn = self.random.standard_normal(shape) * scale
        return self.op.constant(drawn.astype(self.numpy.float32))

    def _named(self, node: Any, name: str) -> Any:
        node.output(0).get_tensor().set_names({name})
        return node


def _write(
    folder: Path, part: str, model: Any, config: dict[str, Any] | None = None, name: str = "openvino_model.xml"
) -> None:
    (folder / part).mkdir(parents=True, exist_ok=True)
    importlib.import_module("openvino").save_model(model, folder / part / name, compress_to_fp16=False)
    if config is not None:
        _write_json(folder / part / "config.json", config)


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
