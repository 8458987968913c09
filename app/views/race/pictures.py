"""Images and sounds of a task as small pictures, as a page can show them in a table or in HTML."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from analysis.figures.picture import spectrogram_pixels

SIDE = 48  # pixels: a multiple of the digits' 8
SOUND_WIDTH = 2 * SIDE


def data_url(pixels: np.ndarray) -> str:
    """Return an image (height, width) as a URL that holds it, each pixel enlarged."""
    scaled = (255 * (pixels / max(pixels.max(), 1))).astype(np.uint8)
    return _url(Image.fromarray(scaled).resize((SIDE, SIDE), Image.Resampling.NEAREST))


def sound_url(sound: np.ndarray) -> str:
    """Return the spectrogram of a sound (samples,) as a URL that holds it."""
    return _url(Image.fromarray(spectrogram_pixels(sound)).resize((SOUND_WIDTH, SIDE)))


def _url(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
