"""What a batch may bring along of webhooks of its own."""

import msgspec

from batchyard.domain.errors import Invalid
from batchyard.domain.hooks import Hooks
from batchyard.service import checks
from batchyard.service.webhooks import Check

MOST_URIS = 5
MOST_METADATA_BYTES = 4_096

_URIS = "batch.webhookConfig.uris"
_METADATA = "batch.webhookConfig.userMetadata"


async def nowhere(url: str) -> None:
    """A check that no URL passes."""
    raise Invalid("This server delivers nothing.", param="url", reason="invalid_value")


def plain(given: Hooks | None) -> Hooks | None:
    """Hooks without what is there twice, None where nothing is left. Raises Invalid where there is too much of them."""
    if given is None or given == Hooks():
        return None
    uris = tuple(dict.fromkeys(given.uris))
    if len(uris) > MOST_URIS:
        raise Invalid(f"A job has at most {MOST_URIS} webhooks of its own.", param=_URIS, reason="invalid_value")
    if given.user_metadata is not None and len(msgspec.json.encode(given.user_metadata)) > MOST_METADATA_BYTES:
        message = f"A job's user metadata has at most {MOST_METADATA_BYTES} bytes as JSON."
        raise Invalid(message, param=_METADATA, reason="invalid_value")
    return Hooks(uris=uris, user_metadata=given.user_metadata)


async def require_told(given: Hooks | None, check: Check) -> None:
    """Raise Invalid, with the name of the field, where one of the URIs could not be delivered to."""
    for place, uri in enumerate(given.uris if given else ()):
        field = f"{_URIS}[{place}]"
        try:
            await check(checks.url(uri, field))
        except Invalid as error:
            raise Invalid(error.message, remedy=error.remedy, param=field, reason=error.reason) from None
