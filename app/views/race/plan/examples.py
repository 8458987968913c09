"""A few training examples of a task, as the models see them."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

import numpy as np
import streamlit as st

from analysis.training.data.spoken import RATE
from analysis.training.tasks import get_task
from analysis.trials.study import Study
from app.views.race import pictures

_MOST = {"text": 2, "image": 10, "audio": 3}


def show(study: Study) -> None:
    """Draw training examples of different labels."""
    task = get_task(study.task)
    train = task.load().train
    first_of_each_label = np.unique(train.labels, return_index=True)[1][: _MOST[task.kind]]
    st.caption(f"{study.examples:,} training examples")
    draw([(train.inputs[place], task.labels[train.labels[place]]) for place in first_of_each_label], task.kind)


def draw(pairs: Iterable[tuple[Any, str]], kind: str) -> None:
    """Draw texts, images or sounds, each with its label.

    Args:
        pairs: (text, image or sound, label).
        kind: "text", "image" or "audio".
    """
    if kind == "audio":
        for sound, label in pairs:
            with st.container(horizontal=True, vertical_alignment="center", wrap=False):
                st.audio(sound, sample_rate=RATE)
                st.markdown(f"**{label}**", width=60)
        return
    shown = {"text": lambda text: f"<q>{html.escape(text)}</q>", "image": _picture}[kind]
    items = "".join(f"<li>{shown(example)}<b>{html.escape(label)}</b></li>" for example, label in pairs)
    st.html(f'<ul class="examples {kind}">{items}</ul>')


def _picture(pixels: np.ndarray) -> str:
    return f'<img alt="" width="40" height="40" src="{pictures.data_url(pixels)}">'
