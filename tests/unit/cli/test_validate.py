import json

from batchyard.cli.summary import Prices
from batchyard.cli.validate import json_document, table_rows
from batchyard.config import RunOptions
from batchyard.domain.line import LineError
from batchyard.pipeline.validate import Verdict

OPTIONS = RunOptions(input="in.jsonl", output="-")


def a_verdict(errors: list[LineError], error_count: int | None = None) -> Verdict:
    return Verdict(
        lines=1000,
        invalid=len(errors),
        followers=30,
        errors=errors,
        error_count=len(errors) if error_count is None else error_count,
        digest="00ff",
        input_tokens=50_000,
        output_tokens=20_000,
        by_model={"b": 1, "a": 999},
        by_endpoint={"/v1/chat/completions": 1000},
        shared_prefix_tokens=20_000,
        bytes=123_456,
    )


def test_the_document_is_whole_whatever_the_number_of_errors() -> None:
    for count in (0, 1, 3):
        errors = [LineError(number=n, code="invalid_json", message='a "b"') for n in range(count)]
        document = json.loads("".join(json_document(OPTIONS, a_verdict(errors), errors, Prices(1.0, 2.0))))
        assert [error["number"] for error in document["errors"]] == list(range(count))
        assert document["valid"] is (count == 0)
        assert document["lines"] == 1000 and document["duplicates"] == 30 and document["cost"] == 0.09


def test_all_errors_are_written_not_only_those_of_the_verdict() -> None:
    errors = (LineError(number=n, code="c", message="m") for n in range(5000))
    document = json.loads("".join(json_document(OPTIONS, a_verdict([], error_count=5000), errors, Prices())))
    assert len(document["errors"]) == 5000 and document["invalid"] == 5000 and document["cost"] is None


def test_people_get_counts_shares_and_an_estimate() -> None:
    rows = dict(table_rows(OPTIONS, a_verdict([]), Prices(1.0, 2.0)))
    assert rows["lines"] == "1,000, all valid"
    assert rows["models"] == "a 999, b 1"
    assert rows["shared prefix"] == "40 % of the input tokens"
    assert rows["cost"] == "at most about 0.0900"
    assert "cost" not in dict(table_rows(OPTIONS, a_verdict([]), Prices()))
