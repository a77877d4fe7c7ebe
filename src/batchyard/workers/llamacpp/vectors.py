"""Embeddings, scores and rankings on llama.cpp.

A reranker reads two texts together. An embedding model reads each alone; its score is the cosine of the two vectors, as
vLLM does it.
"""

import base64
import math
import struct
from typing import Any, cast

from batchyard.domain.result import Answer, Usage
from batchyard.workers.llamacpp.stream import refusal
from batchyard.workers.openai import BadRequest, Body, answer_of, texts_of

Vector = list[float]
Text = str | list[int]


def embed(server: Any, body: Body, name: str) -> Answer:
    """Turn texts into vectors of length one. Raises BadRequest."""
    form = body.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise BadRequest("`encoding_format` must be float or base64.", param="encoding_format")
    vectors, tokens = _vectors(server, texts_of(body.get("input"), "input"))
    if body.get("dimensions") not in (None, len(vectors[0])):
        raise BadRequest(f"This model's vectors have {len(vectors[0])} dimensions.", param="dimensions")
    data = [
        {"object": "embedding", "index": place, "embedding": _packed(vector) if form == "base64" else vector}
        for place, vector in enumerate(vectors)
    ]
    return _told("list", name, {"data": data}, tokens, "embd")


def score(server: Any, body: Body, name: str, *, ranks: bool) -> Answer:
    """Score pairs of texts: one to one, or one to each of many. Raises BadRequest."""
    left = _texts(body, ("text_1", "queries", "data_1"))
    right = _texts(body, ("text_2", "documents", "data_2"))
    if len(left) == 1:
        left = left * len(right)
    if len(left) != len(right):
        raise BadRequest("`text_1` must be one text, or as many as `text_2`.", param="text_1")
    scores, tokens = _scores(server, left, right, ranks)
    data = [{"index": place, "object": "score", "score": value} for place, value in enumerate(scores)]
    return _told("list", name, {"data": data}, tokens, "score")


def rerank(server: Any, body: Body, name: str, *, ranks: bool) -> Answer:
    """Order documents by how well they answer a query, best first. Raises BadRequest."""
    query = body.get("query")
    if not isinstance(query, str):
        raise BadRequest("`query` must be a text.", param="query")
    documents = _documents(body.get("documents"))
    most = body.get("top_n") or len(documents)
    if not isinstance(most, int) or most < 0:
        raise BadRequest("`top_n` must be a whole number.", param="top_n")
    scores, tokens = _scores(server, [query] * len(documents), documents, ranks)
    best = sorted(range(len(documents)), key=lambda place: (-scores[place], place))[:most]
    results = [
        {"index": place, "document": {"text": documents[place]}, "relevance_score": scores[place]} for place in best
    ]
    return _told("list", name, {"results": results}, tokens, "rerank")


def _told(kind: str, name: str, content: Body, tokens: int, prefix: str) -> Answer:
    return answer_of(kind, name, content, Usage(tokens), prefix=prefix)


def _texts(body: Body, names: tuple[str, ...]) -> list[str]:
    for name in names:
        if name in body:
            texts = texts_of(body[name], name)
            if not all(isinstance(text, str) for text in texts):
                raise BadRequest(f"`{name}` must be text.", param=name)
            return cast("list[str]", texts)
    raise BadRequest(f"`{names[0]}` is missing.", param=names[0])


def _documents(given: object) -> list[str]:
    listed = cast("list[object]", given) if isinstance(given, list) else []
    texts = [cast("Body", one).get("text") if isinstance(one, dict) else one for one in listed]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise BadRequest("`documents` must be a list of texts.", param="documents")
    return cast("list[str]", texts)


def _scores(server: Any, left: list[str], right: list[str], ranks: bool) -> tuple[Vector, int]:
    return _ranked(server, left, right) if ranks else _cosines(server, left, right)


def _ranked(server: Any, left: list[str], right: list[str]) -> tuple[Vector, int]:
    scores = [0.0] * len(right)
    tokens = 0
    for query in dict.fromkeys(left):
        places = [place for place, one in enumerate(left) if one == query]
        ranking = _checked(server.handle_rerank({"query": query, "documents": [right[place] for place in places]}))
        tokens += ranking["usage"]["prompt_tokens"]
        for one in ranking["results"]:
            scores[places[one["index"]]] = _probability(one["relevance_score"])
    return scores, tokens


def _probability(logit: float) -> float:
    """Rerankers give logits; scores are told between 0 and 1, as vLLM does."""
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))


def _cosines(server: Any, left: list[str], right: list[str]) -> tuple[Vector, int]:
    texts = list(dict.fromkeys([*left, *right]))
    vectors, tokens = _vectors(server, cast("list[Text]", texts))
    vector_of = dict(zip(texts, vectors, strict=True))
    return [_dot(vector_of[a], vector_of[b]) for a, b in zip(left, right, strict=True)], tokens


def _dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _vectors(server: Any, texts: list[Text]) -> tuple[list[Vector], int]:
    answer = _checked(server.handle_embeddings({"input": texts}))
    ordered = sorted(answer["data"], key=lambda one: one["index"])
    return [one["embedding"] for one in ordered], answer["usage"]["prompt_tokens"]


def _checked(answer: Any) -> Body:
    if "error" in answer:
        raise refusal(answer["error"])
    return cast("Body", answer)


def _packed(vector: Vector) -> str:
    """Little-endian 32-bit floats in base64, as OpenAI sends them."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
