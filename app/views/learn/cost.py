"""Chapter 6: U and V in memory, one SVD per weight; and why an adapter needs the very vectors it was trained with."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.figures.memory_bars import memory_bars
from analysis.figures.svd_time import svd_time
from analysis.lessons import cost
from analysis.measures.overview import relative_norms
from app import data, figures
from app.compat import fragment
from app.views.learn import controls, prediction, question

TITLE = "What it costs"
QUESTIONS = ("basis", "immune")
MINUTES = 8
NOTES = (
    "Parameters are few, but memory is not small: U and V are kept alongside W. Their gradient needs no optimizer "
    "state, though, "
    "which full fine-tuning pays for twice over. In the aside, let students predict which pattern survives the flip "
    "before they move the slider."
)


def show() -> None:
    """Draw the step that is open."""
    if controls.head("Few parameters, but U and V stay in memory", "step6", ("Memory and time", "Aside: signs")) == 0:
        _show_cost()
    else:
        _show_signs()


@fragment
def _show_cost() -> None:
    aside, stage = st.columns([4, 9], gap="medium")
    with aside:
        st.latex(r"h = U(\Sigma + M)V^\top x")
        out = controls.slider("out", "Rows of W, out", 128, 4096, 1536, 128)
        in_ = controls.slider("in", "Columns of W, in", 128, 4096, 384, 128)
        d = controls.slider("d", "Band of M, off_diag d", 0, 32, 2, 1)
        rank = controls.slider("r", "LoRA, rank r", 1, 32, 1, 1)
        measured = st.session_state.setdefault("learn-svd", cost.measure_svd(cost.SMALL))
        if st.button("Measure larger SVDs here", icon=":material/timer:", key="measure-svd"):
            measured = _measure_larger(measured)
    with stage:
        left, right = st.columns(2, gap="medium")
        with left:
            table = cost.memory_table(out, in_, d, rank)
            figure = memory_bars(table, shape=(out, in_), theme=figures.theme())
            figures.draw(figure, key="learn-memory")
            figures.explain(figure, table, key="learn-memory", file_name="memory.csv")
        with right:
            figure = svd_time(measured, size=min(out, in_), theme=figures.theme())
            figures.draw(figure, key="learn-svd-time")
            figures.explain(figure, measured, key="learn-svd-time", file_name="svd_seconds.csv")
        question.ask_number(
            "basis",
            f"How many MB (10⁶ bytes) do U and V of a weight of {cost.ASKED[0]}×{cost.ASKED[1]} take in float32?",
            cost.check_basis,
            solution="(1536 + 384) · 384 · 4 bytes = 2.95 MB.",
        )


def _measure_larger(measured: pd.DataFrame) -> pd.DataFrame:
    """Measure one larger size after the other, saying how far it is."""
    place = st.empty()
    measured = measured[measured["n"].isin(cost.SMALL)]
    for done, n in enumerate(cost.LARGE):
        place.progress(done / len(cost.LARGE), text=f"Decomposing {n}×{n}")
        measured = pd.concat([measured, cost.measure_svd((n,), repeats=1)], ignore_index=True)
        st.session_state["learn-svd"] = measured
    place.empty()
    return measured


@fragment
def _show_signs() -> None:
    from analysis.lessons import signs  # torch: not before it is needed
    from analysis.lessons.weights import load_weight

    aside, stage = st.columns([4, 9], gap="medium")
    with aside:
        st.markdown(
            "An SVD may flip both vectors of a pair; W does not change. An adapter that was not told **breaks**:"
        )
        st.latex(r"(-u_i)\,\sigma_i\,(-v_i)^\top = u_i\,\sigma_i\,v_i^\top")
        pattern = controls.choice("of", "Adapter", ("banded", "plain", "random"))
        every = controls.slider("every", "Flip the signs of each … pair", 2, 8, 2, 1)
        is_used = controls.choice("signature", "Signature in the file", ("Ignored", "Used")) == "Used"
        text = controls.text("text6", "Text to classify", prediction.EXAMPLE)
    adapter = prediction.adapter(pattern)
    repaired = signs.repair(load_weight("square"), every)
    factor = signs.flipped(every, repaired if is_used else None)
    with stage:
        largest = data.adapter_table(relative_norms, adapter).nlargest(1, "relative_norm").iloc[0]
        matrix = data.matrix(adapter, largest["name"])
        error = signs.update_error(matrix, factor)
        left, middle, right = st.columns(3)
        left.metric("Error of W", f"{repaired.weight_error:.0e}", help="The flipped vectors are an SVD of W too.")
        middle.metric(f"Error of ΔW, {matrix.label}", f"{error:.0%}")
        wrong = int((repaired.signs[matrix.rows, matrix.cols] < 0).sum())
        right.metric("Wrong signs, by the signature", f"{wrong:,} of {matrix.k:,}")
        prediction.show(adapter, text, key="learn-signs", factor=factor)
        st.caption(
            "An adapter’s file holds, for each matrix, two probes of every singular vector: a vector that comes out "
            "flipped has probes of the other sign, so loading repairs it; one that cannot be matched is refused."
        )
        question.ask_choice(
            "immune",
            "Which pattern survives flips of whole pairs (uᵢ, vᵢ), even if the signature is ignored?",
            ("plain", "banded", "random"),
            signs.check_immune,
            solution="plain: (−uᵢ)(−vᵢ)ᵀ = uᵢvᵢᵀ.",
        )
