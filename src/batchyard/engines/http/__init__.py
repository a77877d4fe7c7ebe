"""The http engine: any server that speaks the OpenAI wire, or several of them."""

from batchyard.engines.http.engine import ENDPOINTS, Config, HttpEngine, open

__all__ = ["ENDPOINTS", "Config", "HttpEngine", "open"]
