"""Pictures that change while a slider is moved."""

from __future__ import annotations

import base64
import io

import numpy as np
import streamlit as st
from PIL import Image


def show(pixels: np.ndarray, caption: str) -> None:
    """Draw pixels, (height, width) or (height, width, 3) uint8, with a caption.

    The picture travels in its own URL: as a file of Streamlit's it would be gone, once the slider has moved on, before
    the browser has asked for it.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    st.image(source, caption, width="stretch", alt=caption)
