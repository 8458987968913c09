"""Images of a task, small, as a page can show them in a table or in HTML."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

SIDE = 48  # pixels: a multiple of the digits' 8


def data_url(pixels: np.ndarray) -> str:
    """Return an image (height, width) as a URL that holds it, each pixel enlarged."""
    scaled = (255 * (pixels / max(pixels.max(), 1))).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(scaled).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
