"""Our HTTP/1.1 client: requests out at full speed, answers whole or an error that says what became of the request.

`Client` keeps connections to one origin; `Address` reads a URL; `Received` is an answer. The errors tell apart what the
caller must know before it asks again: was the request ever sent, did it break, or is the answer unusable.
"""

from batchyard.transport.http1.address import Address, request_head
from batchyard.transport.http1.client import Client
from batchyard.transport.http1.connection import Connection
from batchyard.transport.http1.events import BrokenEvents, EventReader
from batchyard.transport.http1.exchange import BadAnswer, ConnectFailed, HttpError, Limits, Lost, Received, TooLarge
from batchyard.transport.http1.flow import Flow
from batchyard.transport.http1.tls import tls_context

__all__ = [
    "Address",
    "BadAnswer",
    "BrokenEvents",
    "Client",
    "ConnectFailed",
    "Connection",
    "EventReader",
    "Flow",
    "HttpError",
    "Limits",
    "Lost",
    "Received",
    "TooLarge",
    "request_head",
    "tls_context",
]
