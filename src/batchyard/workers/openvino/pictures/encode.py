"""Pixels as a file of a picture."""

import base64
import importlib
import io
from typing import Any


def encoded(pixels: Any, form: str, compression: int | None) -> str:
    """A PNG, JPEG or WebP file in base64. `compression` is the quality of the lossy ones, 0 to 100."""
    image_of: Any = importlib.import_module("PIL.Image").fromarray
    options: dict[str, Any] = {} if form == "png" or compression is None else {"quality": compression}
    file = io.BytesIO()
    image_of(pixels).save(file, format=form.upper(), **options)
    return base64.b64encode(file.getvalue()).decode()
