"""The dial: U(Σ + αM)Vᵀ applied to a text, beside the accuracy over α that was computed beforehand."""

import streamlit as st

from analysis.figures.dial_curve import dial_curve
from analysis.figures.prediction_bars import prediction_bars
from app import data, figures
from app.selection import Selection

EXAMPLES = {
    "bbc_headlines": "Rate rise fears shake markets",
    "airline_tweets": "three hours late and nobody told us why, thanks a lot",
}
HEIGHT = 205


def show(chosen: Selection) -> None:
    """Draw the text, the dial, what the model predicts, and the dot on the curve."""
    loading = not data.predictor(chosen.adapter).done()
    st.fragment(_show, run_every=0.5 if loading else None)(chosen, loading)


def _show(chosen: Selection, loading: bool) -> None:
    if loading and data.predictor(chosen.adapter).done():
        st.rerun()  # the page once more, without repeating this fragment
    adapter, look = chosen.adapter, {"pattern": chosen.pattern, "theme": figures.theme()}
    left, middle, right = st.columns([3, 4, 5], gap="medium")
    with left:
        text = st.text_input(
            "Text to classify", EXAMPLES.get(adapter.task, ""), key=f"text-{adapter.task}", placeholder="Type a text"
        )
        alpha = st.slider("Dial α", -1.0, 3.0, 1.0, 0.1, format="%.1f", key="alpha", help="Applies U(Σ + αM)Vᵀ.")
    with middle:
        if loading:
            st.caption(":material/hourglass_top: Loading the model …")
        elif error := data.predictor(adapter).exception():
            st.warning(str(error), icon=":material/error:")
        elif text.strip():
            figure = prediction_bars(data.predictor(adapter).result().predict(text, alpha), **look)
            figures.draw(figure, key="bars", height=HEIGHT)
    with right:
        measured = data.evaluation(adapter)
        if measured is None or measured.dial is None:
            st.caption("This adapter brings no measured curve of accuracy over α.")
            return
        figure = dial_curve(
            measured.dial,
            alpha=alpha,
            head_only=measured.mean_accuracy("head_only"),
            full=measured.mean_accuracy("full"),
            **look,
        )
        figures.draw(figure, key="curve", height=HEIGHT)
