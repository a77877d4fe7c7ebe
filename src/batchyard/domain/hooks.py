"""What whoever submits a batch wants to be told of its end."""

from typing import Any

from msgspec import Struct


class Hooks(Struct, frozen=True, kw_only=True):
    """A batch's own webhooks.

    `uris` are told instead of the endpoints that were made on the same wire, which are told where there are none.
    `user_metadata` is the caller's own, and is said again in each delivery of that wire.
    """

    uris: tuple[str, ...] = ()
    user_metadata: dict[str, Any] | None = None
