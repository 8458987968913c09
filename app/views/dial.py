"""The dial: U(Σ + αM)Vᵀ applied to a text or a sound, beside the accuracy over α that was computed beforehand."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import streamlit as st

from analysis.adapters.adapter import Adapter
from analysis.adapters.paths import CONFIG_FILE
from analysis.common.errors import UserError
from analysis.figures.dial_curve import dial_curve
from analysis.figures.prediction_bars import prediction_bars
from app import data, figures
from app.compat import fragment
from app.selection import Opened
from app.views import classified

if TYPE_CHECKING:  # torch: not before the first figure
    from analysis.running.predictor import Predictor

HEIGHT = 205


@fragment
def show(chosen: Opened) -> None:
    """Draw the text or sound, the dial, the dot on the curve, and, once the model is there, what it predicts."""
    adapter, look = chosen.adapter, {"pattern": chosen.pattern, "theme": figures.theme()}
    left, middle, right = st.columns([3, 4, 5], gap="medium")
    with left:
        given = classified.choose(adapter, "text")
        alpha = turn(adapter)
    with right:
        measured = data.evaluation(adapter)
        if measured is None or measured.dial is None:
            st.caption("This adapter has no measured curve of accuracy over α.")
        else:
            figure = dial_curve(
                measured.dial,
                alpha=alpha,
                head_only=measured.mean_accuracy("head_only"),
                full=measured.mean_accuracy("full"),
                **look,
            )
            figures.draw(figure, key="curve", height=HEIGHT)
    with middle:
        if not (adapter.path / CONFIG_FILE).is_file():
            st.caption("Its files hold no adapter to predict with: only the update of its matrices can be shown.")
            return
        predictor = wait(data.predictor(adapter))
        try:
            loaded = predictor.result()
        except UserError as error:
            st.warning(str(error), icon=":material/error:")
            return
        if given is not None:
            figures.draw(prediction_bars(loaded.predict(given, alpha), **look), key="bars", height=HEIGHT)
            say_unread(loaded, given)


def say_unread(predictor: Predictor, given: Any) -> None:
    """Say what the model does not read of a text, if there is such a part."""
    if isinstance(given, str) and (unread := predictor.unread(given)):
        st.caption(f":material/warning: {unread}")


def turn(adapter: Adapter) -> float:
    """Draw the dial and return α; 1 with a word if the adapter has none."""
    if adapter.projected:
        st.caption(f"{adapter.method} as it was trained: the dial α is for SVFT only.")
        return 1.0
    return st.slider("Dial α", -1.0, 3.0, 1.0, 0.1, format="%.1f", key="alpha", help="Applies U(Σ + αM)Vᵀ.")


def wait(predictor: Future) -> Future:
    """Return `predictor` once it is loaded; meanwhile say so, which lets a click on anything else end this run."""
    place, began = st.empty(), time.monotonic()
    while not predictor.done():
        place.caption(f":material/hourglass_top: Loading the model … {time.monotonic() - began:.0f} s")
        time.sleep(0.1)
    place.empty()
    return predictor
