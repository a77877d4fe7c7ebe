"""The objects of the OpenAI wire, from the domain to plain JSON values, with every field that clients read."""

from typing import Any

Object = dict[str, Any]


def model_object(name: str, created: int, owned_by: str) -> Object:
    return {"id": name, "object": "model", "created": created, "owned_by": owned_by, "shutdown_date": None}
