"""The text or sound that an open adapter is tried on."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from analysis.adapters.adapter import Adapter
from analysis.training.data.spoken import RATE
from analysis.training.tasks import TASKS, Task

EXAMPLES = {
    "bbc_headlines": "Rate rise fears shake markets",
    "airline_tweets": "three hours late and nobody told us why, thanks a lot",
}


def choose(adapter: Adapter, key: str) -> Any:
    """Draw a box for a text, or for an adapter of sounds the choice of a test sound; return it, None if there is none.

    Args:
        adapter: The open one.
        key: Begins those of the widgets.

    Raises:
        TaskError: If the task's sounds are not here.
    """
    task = TASKS.get(adapter.task or "")
    if task is not None and task.kind == "audio":
        return _sound(task, key)
    text = st.text_input(
        "Text to classify", EXAMPLES.get(adapter.task, ""), key=f"{key}-{adapter.task}", placeholder="Type a text"
    )
    return text if text.strip() else None


def _sound(task: Task, key: str) -> np.ndarray:
    test = task.load().test
    first_of_each_label = np.unique(test.labels, return_index=True)[1].tolist()
    place = st.selectbox(
        "Test sound to classify",
        first_of_each_label,
        format_func=lambda place: task.labels[test.labels[place]],
        key=f"{key}-{task.name}",
    )
    st.audio(test.inputs[place], sample_rate=RATE)
    return test.inputs[place]
