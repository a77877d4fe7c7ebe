"""What the doctor finds out about engines and models: which are here, and what to install where none is."""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from batchyard.cli.finding import Finding, Level
from batchyard.cli.wording import data

LOAD_SECONDS = 120

PROGRAMS: Mapping[str, str] = {
    "vllm": "vllm",
    "sglang": "sglang",
    "fastdeploy": "fastdeploy",
    "llama-server": "llama-server",
}
"""Engines that are programs, and the module that stands for them where the program is not on the PATH."""


def look_at_engines(*, accelerator: bool) -> Iterator[Finding]:
    """Embedded engines are loaded once, in a process of their own; programs are only looked for."""
    llamacpp, openvino = embedded("llamacpp", ["xllamacpp"]), embedded("openvino", ["openvino_genai", "tokenizers"])
    programs = [finding for name in PROGRAMS if (finding := program(name)) is not None]
    if llamacpp.level is Level.NOTE and (openvino.level is Level.OK or programs):
        yield llamacpp
    else:
        yield _needed(llamacpp)
    yield openvino
    yield from programs
    if accelerator and not programs:
        yield Finding(
            subject="engine.accelerated",
            level=Level.WARNING,
            text="there is an accelerator, but no engine that uses it",
            remedy="Install one in its own environment and put its program on the PATH: vllm, sglang or fastdeploy.",
        )


def embedded(name: str, modules: list[str]) -> Finding:
    """An engine in this environment: not there, there but broken, or good."""
    subject = f"engine.{name}"
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        remedy = f"pip install 'batchyard[{name}]'" if name == "openvino" else "pip install --upgrade batchyard"
        text = f"{name} is not installed ({', '.join(missing)} missing)"
        return Finding(subject=subject, level=Level.NOTE, text=text, remedy=remedy)
    version, trouble = _version(modules[0]), _trouble_loading(modules)
    if trouble is not None:
        remedy = f"pip install --force-reinstall {modules[0].replace('_', '-')}"
        text = f"{name} {version} is installed but does not load: {trouble}"
        return Finding(subject=subject, level=Level.WRONG, text=text, remedy=remedy)
    facts: dict[str, object] = {"package": modules[0], "version": version}
    return Finding(subject=subject, level=Level.OK, text=f"{name}: {modules[0]} {version}", facts=facts)


def _needed(finding: Finding) -> Finding:
    """Without any engine a run needs an upstream: that is wrong for most."""
    if finding.level is not Level.NOTE:
        return finding
    remedy = f"{finding.remedy} (or run with --upstream URL)"
    return Finding(subject=finding.subject, level=Level.WRONG, text=finding.text, remedy=remedy)


def _version(module: str) -> str:
    try:
        return importlib.metadata.version(module.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def _trouble_loading(modules: list[str]) -> str | None:
    """The last line that Python prints when it cannot import them, or how the process died."""
    words = [sys.executable, "-c", "import " + ", ".join(modules)]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    try:
        done = subprocess.run(words, capture_output=True, timeout=LOAD_SECONDS, env=environment)
    except subprocess.TimeoutExpired:
        return f"nothing happened for {LOAD_SECONDS} s"
    if done.returncode == 0:
        return None
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return said[-1] if said else f"the process ended with {done.returncode}"


def program(name: str) -> Finding | None:
    """A program on the PATH, or a module beside us that can be started as one."""
    place = shutil.which(name)
    subject = f"engine.{name}"
    if place is not None:
        return Finding(subject=subject, level=Level.OK, text=f"{name}: {place}", facts={"program": place})
    if importlib.util.find_spec(PROGRAMS[name]) is None:
        return None
    version = _version(PROGRAMS[name])
    return Finding(subject=subject, level=Level.OK, text=f"{name} {version} as a module", facts={"version": version})


def look_at_models(environment: Mapping[str, str]) -> Iterator[Finding]:
    """The demo in the package, and what is in the Hugging Face cache."""
    yield demo()
    cached = list(_cached(hub_cache(environment)))
    if cached:
        names = ", ".join(cached[:8]) + (f" and {len(cached) - 8} more" if len(cached) > 8 else "")
        text = f"{len(cached)} models in the Hugging Face cache: {names}"
        yield Finding(subject="models.cache", level=Level.OK, text=text, facts={"models": cached})
    else:
        text = f"no models in the Hugging Face cache ({hub_cache(environment)})"
        yield Finding(subject="models.cache", level=Level.NOTE, text=text)


def demo() -> Finding:
    package = Path(__file__).parent.parent
    found = sorted(package.rglob("*.gguf"))
    if not found:
        remedy = "Use a model of your own, or install the package anew."
        return Finding(
            subject="models.demo", level=Level.NOTE, text="the demo model is not in the package", remedy=remedy
        )
    size = found[0].stat().st_size
    facts: dict[str, object] = {"path": str(found[0]), "bytes": size}
    return Finding(subject="models.demo", level=Level.OK, text=f"--model demo: {data(size)}", facts=facts)


def hub_cache(environment: Mapping[str, str]) -> Path:
    """Where the Hugging Face hub keeps models (huggingface_hub, environment variables)."""
    if "HF_HUB_CACHE" in environment:
        return Path(environment["HF_HUB_CACHE"])
    home = environment.get("HF_HOME") or str(Path(environment.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface")
    return Path(home).expanduser() / "hub"


def _cached(hub: Path) -> Iterator[str]:
    for folder in sorted(hub.glob("models--*")):
        if any((folder / "snapshots").glob("*/*")):
            yield folder.name.removeprefix("models--").replace("--", "/")


def look_at_upstream(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Is there a key, and will a proxy stand between us and an upstream on this machine?"""
    if environment.get("OPENAI_API_KEY"):
        text = "OPENAI_API_KEY is set and goes to the servers named by --upstream"
        yield Finding(subject="upstream.key", level=Level.OK, text=text)
