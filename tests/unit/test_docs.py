"""What the code has, the documentation names: flags, codes, variables, keys, rooms; and no link leads nowhere."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest

from batchyard.cli import compat_flags, exits
from batchyard.cli.summary import Summary
from batchyard.config import ImageSettings
from batchyard.dialects.lines._rules import MOST_LEVELS
from batchyard.domain import errors
from batchyard.domain.access import Quota
from batchyard.domain.errors import BatchyardError
from batchyard.domain.result import Fault, Outcome
from batchyard.engines.managed.programs import RECIPES
from batchyard.pipeline.inline import REQUEST_BYTES
from batchyard.pipeline.manifest import Manifest
from batchyard.pipeline.plan import HEADER, RECORD
from batchyard.server import multipart, parcel
from batchyard.server.house import Limits
from batchyard.server.http.batchyard import events
from batchyard.server.options import ServeOptions
from batchyard.service import hooks
from batchyard.service.rules import UploadRules
from batchyard.service.webhooks import WebhookRules
from batchyard.telemetry.metrics import Metrics
from batchyard.transport import outside
from batchyard.wiring.settings import settings
from batchyard.wiring.settings.check import check
from batchyard.wiring.settings.keys import every_key
from batchyard.wiring.settings.read import read
from tools import cli_reference, config_reference

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "batchyard"
REFERENCE = ROOT / "docs" / "reference"
SKIPPED = {".venv", ".venv-peer", ".git", "node_modules", "dist", "build"}

SERVERS = {"service", "server", "stores", "blobs"}
"""Rooms of the server: their codes are not those of lines and failures."""


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def undocumented(words: set[str], text: str) -> set[str]:
    """The words that do not stand in the text as code."""
    return {word for word in words if f"`{word}`" not in text}


# The command line


def test_the_reference_of_the_command_line_is_up_to_date() -> None:
    assert page("command-line.md") == cli_reference.reference(), "make docs"


def test_every_flag_and_every_other_name_of_it_is_documented() -> None:
    own = set(cli_reference.names()) - {"--help", "--version"}
    assert undocumented(own | set(compat_flags.ALIASES) | set(compat_flags.USES), page("command-line.md")) == set()


def test_every_exit_code_is_documented() -> None:
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert len(codes) == 5
    assert {code for code in codes if f"| {code} |" not in page("exit-codes.md")} == set()
    assert {code for code in codes if f"\n  {code} " not in exits.EPILOGUE} == set()


def test_every_variable_is_documented() -> None:
    recipes = {recipe.variable for recipe in RECIPES.values()} | {recipe.key_variable for recipe in RECIPES.values()}
    read = {name for tree in modules().values() for name in _variables(tree)}
    assert "XDG_STATE_HOME" in read
    assert undocumented((set(cli_reference.variables()) | recipes | read) - {""}, page("environment.md")) == set()


def _variables(tree: ast.Module) -> Iterator[str]:
    """Names that are looked up in an environment, or set in one: string constants that look like variables."""
    for node in ast.walk(tree):
        match node:
            case (
                ast.Call(func=ast.Attribute(value=where, attr="get"), args=[ast.Constant(value=str(name)), *_])
                | ast.Subscript(value=where, slice=ast.Constant(value=str(name)))
                | ast.Compare(left=ast.Constant(value=str(name)), comparators=[where])
            ) if ast.unparse(where).rpartition(".")[2] in ("environ", "environment"):
                yield name
            case ast.Dict(keys=keys):
                yield from (
                    key.value
                    for key in keys
                    if isinstance(key, ast.Constant)
                    and isinstance(key.value, str)
                    and re.fullmatch(r"(VLLM|FD|OMP|LLAMA|SGLANG)_[A-Z_]+", key.value)
                )
            case _:
                pass


# The configuration


def test_the_reference_of_the_configuration_is_up_to_date() -> None:
    assert page("configuration.md") == config_reference.reference(), "make docs"


def test_every_key_of_the_configuration_is_documented_in_its_table() -> None:
    sections = {part.partition("]")[0]: part for part in page("configuration.md").split("## [")[1:]}
    keys = list(every_key())
    assert len(keys) > 50
    for path, key in keys:
        *table, name = path
        assert f"| `{name}` | {key.about} " in sections[".".join(table)], path


def test_every_example_of_a_configuration_is_right() -> None:
    environment = {"OPENAI_API_KEY": "set"}
    assert settings(str(ROOT / "examples" / "batchyard.toml"), environment).faults == []
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/how-to/configure.md").read_text(encoding="utf-8"), re.S)
    assert check(read(text, environment), "", environment, None) == []


# Metrics and logs


def test_every_metric_is_documented() -> None:
    text, missing = page("metrics.md"), set[str]()
    for metric in Metrics().registry.collect():
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        if not re.search(rf"^\| `{name}` \| {metric.type} \|", text, re.MULTILINE):
            missing.add(name)
    assert missing == set()


def test_every_documented_metric_exists() -> None:
    names = {f"{each.name}_total" if each.type == "counter" else each.name for each in Metrics().registry.collect()}
    assert set(re.findall(r"^\| `(batchyard_\w+)` \|", page("metrics.md"), re.MULTILINE)) == names


# Codes


@cache
def modules() -> dict[Path, ast.Module]:
    """The runner's sources."""
    paths = (path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).parts[0] not in SERVERS)
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def calls(name: str) -> Iterator[ast.Call]:
    """Every call of a name in the sources."""
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                yield node


