"""The dial: U(Σ + αM)Vᵀ applied to a text, beside the accuracy over α that was computed beforehand."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis.figures.dial_curve import dial_curve
from analysis.figures.prediction_bars import prediction_bars
from app import figures
from app.selection import Selection


@st.fragment
def show(chosen: Selection) -> None:
    """Draw the text, the dial, what the model predicts, and the dot on the curve."""
    pattern = chosen.adapter.matrices["pattern"].iloc[0]
    left, middle, right = st.columns([3, 4, 5], gap="medium")
    with left:
        st.text_input("Text to classify", "Rate rise fears shake markets")
        alpha = st.slider("Dial α", -1.0, 3.0, 1.0, 0.1, format="%.1f", help="Applies U(Σ + αM)Vᵀ.")
    with middle:
        e = np.exp(alpha * np.array([2, 0, 0.5, -1, 0.3]))
        bars = prediction_bars(
            pd.DataFrame(
                {"label": ["business", "entertainment", "politics", "sport", "tech"], "probability": e / e.sum()}
            ),
            pattern=pattern,
            theme=figures.theme(),
        )
        figures.draw(bars, key="bars", height=205)
    with right:
        a = np.round(np.arange(-1, 3.01, 0.2), 1)
        acc = 0.86 - 0.1 * (a - 1) ** 2
        curve = pd.DataFrame({"alpha": a, "accuracy": acc, "low": acc - 0.02, "high": acc + 0.02})
        line = dial_curve(curve, alpha=alpha, pattern=pattern, theme=figures.theme(), head_only=0.46, full=0.83)
        figures.draw(line, key="curve", height=205)
