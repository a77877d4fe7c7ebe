"""`/v1/batches/{id}/results`: results of a batch that has not ended yet, portion by portion."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.dialects.openai.calls import limit_of
from batchyard.server.access import caller_of
from batchyard.server.house import house_of

JSONL = "application/jsonl"


async def get_results(request: Request) -> Response:
    """The next results. A whole portion or an error: whoever appends portions never has half a line."""
    caller = await caller_of(request)
    query = request.query_params
    partial = await house_of(request).results.portion(
        caller,
        request.path_params["id"],
        after=query.get("after"),
        limit=limit_of(query),
        kind=query.get("kind"),
    )
    portion = partial.portion
    headers = {
        "cache-control": "private, no-store",
        "x-batchyard-watermark": str(portion.watermark),
        "x-batchyard-lines": str(portion.lines),
        "x-batchyard-lines-total": str(partial.batch.counts.total),
        "x-batchyard-more": _word(portion.more),
        "x-batchyard-complete": _word(partial.complete),
    }
    return Response(portion.data, headers=headers, media_type=JSONL)


def _word(yes: bool) -> str:
    return "true" if yes else "false"


ROUTES = [Route("/batches/{id}/results", get_results)]
"""Beside `openai.batches.ROUTES`."""
