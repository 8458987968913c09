"""What a shipped adapter predicts with its M changed."""

from __future__ import annotations

from typing import Any

import streamlit as st

from analysis.adapters.adapter import Adapter
from analysis.adapters.shipped import shipped_adapters
from analysis.figures.prediction_bars import prediction_bars
from app import data, figures
from app.views.classified import EXAMPLES
from app.views.dial import HEIGHT, say_unread, wait

TASK = "bbc_headlines"
EXAMPLE = EXAMPLES[TASK]


def adapter(pattern: str) -> Adapter:
    """Return the shipped adapter of a pattern for the topics of headlines."""
    return data.adapter(next(path for path in shipped_adapters().values() if path.name == f"{TASK}-{pattern}"))


def warm_up() -> None:
    """Begin to load the model, in the background."""
    data.predictor(adapter("banded"))


def show(of: Adapter, text: str, *, key: str, **change: Any) -> None:
    """Draw the bars, once the model is there; `change` goes to `Predictor.predict`."""
    predictor = wait(data.predictor(of))
    if error := predictor.exception():
        st.warning(str(error), icon=":material/error:")
    elif text.strip():
        loaded = predictor.result()
        figure = prediction_bars(loaded.predict(text, **change), pattern=of.config["pattern"], theme=figures.theme())
        figures.draw(figure, key=key, height=HEIGHT)
        st.caption(figures.words(figure)["caption"])
        say_unread(loaded, text)
