"""Check JSON schemas before they reach the pipeline, where a bad one would stop all other requests.

First against the metaschema, for a message that says where. Then by a trial: the grammar compiler is reachable only
through a pipeline, so a second one, with the tiny demo model, takes the harm.
"""

import importlib
import json
from collections.abc import Callable
from typing import Any

from batchyard.workers.openai import BadRequest

REMEMBERED = 1000
"""Verdicts kept: most lines of a batch share a few schemas."""

PARAM = "response_format.json_schema.schema"

Trial = Callable[[str], None]
"""Compiles a schema, given as JSON. Raises RuntimeError where it cannot."""


class SchemaCheck:
    """`start_trial` makes a fresh trial; one that has refused a schema is of no more use."""

    def __init__(self, start_trial: Callable[[], Trial]) -> None:
        self._start_trial = start_trial
        self._trial: Trial | None = None
        self._verdicts: dict[str, str | None] = {}

    def checked(self, schema: object) -> str:
        """The schema as JSON. Raises BadRequest where the pipeline could not follow it."""
        written = json.dumps(schema, ensure_ascii=False)
        if written not in self._verdicts:
            if len(self._verdicts) >= REMEMBERED:
                self._verdicts.clear()
            self._verdicts[written] = _against_metaschema(schema) or self._tried(written)
        verdict = self._verdicts[written]
        if verdict is not None:
            raise BadRequest(f"The JSON schema cannot be followed: {verdict}", param=PARAM, code="invalid_json_schema")
        return written

    def _tried(self, written: str) -> str | None:
        if self._trial is None:
            self._trial = self._start_trial()
        try:
            self._trial(written)
        except RuntimeError as error:
            self._trial = None
            return plain_message(error)
        return None


def _against_metaschema(schema: object) -> str | None:
    jsonschema: Any = importlib.import_module("jsonschema")
    validator: Any = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        validator.check_schema(schema)
    except jsonschema.exceptions.SchemaError as error:
        where = ".".join(str(step) for step in error.absolute_path)
        return f"{error.message}{f' (at {where})' if where else ''}"
    return None


def plain_message(error: Exception) -> str:
    """The message of a native error, without where in which source file it arose."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    if ".cc:" in last or ".cpp:" in last:
        return last.rpartition(".c")[2].partition(": ")[2] or last
    return last
