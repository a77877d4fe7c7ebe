"""What is said of an unfinished text stays said, and all of it is said at the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.workers.openvino.wording import stopped, surely_said, surely_thought_and_said, thought_and_said

TEXTS = st.text(st.sampled_from("<think>/ \n.ab"), max_size=40) | st.builds(
    "<think>{}</think>{}".format, st.text("ab<\n", max_size=9), st.text("ab\n", max_size=9)
)
STOPS = st.lists(st.text("ab.", min_size=1, max_size=4), max_size=3)


@given(TEXTS, STOPS)
def test_what_is_said_early_is_the_beginning_of_what_is_said_at_last(text: str, stops: list[str]) -> None:
    final, _ = stopped(text, stops)
    last = thought_and_said(final)
    for end in range(len(text) + 1):
        early = surely_thought_and_said(surely_said(text[:end], stops))
        assert last[0].startswith(early[0]) and last[1].startswith(early[1]), (text[:end], early, last)


@pytest.mark.parametrize(
    ("text", "thought", "said"),
    [
        ("hello", "", "hello"),
        ("<think>\nhm\n</think>\n\nyes", "hm", "yes"),
        ("<think>\nhm", "hm", ""),
        ("so <think>hm</think>", "", "so <think>hm</think>"),
    ],
)
def test_a_thought_stands_at_the_beginning(text: str, thought: str, said: str) -> None:
    assert thought_and_said(text) == (thought, said)


def test_words_are_not_held_back_longer_than_they_must_be() -> None:
    assert surely_said("one sto", ["stop"]) == "one "
    assert surely_said("one stor", ["stop"]) == "one stor"
    assert surely_thought_and_said("<think>a</thi") == ("a", "")
