"""Chapter 2: M between the singular vectors of a photograph, then of a real model's weights."""

from __future__ import annotations

import numpy as np
import streamlit as st

from analysis.figures.mixing import mixing as mixing_figure
from analysis.figures.picture import grey_pixels, signed_pixels
from analysis.lessons import picture
from analysis.lessons.answers import Answer
from analysis.lessons.factors import two_dials
from app import figures
from app.compat import fragment
from app.views.learn import controls, pictures, prediction, question

TITLE = "M and the dial"
QUESTIONS = ("removed", "turned")
MINUTES = 8
NOTES = (
    "Entries are shown relative to √(σᵢσⱼ), as in Explore. With the diagonal alone the square of cosines stays the "
    "identity whatever the dial says: the lemma’s part on structure. The first entry off the diagonal breaks it. In "
    "the model, compare both dials at 0 (the same head, M off) with each alone."
)
_PAIRS = (1, 2)  # the second and the third: of like size, so that they mix readily
_SIZE = 6  # leading pairs of the photograph that are shown


def show() -> None:
    """Draw the step that is open."""
    if (
        controls.head(
            "M re-weights singular vectors on its diagonal, and mixes them off it",
            "step2",
            ("A photograph", "A language model"),
        )
        == 0
    ):
        _show_picture()
    else:
        _show_model()


@fragment
def _show_picture() -> None:
    aside, stage = st.columns([4, 9], gap="medium")
    with aside:
        st.latex(r"U(\Sigma + \alpha M)V^\top")
        alpha = controls.slider("alpha", "Dial α", -1.0, 2.0, 1.0, 0.1)
        left, right = st.columns(2)
        with left:
            m22 = controls.slider("m22", "M₂₂, on the diagonal", -1.0, 1.0, 0.0, 0.1)
            m32 = controls.slider("m32", "M₃₂, off it", -1.0, 1.0, 0.0, 0.1)
        with right:
            m23 = controls.slider("m23", "M₂₃, off it", -1.0, 1.0, 0.5, 0.1)
            m33 = controls.slider("m33", "M₃₃, on the diagonal", -1.0, 1.0, 0.0, 0.1)
        st.caption("Each in parts of √(σᵢσⱼ); all other entries are 0.")
    chosen = picture.load_picture("china")
    relative = np.array([[m22, m23], [m32, m33]])
    M = alpha * picture.between_two(chosen.sigma, *_PAIRS, relative, _SIZE)
    mixed = picture.mixing(chosen.sigma, M)
    with aside:
        figure = mixing_figure(mixed.left, mixed.turned, theme=figures.theme())
        figures.draw(figure, key="learn-mixing")
    with stage:
        update = chosen.update(M)
        left, right = st.columns(2, gap="small")
        with left:
            pictures.show(grey_pixels(chosen.W + update), "U(Σ + αM)Vᵀ")
        with right:
            pictures.show(signed_pixels(update, theme=figures.theme()), "The update αΔW: blue darkens, red brightens")
        st.caption(figures.words(figure)["caption"])
        question.ask_deed(
            "removed",
            "Take the third singular pair out of the photograph with a **plain** M, and leave all others alone.",
            lambda: picture.check_removed(relative, alpha),
            solution="α = 1 and M₃₃ = −1 (or any two with αM₃₃ = −1), everything else 0.",
        )


@fragment
def _show_model() -> None:
    aside, stage = st.columns([4, 9], gap="medium")
    with aside:
        st.markdown("The same in 36 weights of a language model that was trained on headlines, with a banded M.")
        text = controls.text("text", "Text to classify", prediction.EXAMPLE)
        on = controls.slider("on", "Dial of the entries on the diagonal", -1.0, 3.0, 1.0, 0.1)
        off = controls.slider("off", "Dial of those off it", -1.0, 3.0, 1.0, 0.1)
        st.latex(r"U\big(\Sigma + \alpha_{\text{on}} M_{\text{on}} + \alpha_{\text{off}} M_{\text{off}}\big)V^\top")
    with stage:
        prediction.show(prediction.adapter("banded"), text, key="learn-bars", factor=two_dials(on, off))
        question.ask_choice(
            "turned",
            "With the second dial at 0 only the diagonal acts. What can M then **not** do to a weight?",
            list(_REPLIES),
            lambda given: Answer(given == _RIGHT, _REPLIES[given]),
            solution=f"{_RIGHT}: with a diagonal M, U(Σ + M)Vᵀ is itself an SVD up to signs and order.",
        )


_RIGHT = "Turn a singular vector"
_REPLIES = {
    "Change a singular value": "It does just that: Σ + M is diagonal, and its entries are the new singular values (up "
    "to sign and order).",
    _RIGHT: "Right: with a diagonal M, U(Σ + M)Vᵀ is itself an SVD of the new weight. Vectors stay, values change.",
    "Change a prediction": "It does: turn the first dial with the second one at 0, and the bars move.",
}
