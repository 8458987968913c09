"""A few training examples of a task, as the models see them."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
import streamlit as st
from PIL import Image

from analysis.tasks import Examples, get_task
from analysis.trials.study import Study

TEXTS, IMAGES = 3, 8


def show(study: Study) -> None:
    """Draw examples of different labels."""
    one = get_task(study.task)
    train = one.load().train
    image = one.kind == "image"
    rows = [
        f"<li>{_picture(train.inputs[place]) if image else f'<q>{html.escape(train.inputs[place])}</q>'}"
        f"<b>{html.escape(one.labels[train.labels[place]])}</b></li>"
        for place in _of_each_label(train, IMAGES if image else TEXTS)
    ]
    st.caption(f"{study.examples:,} training examples, such as")
    st.html(f'<ul class="examples {one.kind}">{"".join(rows)}</ul>')


def _of_each_label(examples: Examples, most: int) -> list[int]:
    """Return the places of up to `most` examples, the first of each label."""
    return np.unique(examples.labels, return_index=True)[1][:most].tolist()


def _picture(pixels: np.ndarray) -> str:
    """Return a picture of an image (height, width), each pixel enlarged."""
    scaled = (255 * (pixels / max(pixels.max(), 1))).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(scaled).resize((48, 48), Image.Resampling.NEAREST).save(file, "PNG")
    return (
        f'<img alt="" width="40" height="40" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
    )
