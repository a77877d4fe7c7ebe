"""What a server is told to do: plain values, checked where they enter."""

import ipaddress

from msgspec import Struct

from batchyard.domain.errors import Invalid


class ServeOptions(Struct, frozen=True, kw_only=True):
    """Everything that one server needs to be told.

    `data_folder` holds its facts and files. For the model and the engine see `RunOptions`; `served_names` are what
    callers may say, the first one stands in answers. `grace_seconds` is how long calls under way may take at the end.
    `webhook_allow_private` are hosts, addresses and networks beside the public internet that webhooks may go to.
    """

    data_folder: str
    host: str = "127.0.0.1"
    port: int = 8000
    model: str | None = None
    served_names: tuple[str, ...] = ()
    upstreams: tuple[str, ...] = ()
    api_key_env: str | None = None
    engine: str = "auto"
    mmproj: str | None = None
    slots: int | None = None
    context_tokens: int | None = None
    threads: int | None = None
    engine_start_seconds: float | None = None
    request_timeout_seconds: float = 600.0
    grace_seconds: int = 30
    webhook_allow_private: tuple[str, ...] = ()


def check(options: ServeOptions) -> None:
    """Raises Invalid where the options do not make a server."""
    if options.upstreams and options.model is None and not options.served_names:
        raise Invalid("The upstream's model has no name here.", remedy="Give --model NAME.")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
