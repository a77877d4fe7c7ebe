"""Words of a command line as flags."""

from batchyard.engines.managed.flags import Flag, number, parse, translated, without, words_of


def test_values_belong_to_the_flag_before_them() -> None:
    assert parse(["--served-model-name", "a", "b", "--enforce-eager"]) == [
        Flag("--served-model-name", ("a", "b")),
        Flag("--enforce-eager"),
    ]


def test_a_value_may_follow_an_equals_sign() -> None:
    assert parse(["--max-model-len=1024"]) == [Flag("--max-model-len", ("1024",))]


def test_a_negative_number_is_a_value() -> None:
    assert parse(["--max-waiting-time", "-1", "--bias", "-.5"]) == [
        Flag("--max-waiting-time", ("-1",)),
        Flag("--bias", ("-.5",)),
    ]


def test_underscores_in_a_name_are_dashes_but_keys_after_a_dot_are_kept() -> None:
    assert [each.name for each in parse(["--max_num_seqs", "8", "--json_arg.some_key", "1"])] == [
        "--max-num-seqs",
        "--json-arg.some_key",
    ]


def test_a_flag_without_a_spelling_stays_and_one_spelled_none_is_left_out() -> None:
    flags = parse(["--seed", "1", "--dtype", "half", "--other"])
    assert words_of(translated(flags, {"--seed": "--random-seed", "--dtype": None})) == (
        "--random-seed",
        "1",
        "--other",
    )


def test_the_last_number_of_a_name_counts() -> None:
    assert number(parse(["--n", "1", "--n", "2", "--m", "auto"]), "--n") == 2
    assert number(parse(["--m", "auto"]), "--m") is None


def test_a_flag_and_its_negation_are_about_the_same_thing() -> None:
    ours = parse(["--enable-prefix-caching", "--max-num-seqs", "8"])
    assert without(ours, parse(["--no-enable-prefix-caching"])) == [Flag("--max-num-seqs", ("8",))]
