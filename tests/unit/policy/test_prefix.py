"""Which prompts begin alike?"""

from batchyard.policy.prefix import PREFIX_BYTES, prefix_of, prefix_seed


def test_prompts_with_the_same_start_and_model_have_the_same_prefix() -> None:
    start = b"x" * PREFIX_BYTES
    assert prefix_of(start + b"one", prefix_seed("m")) == prefix_of(start + b"two", prefix_seed("m"))
    assert prefix_of(start, prefix_seed("m")) != prefix_of(start, prefix_seed("k"))
    assert prefix_of(b"y" + start, prefix_seed("m")) != prefix_of(start, prefix_seed("m"))


def test_short_prompts_are_told_apart_by_all_of_them() -> None:
    assert prefix_of(b"one", 0) != prefix_of(b"two", 0)
