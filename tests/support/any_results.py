"""Any results at all, for Hypothesis."""

from hypothesis import strategies as st

from batchyard.domain.result import NO_USAGE, Answer, Failure, Fault, Outcome, Reply, Result, Usage

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_tokens = st.integers(0, 2**40)
_bodies = st.one_of(
    st.sampled_from(
        [b"", b"null", b"{}", b'{\n "a": 1\r\n}', b'{"a":"\xff"}', b"\xff\xfe", b'{"a":', b'","body":{}', b"[1,2]\n"]
    ),
    st.sampled_from(['{"ä":"\\u2028 \u2028 ö"}', '{"body":{"a":",\\"body\\":"}}', "1e999", '"text"']).map(str.encode),
    st.binary(max_size=60),
)
_usages = st.builds(Usage, _tokens, _tokens, _tokens, _tokens)
_answers = st.builds(Answer, st.integers(100, 599), _bodies, _text, st.one_of(st.just(NO_USAGE), _usages))
_failures = st.builds(Failure, _text, _text, st.sampled_from(Fault))
_replies: st.SearchStrategy[Reply] = st.one_of(_answers, _failures)
_seconds = st.integers(0, 10**10).map(lambda microseconds: microseconds / 1e6)


def results(lines: st.SearchStrategy[int]) -> st.SearchStrategy[Result]:
    """Any results that an engine can cause, with odd bodies, ids and counts."""
    outcomes = st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.PENDING])
    return st.builds(
        Result, lines, st.none() | _text, outcomes, _replies, attempts=st.integers(0, 99), seconds=_seconds
    )
