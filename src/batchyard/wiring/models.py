"""Which model a run means, by what names, and what loads it."""

from pathlib import Path

from msgspec import Struct

from batchyard import demo
from batchyard.config import Compat, RunOptions
from batchyard.domain.errors import Invalid
from batchyard.engines import managed, openvino

DEMO = "demo"
PROGRAMS = ("vllm", "sglang", "fastdeploy")
"""Programs that load a Hugging Face model, the first one installed wins; llama-server is taken only by name."""


class Names(Struct, frozen=True):
    """What lines may call the model: `known` None means anything; `default` is taken where a line names none."""

    known: frozenset[str] | None
    default: str | None


def names_of(options: RunOptions) -> Names:
    """A remote server knows its own names; a model of ours goes by its path, its file's name, and its served names."""
    if options.upstreams or options.engine == "echo" or options.model is None:
        return Names(None, options.served_names[0] if options.served_names else options.model)
    path = Path(options.model)
    known = {options.model, path.name, *options.served_names}
    if path.suffix == ".gguf":
        known.add(path.stem)
    if options.compat is Compat.FASTDEPLOY:
        known.add("default")
    return Names(frozenset(known), options.served_names[0] if options.served_names else options.model)


def engine_name(options: RunOptions) -> str:
    """The engine of a run, as it is named in `engines/` or as a program. Raises Invalid where none fits.

    `auto`: a URL is http; a GGUF file is loaded by openvino where that is able, with llamacpp behind it (`embedded`),
    else by llamacpp; a folder of OpenVINO's, of words or of pictures, by openvino; anything else is for the first
    installed program.
    """
    if options.engine != "auto":
        return options.engine
    if options.upstreams:
        return "http"
    if options.model is None:
        raise Invalid(
            "There is no model to run.",
            remedy="Give --model (a GGUF file, a folder, a Hugging Face id, or demo), or --upstream URL.",
        )
    path = model_path(options.model)
    if path.is_file():
        needs_llamacpp = has_eyes(options) or options.chat_template or options.template_arguments
        return "llamacpp" if needs_llamacpp or openvino.can_load(str(path)) is not None else "embedded"
    if (path / "openvino_model.xml").is_file() or openvino.makes_pictures(path):
        return "openvino"
    for program in PROGRAMS:
        if managed.installed(program) is not None:
            return program
    raise Invalid(f"No engine here loads {options.model}.", remedy=_remedy(options.model, path))


def model_path(model: str) -> Path:
    """Where a model lies; `demo` lies in the package."""
    return demo.model_path() if model == DEMO else Path(model)


def has_eyes(options: RunOptions) -> bool:
    return vision_path(options) is not None


def vision_path(options: RunOptions) -> str | None:
    """The vision tower of a GGUF model: the one that was named, else the only `mmproj*.gguf` beside the model."""
    if options.mmproj is not None or options.model is None:
        return options.mmproj
    path = model_path(options.model)
    beside = sorted(path.parent.glob("*mmproj*.gguf")) if path.is_file() else []
    return str(beside[0]) if len(beside) == 1 and beside[0] != path else None


def _remedy(model: str, path: Path) -> str:
    if (path / "model_index.json").is_file():
        return (
            f"{model} is a pipeline of diffusers: export it for OpenVINO (optimum-cli export openvino --model {model} "
            "FOLDER), or let a server that loads it answer: --upstream URL."
        )
    if path.is_dir():
        return (
            f"{model} is a folder without openvino_model.xml: install vLLM, SGLang or FastDeploy to load a Hugging "
            "Face folder, or give a GGUF file of the model."
        )
    if path.suffix or path.is_absolute() or model.startswith("."):
        return "There is no such file or folder: check the path."
    return (
        f"{model} looks like a Hugging Face id: install vLLM, SGLang or FastDeploy, which download it where there is a "
        "hub, or give a GGUF file of the model. --model demo works everywhere."
    )
