"""May two equal requests share one answer?"""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.policy.dedupe import repeatable, repeats


@pytest.mark.parametrize(
    ("temperature", "n", "seed", "expected"),
    [
        (0, None, None, True),
        (0.0, 1, None, True),
        (0, 2, None, False),
        (None, None, None, False),
        (0.7, None, None, False),
        (0.7, None, 5, True),
        (None, 4, 0, True),
    ],
)
def test_a_generation_repeats_when_it_is_greedy_or_seeded(
    temperature: float | None, n: int | None, seed: int | None, expected: bool
) -> None:
    assert repeatable(temperature, n, seed) is expected


def contents_are(contents: list[str]) -> Callable[[int, int], bool]:
    return lambda first, later: contents[first] == contents[later]


@given(st.lists(st.sampled_from("abcd")), st.integers(1, 3))
def test_pairs_are_of_equal_contents_however_few_hashes_there_are(contents: list[str], hashes: int) -> None:
    hashed = [(ord(content) % hashes, place) for place, content in enumerate(contents)]

    found = sorted(repeats(hashed, contents_are(contents)), key=lambda pair: pair[1])

    expected = [(contents.index(each), place) for place, each in enumerate(contents) if contents.index(each) < place]
    assert found == expected
