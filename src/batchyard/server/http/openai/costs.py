"""`/v1/organization/costs`: what projects have spent."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.dialects.openai.costs import costs_call, costs_page
from batchyard.server.access import caller_of
from batchyard.server.house import house_of
from batchyard.server.replies import reply


async def list_costs(request: Request) -> Response:
    """A page of days: of all projects for the operator, of their own for anyone else."""
    caller, call = await caller_of(request), costs_call(request.query_params.multi_items())
    days = await house_of(request).spending.days(
        caller, call.start, end=call.end, limit=call.limit, projects=call.projects
    )
    return reply(costs_page(days.days, call, days.next_start))


ROUTES = [Route("/organization/costs", list_costs)]
