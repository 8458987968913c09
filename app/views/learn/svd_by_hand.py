"""Chapter 1: a 2×2 matrix turns, stretches and turns; a photograph is a matrix too."""

from __future__ import annotations

import streamlit as st

from analysis.figures.kept_energy import kept_energy as kept_energy_figure
from analysis.figures.picture import grey_pixels, signed_pixels
from analysis.figures.plane import plane
from analysis.lessons import picture
from analysis.lessons.plane import BY_HAND, check_largest, compose, rotation, singular_values_by_hand
from app import figures
from app.compat import fragment
from app.views.learn import controls, pictures, question

TITLE = "SVD by hand"
QUESTIONS = ("largest", "pairs")
MINUTES = 8
NOTES = (
    "Let students find out that turning V alone leaves the ellipse as it is (a circle turned is the same circle), and "
    "that a negative entry of Σ would be a sign of U: singular values are never negative. At σ₂ = 0 ask for the rank. "
    "In the photograph, the first pair is little more than its mean brightness; each later one adds a finer weave of "
    "rows and columns."
)


def show() -> None:
    """Draw the step that is open."""
    if controls.head("Every matrix turns, stretches, and turns again", "step1", ("A 2×2 matrix", "A photograph")) == 0:
        _show_plane()
    else:
        _show_picture()


@fragment
def _show_plane() -> None:
    aside, stage = st.columns([4, 9], gap="medium")
    with aside:
        st.latex(r"W = U\,\Sigma\,V^\top")
        v = controls.slider("v", "V: turn the input by", -180, 180, 30, 5)
        first = controls.slider("sigma1", "σ₁", 0.0, 3.0, 2.5, 0.1)
        second = controls.slider("sigma2", "σ₂", 0.0, 3.0, 1.0, 0.1)
        u = controls.slider("u", "U: turn the output by", -180, 180, 60, 5)
    W = compose(u, (first, second), v)
    with aside:
        rows = r" \\ ".join(" & ".join(f"{value + 0.0:.2f}" for value in row) for row in W.round(2))
        st.latex(rf"W = \begin{{pmatrix}} {rows} \end{{pmatrix}}")
    with stage:
        figure = plane(rotation(u), (first, second), rotation(v), theme=figures.theme())
        figures.draw(figure, key="learn-plane")
        st.caption(figures.words(figure)["caption"])
        rows = r" \\ ".join(" & ".join(f"{value:g}" for value in row) for row in BY_HAND)
        question.ask_number(
            "largest",
            rf"By hand: what is the largest singular value of $\begin{{pmatrix}} {rows} \end{{pmatrix}}$? "
            r"It is the root of the largest eigenvalue of $W^\top W$.",
            check_largest,
            solution=f"σ₁ = √45 = {singular_values_by_hand(BY_HAND)[0]:.3f}, from λ² − 50λ + 225 = 0.",
        )


@fragment
def _show_picture() -> None:
    aside, stage = st.columns([4, 9], gap="medium")
    with aside:
        name = controls.choice("picture", "Photograph W", list(picture.PICTURES), picture.PICTURES)
        chosen = picture.load_picture(name)
        pairs = controls.slider("pairs", "Leading pairs r", 1, chosen.n, 8, 1)
        st.latex(r"W \approx \sum_{i \le r} \sigma_i\,u_i v_i^\top")
        table = picture.kept_energy(chosen.sigma)
        figure = kept_energy_figure(table, pairs=pairs, theme=figures.theme())
        figures.draw(figure, key="learn-kept")
    with stage:
        for column, pixels, caption in zip(
            st.columns(3, gap="small"),
            (
                grey_pixels(chosen.W),
                grey_pixels(chosen.leading(pairs)),
                signed_pixels(chosen.single(pairs - 1), theme=figures.theme()),
            ),
            (
                f"W: {chosen.W.shape[0]}×{chosen.W.shape[1]} grey values",
                f"The first {pairs} pairs" if pairs > 1 else "The first pair",
                f"Pair {pairs} alone, a row pattern times a column pattern",
            ),
        ):
            with column:
                pictures.show(pixels, caption)
        figures.explain(figure, table, key="learn-kept", file_name="kept_energy.csv")
        question.ask_number(
            "pairs",
            "How many pairs hold 99% of this photograph’s energy? Move the slider, and read the curve.",
            lambda given: picture.check_pairs(given, chosen.sigma),
            solution=f"{int((table['share'] < 0.99).sum()) + 1} for this photograph.",
        )
