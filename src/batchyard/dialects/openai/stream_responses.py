"""A finished response, told as the typed events of the Responses wire, numbered from 0.

created, in_progress, for each output: added, (its parts: added, delta, done), done; then how the response ended.
"""

from collections.abc import Iterator
from typing import Any, cast

Object = dict[str, Any]

_EMPTIED: dict[str, Object] = {"function_call": {"arguments": ""}, "message": {"content": []}}
_ENDS = {"failed": "response.failed", "incomplete": "response.incomplete"}


def response_events(response: Object) -> Iterator[Object]:
    """Every event, with its `sequence_number`."""
    for number, event in enumerate(_events(response)):
        yield {**event, "sequence_number": number}


def _events(response: Object) -> Iterator[Object]:
    begun: Object = {**response, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, output in enumerate(cast("list[Object]", response.get("output") or [])):
        yield from _output(index, output)
    yield {"type": _ENDS.get(str(response.get("status")), "response.completed"), "response": response}


def _output(index: int, output: Object) -> Iterator[Object]:
    where: Object = {"output_index": index, "item_id": output.get("id", "")}
    yield {"type": "response.output_item.added", "output_index": index, "item": _begun(output)}
    if output.get("type") == "function_call":
        arguments = output.get("arguments", "")
        yield {"type": "response.function_call_arguments.delta", **where, "delta": arguments}
        done = {"arguments": arguments, "name": output.get("name", "")}
        yield {"type": "response.function_call_arguments.done", **where, **done}
    elif output.get("type") == "message":
        for place, part in enumerate(cast("list[Object]", output.get("content") or [])):
            yield from _part({**where, "content_index": place}, part)
    yield {"type": "response.output_item.done", "output_index": index, "item": output}


def _part(where: Object, part: Object) -> Iterator[Object]:
    refused = part.get("type") == "refusal"
    key = "refusal" if refused else "text"
    text = part.get(key, "")
    kind = "response.refusal" if refused else "response.output_text"
    logprobs: Object = {} if refused else {"logprobs": part.get("logprobs") or []}
    yield {"type": "response.content_part.added", **where, "part": {**part, key: ""}}
    yield {"type": f"{kind}.delta", **where, "delta": text, **logprobs}
    yield {"type": f"{kind}.done", **where, key: text, **logprobs}
    yield {"type": "response.content_part.done", **where, "part": part}


def _begun(output: Object) -> Object:
    begun: Object = {**output, **_EMPTIED.get(str(output.get("type")), {})}
    return {**begun, "status": "in_progress"} if "status" in output else begun
