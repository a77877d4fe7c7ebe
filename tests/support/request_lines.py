"""Request lines to read and check."""

import json
from typing import Any

from hypothesis import strategies as st

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"


def a_body(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "One word for cold?"}], **fields}


def a_line(custom_id: str = "a", *, url: str = CHAT, method: str = "POST", **fields: Any) -> bytes:
    """A chat line; `fields` go into its body."""
    return as_line(custom_id, a_body(**fields), url=url, method=method)


def an_embedding(custom_id: str, text: str = "cold", **fields: Any) -> bytes:
    return as_line(custom_id, {"model": "m", "input": text} | fields, url=EMBEDDINGS)


def as_line(custom_id: object, body: object, *, url: object = CHAT, method: object = "POST") -> bytes:
    return json.dumps({"custom_id": custom_id, "method": method, "url": url, "body": body}).encode()


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
