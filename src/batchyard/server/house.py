"""What stands behind the doors: the services and engines that their calls go to."""

import random
from dataclasses import dataclass, field

from msgspec import Struct
from starlette.requests import Request

from batchyard.clock import Clock
from batchyard.domain.errors import Invalid, Unavailable
from batchyard.offload import Offload
from batchyard.server.interactive import Interactive
from batchyard.server.models import Model, Models
from batchyard.server.tolls import Tolls
from batchyard.service.access import Access
from batchyard.service.batches import Batches
from batchyard.service.feed import Feed
from batchyard.service.files import Files
from batchyard.service.model_batches import ModelBatches
from batchyard.service.results import Results
from batchyard.service.resumables import Resumables
from batchyard.service.retry import Retries
from batchyard.service.spending import Spending
from batchyard.service.uploads import Uploads
from batchyard.service.webhooks import Webhooks
from batchyard.telemetry.metrics import Metrics


class Limits(Struct, frozen=True, kw_only=True):
    """How much one call may carry. `inference_bytes` bounds one request to a model, images and all; `inline_bytes` a
    batch whose requests come with the call."""

    inference_bytes: int = 32 << 20
    inline_bytes: int = 20 << 20
    call_bytes: int = 1 << 20
    json_depth: int = 128


@dataclass(kw_only=True)
class House:
    """One server's rooms. `ready` is None while it takes work, otherwise why it does not.

    `apart` carries out what would keep other calls waiting. `behind_proxy` is whether what a proxy says of the way
    before it is believed.
    """

    access: Access
    files: Files
    uploads: Uploads
    resumables: Resumables
    batches: Batches
    model_batches: ModelBatches
    retries: Retries
    results: Results
    feed: Feed
    webhooks: Webhooks
    models: Models
    interactive: Interactive
    tolls: Tolls
    spending: Spending
    metrics: Metrics
    ids: random.Random
    clock: Clock
    apart: Offload
    limits: Limits = field(default_factory=Limits)
    ready: str | None = None
    behind_proxy: bool = False

    def new_id(self, prefix: str) -> str:
        """A fresh id: the prefix and 32 hexadecimal digits."""
        return f"{prefix}{self.ids.getrandbits(128):032x}"

    def model_for(self, name: str, endpoint: str) -> Model:
        """The model of a name that answers an endpoint now. Raises Unavailable, NotFound, and Invalid for another's."""
        if self.ready is not None:
            raise Unavailable(f"The server takes no work now: {self.ready}.", remedy="Try again in a moment.")
        model = self.models.find(name)
        if endpoint not in model.abilities.endpoints:
            served = ", ".join(sorted(model.abilities.endpoints))
            raise Invalid(
                f"The model '{name}' does not serve {endpoint}.", reason="unsupported", param="model",
                remedy=f"It serves: {served}.",
            )  # fmt: skip
        return model


def house_of(request: Request) -> House:
    """The house that a request came to."""
    return request.app.state.house