def codes_of(*names: str) -> set[str]:
    """The codes in calls of these names: the first argument, or the one called `code`, where they are written out."""
    given: list[ast.expr] = []
    for name in names:
        for call in calls(name):
            given += [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "code")]
    return {code for node in given if (code := _text(node)) is not None and re.fullmatch(r"[a-z]+(_[a-z]+)*", code)}


def _text(node: ast.expr) -> str | None:
    """The text of a constant, also of one that has a name."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name) if name.isupper():
            return next((text for tree in modules().values() if (text := _constant(tree, name))), None)
        case _:
            return None


def _constant(tree: ast.Module, name: str) -> str | None:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=ast.Constant(value=str(text))) if found == name:
                return text
            case _:
                pass
    return None


def test_every_line_error_code_is_documented() -> None:
    codes = codes_of("_Fault", "Problem", "LineError")
    assert {"invalid_json_line", "duplicate_custom_id", "model_not_found"} <= codes, "the search finds them"
    assert undocumented(codes, page("line-errors.md")) == set()


def test_every_failure_code_and_fault_is_documented() -> None:
    codes = codes_of("Failure", "Flaw", "refuse")
    assert {"image_too_large", "file_not_found"} <= codes, "the search finds them"
    assert {"request_timeout", "connection_lost", "engine_crashed"} <= codes, "the search finds them"
    assert undocumented(codes | {fault.name.lower() for fault in Fault}, page("failures.md")) == set()


def test_every_code_of_the_engines_in_the_package_is_documented() -> None:
    codes = codes_of("BadRequest", "error_answer", "Problem")
    assert {"context_length_exceeded", "unsupported_endpoint"} <= codes, "the search finds them"
    assert undocumented(codes, page("failures.md")) == set()


def test_every_key_of_the_summary_and_every_code_of_its_error_is_documented() -> None:
    keys = set(_keys(Summary))
    tree = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BatchyardError)]
    codes = {kind.code for kind in tree}
    assert "lines.succeeded" in keys and "unavailable" in codes
    assert undocumented(keys | codes, page("summary.md")) == set()


def _keys(kind: type, before: str = "") -> Iterator[str]:
    """The dotted keys of a struct; of a struct within it only those of its own fields."""
    hints = get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        inner = [each for each in (hints[field.name], *_members(hints[field.name])) if _is_struct(each)]
        if not inner:
            yield before + field.encode_name
        for each in inner:
            yield from _keys(each, f"{before}{field.encode_name}.")


def _members(hint: object) -> tuple[type, ...]:
    return getattr(hint, "__args__", ())


def _is_struct(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def test_the_format_on_the_disk_is_documented() -> None:
    text = page("on-disk.md")
    assert f"{HEADER.size} bytes" in text and f"{RECORD.size} bytes" in text
    keys = {key.removeprefix("output.") for key in _keys(Manifest)}
    outcomes = {outcome.name.lower() for outcome in Outcome if outcome is not Outcome.PENDING}
    assert undocumented(keys | outcomes, text) == set()


# The house


def test_every_room_stands_in_the_tree_of_the_architecture() -> None:
    tree = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("## The tree")[1].split("##")[0]
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    files = {path.name for path in SOURCE.glob("*.py") if not path.name.startswith("__")}
    assert {name for name in rooms if f"{name}/" not in tree} | {name for name in files if name not in tree} == set()


def test_every_kind_of_a_contract_stands_in_the_tree() -> None:
    tree = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("## The tree")[1].split("##")[0]
    for folder in ("dialects", "endpoints", "engines", "journals", "disks", "stores", "blobs"):
        room = SOURCE / folder
        kinds = {path.stem.partition("_")[0] for path in room.iterdir() if not path.name.startswith("_")}
        (line,) = (line for line in tree.splitlines() if f" {folder}/ " in line)
        assert kinds - {"lock"} <= set(line.split()), folder


def test_the_layers_are_those_that_are_checked() -> None:
    checked = re.findall(r'^    "([a-z_ |]+)",$', (ROOT / "pyproject.toml").read_text().split("layers = [")[1], re.M)
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    missing = [layer for layer in checked if not re.search(rf"^{re.escape(layer)}( +\(contracts\))?$", text, re.M)]
    assert missing == []


# Security


def test_the_bounds_on_the_security_page_are_those_of_the_code() -> None:
    limits, quota, uploads, images = Limits(), Quota(), UploadRules(), ImageSettings()
    mib, kib = 1 << 20, 1 << 10
    bounds = [
        f"{quota.file_bytes // 10**9} GB (`file_bytes`); {uploads.part_bytes // mib} MiB; {uploads.max_parts:,} |",
        f"| {quota.files}, {quota.total_bytes / 10**12} TB, {quota.batches}, {quota.requests_per_file:,} per project",
        f"| {limits.inference_bytes // mib} MiB (`request_bytes`); {limits.call_bytes // mib} MiB |",
        f"| {limits.json_depth} levels; {MOST_LEVELS} |",
        f"| {parcel.FIELD_BYTES // kib} KiB each; {multipart.PARTS}; {multipart.HEAD_BYTES // kib} KiB |",
        f"| {WebhookRules().endpoints} per project; {outside.TIMEOUT_SECONDS:g} s; ",
        f"| {hooks.MOST_URIS}; {hooks.MOST_METADATA_BYTES} bytes |",
        f"| {events.STALLED_SECONDS:g} s |",
        f"| {images.most_bytes // 10**6} MB, {images.most_pixels:,} pixels, {images.timeout_seconds:g} s: `[images]`; "
        f"{REQUEST_BYTES // 10**6} MB |",
        f"| {ServeOptions(data_folder='').request_timeout_seconds:g} s (`--request-timeout`) |",
    ]
    text = (ROOT / "docs/explanation/security.md").read_text(encoding="utf-8")
    assert [bound for bound in bounds if bound not in text] == []


# Tests


def test_every_test_that_a_page_names_is_there() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", text))
    assert len(named) > 30
    assert {name for name in named if f"def {name}(" not in source} == set()


# Links


def pages() -> list[Path]:
    found = (path for path in ROOT.rglob("*.md") if not SKIPPED & set(path.relative_to(ROOT).parts))
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(ROOT).parts))


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_leads_nowhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert [link for link in links if not link.startswith(("http://", "https://")) and not _leads(path, link)] == []


def _leads(page: Path, link: str) -> bool:
    place, _, anchor = link.partition("#")
    target = (page.parent / place) if place else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
