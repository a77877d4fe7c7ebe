"""The managed engine: an inference server that we start ourselves, on loopback, and keep alive."""

from batchyard.engines.managed.engine import Config, ManagedEngine, ignored_flags, installed, open
from batchyard.engines.managed.programs import RECIPES

__all__ = ["RECIPES", "Config", "ManagedEngine", "ignored_flags", "installed", "open"]
