import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.cli.compat_flags import ALIASES, MissingValue, Own, Use, for_program, size, sort_out, use_of, warning
from batchyard.config import EngineFlag

OWN = {
    "--input-file": Own(True),
    "-i": Own(True),
    "--output-file": Own(True),
    "-o": Own(True),
    "--model": Own(True),
    "--max-inflight": Own(True),
    "--served-model-name": Own(True, multiple=True),
    "--default-chat-template-kwargs": Own(True, json=True),
    "--fresh": Own(False),
    "--help": Own(False),
}


def ours(line: str) -> list[str]:
    return list(sort_out(line.split(), OWN).words)


def foreign(line: str) -> list[EngineFlag]:
    return list(sort_out(line.split(), OWN).foreign)


def test_our_flags_reach_the_parser_and_foreign_ones_do_not() -> None:
    parts = sort_out(["-i", "in", "--dtype", "bfloat16", "-o", "out", "--enforce-eager", "--model=m"], OWN)
    assert parts.words == ("-i", "in", "-o", "out", "--model=m")
    assert parts.foreign == (EngineFlag("--dtype", ("bfloat16",)), EngineFlag("--enforce-eager"))


def test_underscores_and_dashes_are_equal_in_names_but_not_in_values_and_keys() -> None:
    assert ours("--input_file a_b") == ["--input-file=a_b"]
    assert foreign("--gpu_memory_utilization 0.9 --hf_overrides.rope_type x_y") == [
        EngineFlag("--gpu-memory-utilization", ("0.9",)),
        EngineFlag("--hf-overrides.rope_type", ("x_y",)),
    ]


def test_a_foreign_flag_owns_the_words_up_to_the_next_flag() -> None:
    assert foreign("--lora-modules a=b c=d --cuda-graph-sizes 1 2 4 -tp 2 --fresh") == [
        EngineFlag("--lora-modules", ("a=b", "c=d")),
        EngineFlag("--cuda-graph-sizes", ("1", "2", "4")),
        EngineFlag("-tp", ("2",)),
    ]


def test_negative_numbers_and_a_lone_dash_are_values() -> None:
    assert foreign("--penalty -1 --bias -.5 --from -") == [
        EngineFlag("--penalty", ("-1",)),
        EngineFlag("--bias", ("-.5",)),
        EngineFlag("--from", ("-",)),
    ]
    assert ours("-i - -o -") == ["-i", "-", "-o", "-"]


def test_a_value_may_be_glued_on() -> None:
    assert ours("-iin.jsonl --model=m=n") == ["-i", "in.jsonl", "--model=m=n"]
    assert foreign("--cpu-offload=4=5") == [EngineFlag("--cpu-offload", ("4=5",))]


def test_a_flag_of_ours_without_its_value_is_an_error_and_eats_no_other_flag() -> None:
    for line in ("--model --fresh", "-i", "--served-model-name -o out"):
        with pytest.raises(MissingValue):
            sort_out(line.split(), OWN)


def test_repeated_values_are_spread() -> None:
    words = ["--served-model-name=a", "--served-model-name=b", "--served-model-name=c"]
    assert ours("--served-model-name a b --served-model-name+ c") == words


def test_an_object_is_put_together_from_its_parts() -> None:
    line = '--chat-template-kwargs.enable_thinking false --default-chat-template-kwargs {"a":1}'
    assert ours(line) == ['--default-chat-template-kwargs={"enable_thinking": false, "a": 1}']
    with pytest.raises(ValueError, match="not a JSON object"):
        ours("--default-chat-template-kwargs 7")


def test_help_for_a_group_is_help() -> None:
    assert ours("--help=ModelConfig") == ["--help"]


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_other_names_mean_ours(alias: str, name: str) -> None:
    value = '{"a": 1}' if "kwargs" in alias else "7"
    own = {name: Own(True, json="kwargs" in name)}
    assert sort_out([alias, value], own).words == (f"{name}={value}",)


def test_stray_words_are_left_to_the_parser() -> None:
    assert ours("-i in stray -o out") == ["-i", "in", "stray", "-o", "out"]


names = st.from_regex(r"--?[a-zA-Z][a-zA-Z0-9_.-]{0,12}\+?", fullmatch=True)
values = st.one_of(st.text(max_size=8), st.from_regex(r"-?\d+(\.\d+)?[kKmM]?", fullmatch=True), st.just('{"a":1}'))
soups = st.lists(st.one_of(names, values, st.sampled_from(sorted(OWN)), st.tuples(names, values).map("=".join)))


@given(soups)
def test_no_soup_of_flags_breaks_the_sorting(words: list[str]) -> None:
    try:
        parts = sort_out(words, OWN)
    except (MissingValue, ValueError):
        return
    again = sort_out([word for flag in parts.foreign for word in flag.words], OWN)
    assert again.foreign == parts.foreign, "what was set aside is set aside again"
    assert not again.words


@given(st.lists(st.tuples(names.filter(lambda name: name[:2] not in ("-i", "-o")), st.lists(st.integers().map(str)))))
def test_our_flags_survive_any_foreign_ones_around_them(others: list[tuple[str, list[str]]]) -> None:
    soup = [word for name, numbers in others if name.partition(".")[0] not in OWN for word in (name, *numbers)]
    try:
        parts = sort_out([*soup, "-i", "in", *soup, "-o", "out"], OWN)
    except (MissingValue, ValueError):
        return
    assert tuple(word for word in parts.words if word in ("-i", "in", "-o", "out")) == ("-i", "in", "-o", "out")


def test_a_program_gets_its_flags_but_not_those_that_are_for_nobody() -> None:
    flags = foreign("--tensor-parallel-size 2 --port 9000 --enable-metrics --api-key sk-secret")
    assert for_program(flags) == (EngineFlag("--tensor-parallel-size", ("2",)),)
    assert [use_of(flag) for flag in flags] == [Use.PROGRAM, Use.NOTHING, Use.IGNORED, Use.IGNORED]


def test_one_line_names_what_is_ignored_and_never_a_value() -> None:
    flags = foreign("--tensor-parallel-size 2 --port 9000 --api-key sk-secret --tensor-parallel-size 4")
    text = warning(flags, "llamacpp", OWN)
    assert text == "Ignored with the engine llamacpp: --tensor-parallel-size, --api-key"
    assert warning(flags, "vllm", OWN) == "Ignored with the engine vllm: --api-key"
    assert warning(foreign("--workers 4"), "llamacpp", OWN) is None


def test_a_mistyped_flag_gets_a_guess() -> None:
    text = warning(foreign("--max-inflght 5"), "llamacpp", OWN)
    assert text is not None and "--max-inflght (did you mean --max-inflight?)" in text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4096", 4096),
        ("32K", 32768),
        ("32k", 32000),
        ("25.6k", 25600),
        ("1M", 1 << 20),
        ("1.5m", 1_500_000),
        ("2g", 2e9),
    ],
)
def test_sizes_are_read_as_vllm_reads_them(text: str, number: int) -> None:
    assert size(text) == number


@pytest.mark.parametrize("text", ["", "1.5K", "1.5", "-3", "k", "12x", "1e3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        size(text)
