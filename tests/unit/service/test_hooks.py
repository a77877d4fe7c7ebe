"""What a batch may bring along of webhooks of its own."""

import pytest

from batchyard.domain.errors import Invalid
from batchyard.domain.hooks import Hooks
from batchyard.service.hooks import MOST_METADATA_BYTES, MOST_URIS, nowhere, plain, require_told


async def outside(url: str) -> None:
    """Everything but what says that it is inside."""
    if "inside" in url:
        raise Invalid("The host inside is not on the public internet.", param="url", reason="invalid_value")


def test_hooks_are_kept_each_once_in_their_order() -> None:
    hooks = Hooks(uris=("https://b.example", "https://a.example", "https://b.example"), user_metadata={"run": 7})
    assert plain(hooks) == Hooks(uris=("https://b.example", "https://a.example"), user_metadata={"run": 7})
    assert plain(None) is plain(Hooks()) is None


@pytest.mark.parametrize(
    ("hooks", "param"),
    [
        (Hooks(uris=tuple(f"https://{n}.example" for n in range(MOST_URIS + 1))), "batch.webhookConfig.uris"),
        (Hooks(user_metadata={"a": "x" * MOST_METADATA_BYTES}), "batch.webhookConfig.userMetadata"),
    ],
)
def test_too_much_is_refused(hooks: Hooks, param: str) -> None:
    with pytest.raises(Invalid) as told:
        plain(hooks)
    assert told.value.param == param


@pytest.mark.parametrize("uri", ["http://inside", "ftp://a.example", "a.example", "https://a.example/" + "x" * 2_048])
async def test_what_cannot_be_delivered_to_is_refused_by_its_place(uri: str) -> None:
    with pytest.raises(Invalid) as told:
        await require_told(Hooks(uris=("https://a.example", uri)), outside)
    assert told.value.param == "batch.webhookConfig.uris[1]"


async def test_what_can_be_delivered_to_is_not() -> None:
    await require_told(Hooks(uris=("https://a.example", "http://b.example")), outside)
    await require_told(None, nowhere)
    with pytest.raises(Invalid, match="delivers nothing"):
        await require_told(Hooks(uris=("https://a.example",)), nowhere)
