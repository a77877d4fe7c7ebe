"""What tests of processes share."""

import os
import select
import sys

ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([os.getcwd(), *(path for path in sys.path if path)])}
"""Lets a child import what the tests import."""


def ended_within(pid: int, seconds: float) -> bool:
    """Wait until a process, not necessarily our child, has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)
