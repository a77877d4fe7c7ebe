"""Pictures of answers, decoded."""

import base64
import io
from typing import Any

from PIL import Image


def decoded(entry: dict[str, Any], form: str = "PNG") -> Image.Image:
    """A picture of an answer's `data`, wholly decoded."""
    return opened(entry["b64_json"], form)


def opened(data: str | bytes, form: str = "PNG") -> Image.Image:
    """A picture from base64, or from its bytes."""
    written = base64.b64decode(data) if isinstance(data, str) else data
    with Image.open(io.BytesIO(written), formats=[form]) as file:
        file.load()
        return file.copy()
