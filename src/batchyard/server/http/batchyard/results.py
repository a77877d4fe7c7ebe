"""`/v1/batches/{id}/results`: results of a batch that has not ended yet, stretch by stretch."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.dialects.openai.calls import limit_of
from batchyard.server.access import caller_of
from batchyard.server.house import house_of

JSONL = "application/jsonl"


async def get_results(request: Request) -> Response:
    """The next results. A whole stretch or an error: whoever appends stretches never has half a line."""
    caller = await caller_of(request)
    query = request.query_params
    partial = await house_of(request).results.stretch(
        caller,
        request.path_params["id"],
        after=query.get("after"),
        limit=limit_of(query),
        kind=query.get("kind"),
    )
    stretch = partial.stretch
    headers = {
        "cache-control": "private, no-store",
        "x-batchyard-watermark": str(stretch.watermark),
        "x-batchyard-lines": str(stretch.lines),
        "x-batchyard-lines-total": str(partial.batch.counts.total),
        "x-batchyard-more": _word(stretch.more),
        "x-batchyard-complete": _word(partial.complete),
    }
    return Response(stretch.data, headers=headers, media_type=JSONL)


def _word(yes: bool) -> str:
    return "true" if yes else "false"


ROUTES = [Route("/batches/{id}/results", get_results)]
"""Beside `openai.batches.ROUTES`."""
