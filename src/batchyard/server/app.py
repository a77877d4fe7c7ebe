"""All doors, put together."""

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from batchyard.dialects.gemini.unfit import Unfit
from batchyard.domain.errors import BatchyardError
from batchyard.server.house import House
from batchyard.server.http import health, openapi
from batchyard.server.http.batchyard import events, results
from batchyard.server.http.gemini import absent
from batchyard.server.http.gemini import batches as gemini_batches
from batchyard.server.http.gemini import files as gemini_files
from batchyard.server.http.gemini import inference as gemini_inference
from batchyard.server.http.gemini import models as gemini_models
from batchyard.server.http.gemini import uploads as gemini_uploads
from batchyard.server.http.gemini import webhooks as gemini_webhooks
from batchyard.server.http.openai import batches, costs, files, inference, models, uploads, webhooks
from batchyard.server.middleware import Threshold
from batchyard.server.openapi.document import document
from batchyard.server.replies import refuse_error, refuse_route


def build_app(house: House) -> Starlette:
    """The ASGI application of a house. Paths reach its routes without their prefixes (`paths.address`)."""
    app = Starlette(
        routes=[
            *health.ROUTES,
            *openapi.ROUTES,
            *files.ROUTES,
            *batches.ROUTES,
            *results.ROUTES,
            *events.ROUTES,
            *uploads.ROUTES,
            *webhooks.ROUTES,
            *models.ROUTES,
            *inference.ROUTES,
            *costs.ROUTES,
            *gemini_inference.ROUTES,
            *gemini_batches.ROUTES,
            *gemini_webhooks.ROUTES,
            *gemini_files.ROUTES,
            *gemini_uploads.ROUTES,
            *absent.ROUTES,
            *gemini_models.ROUTES,
        ],
        middleware=[Middleware(Threshold, house=house)],
        exception_handlers={BatchyardError: refuse_error, Unfit: refuse_error, HTTPException: refuse_route},
    )
    app.router.redirect_slashes = False
    app.state.house = house
    app.state.document = msgspec.json.encode(document(app.routes))
    return app
