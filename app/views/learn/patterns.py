"""Chapter 3: paint a pattern Ω, see what it can do, try the lemma on it, and race it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import streamlit as st

from analysis.figures.reach import reach
from analysis.lessons import lemma, painting
from analysis.lessons.painting import SIDE, Facts
from analysis.lessons.weights import WEIGHTS, load_weight
from app import figures, memory
from app.compat import fragment
from app.views.learn import canvas, controls, question, racing

TITLE = "Patterns"
QUESTIONS = ("low_rank",)
MINUTES = 10
NOTES = (
    "k counts parameters, the structural rank bounds ΔW: rows or columns that repeat waste parameters on rank. Random "
    "entries reach a little over half of full rank at k = n, a diagonal all of it. In the lemma’s step let students "
    "say beforehand where no grey stays: on the square weight, whose singular vectors span the whole space."
)
_PAINT = "paint"
_OFF_DIAG, _STEP = 8, 16  # d of a band to begin with, and directions from one size to the next
_MOST_CELLS = 64  # that are raced: more would be slower to train than a lesson has time


def show() -> None:
    """Draw the step that is open."""
    if controls.head("Which entries of M are trained decides what it can do", "step3", ("Paint Ω", "The lemma")) == 0:
        _show_canvas()
    else:
        _show_lemma()


def painted() -> frozenset[int]:
    """Return the cells that the student has painted: the diagonal, to begin with."""
    kept = memory.recall("learn-painted")
    return painting.diagonal_cells() if kept is None else frozenset(kept)


def _paint(cells: Collection[int]) -> None:
    memory.keep("learn-painted", sorted(cells))


@fragment
def _show_canvas() -> None:
    from svft.patterns import PATTERNS  # torch: not before this chapter

    left, right = st.columns([5, 8], gap="large")
    with right:
        name = controls.choice("pattern", "Pattern Ω", [_PAINT, *PATTERNS], {_PAINT: "My own"})
        own = name == _PAINT
        facts, cells = _facts(name, PATTERNS)
        with st.container(horizontal=True, key="learn-facts"):
            st.metric("k, entries of M", f"{facts.k:,}")
            st.metric("Rank of ΔW, at most", facts.structural_rank, help="The structural rank of Ω.")
            st.metric("A LoRA of this size: rank", f"{facts.lora_rank:.1f}", help="r = k / (out + in)")
        st.caption(
            f"Of {painting.N**2:,} entries of a square weight’s M. "
            + ("Press and drag; begin on a painted cell to wipe." if own else PATTERNS[name].description)
        )
        if own:
            question.ask_deed(
                "low_rank",
                f"Paint at least {painting.ASKED_CELLS} cells, for a rank of **at most {painting.ASKED_RANK}**.",
                lambda: painting.check_low_rank(painted()),
                solution="All cells in at most 6 rows (or columns): 6 · 16 = 96.",
            )
            _show_race(facts)
    with left:
        canvas.show(
            cells,
            method="custom" if own else name,
            label=f"Pattern of {facts.k:,} entries on a canvas of {SIDE} by {SIDE} cells, rows for left vectors.",
            key=f"learn-canvas-{'paint' if own else 'shown'}",
            on_paint=_paint if own else None,
        )
        if own:
            with st.container(horizontal=True, key="learn-presets"):
                for label, preset in _PRESETS.items():
                    st.button(label, key=f"preset-{label}", on_click=_paint, args=(preset,), type="tertiary")
        st.caption("Rows i: left singular vectors uᵢ; columns j: right ones vⱼ. Each cell is 16×16 entries.")


_PRESETS = {"Diagonal": painting.diagonal_cells(), "One row": painting.row_cells(0), "Clear": frozenset()}


def _facts(name: str, patterns: dict) -> tuple[Facts, np.ndarray]:
    """Return the facts of the chosen pattern, and how full each cell of the canvas is."""
    if name == _PAINT:
        cells = np.zeros(SIDE * SIDE)
        cells[list(painted())] = 1
        return painting.facts_of_cells(painted()), cells.reshape(SIDE, SIDE)
    if patterns[name].sized:
        size = controls.slider("off_diag", "Size: off_diag d", 0, 24, _OFF_DIAG, 1)
    else:
        label = "Size: leading directions r"
        size = controls.slider(f"leading-{name}", label, _STEP, painting.N, _leading(name), _STEP)
    flat = _entries(name, size, patterns[name])
    return _facts_of(name, size, patterns[name], flat), painting.density(flat)


def _leading(name: str) -> int:
    """Return the directions to begin with: all of a diagonal; of a square, those that make it as large as the band."""
    from svft.patterns import directions_within, pattern_size

    return round(directions_within(name, painting.N, pattern_size(painting.N, _OFF_DIAG)) / _STEP) * _STEP


# The pattern itself is part of the key: another one can be registered under the same name.
@st.cache_data(max_entries=64, show_spinner="Choosing entries …", hash_funcs={"svft.patterns.Pattern": repr})
def _entries(name: str, size: int, pattern: object) -> np.ndarray:
    return painting.registered_entries(name, size)


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs={"svft.patterns.Pattern": repr})
def _facts_of(name: str, size: int, pattern: object, _flat: np.ndarray) -> Facts:
    return painting.facts_of_entries(_flat)


def _show_race(facts: Facts) -> None:
    cells = len(painted())
    with st.container(horizontal=True, vertical_alignment="center", key="learn-race"):
        if st.button(
            "Race it",
            icon=":material/flag:",
            type="primary",
            key="race-it",
            disabled=not 0 < cells <= _MOST_CELLS,
            on_click=_race,
        ):
            st.rerun()  # all of the app: another page was asked for
        st.caption(
            f"Takes My pattern to Race, next to banded, random and chosen ones of about {facts.k:,} entries per "
            "matrix, head only, LoRA r=1 and full fine-tuning."
            if cells <= _MOST_CELLS
            else f"At most {_MOST_CELLS} cells race, so that it takes minutes: wipe {cells - _MOST_CELLS}.",
            width="stretch",
        )


def _race() -> None:
    pairs = tuple((int(i), int(j)) for i, j in zip(*np.divmod(painting.entries_of(painted()), painting.N)))
    budget = len(pairs) * racing.matrices()
    methods = ("head_only", "custom", "banded", "random", "chosen", "lora", "full")
    sizes = {"lora": (1,)}
    racing.go(replace(racing.prepared(), methods=methods, budgets=(budget,), sizes=sizes, custom_indices=pairs))


@fragment
def _show_lemma() -> None:
    flat = painting.entries_of(painted())
    left, right = st.columns([5, 8], gap="large")
    with left:
        st.markdown("**With all of M**, any target P is reached from a square W:")
        st.latex(r"M = U^\top (P - W)\,V \;\Rightarrow\; W + UMV^\top = P")
        st.markdown("**On your Ω**, M keeps only the entries of Ω, and the update’s rank is bounded:")
        st.latex(r"\operatorname{rank}(UMV^\top) \le \operatorname{srank}(\Omega) \le \min(k, n)")
        st.caption("Your Ω is what you painted in the first step; P is W plus random numbers as large as W.")
    with right:
        if not len(flat):
            st.info("Your Ω is empty: paint some cells in the first step.", icon=":material/brush:")
            return
        table, ranks = _lemma(tuple(sorted(painted())))
        figure = reach(table, theme=figures.theme())
        figures.draw(figure, key="learn-reach")
        figures.explain(figure, table, key="learn-reach", file_name="reach.csv")
        bound = painting.facts_of_cells(painted()).structural_rank
        st.markdown(
            "| Rank, with random values on your Ω | computed from ΔW | structural rank of Ω |\n|:--|--:|--:|\n"
            + "\n".join(f"| {name} weight | {rank} | {bound} |" for name, rank in ranks.items())
        )
        if all(rank == bound for rank in ranks.values()):
            st.caption("Both sides agree: almost all values on Ω reach the bound.")


@st.cache_data(max_entries=32, show_spinner="Computing both sides …")
def _lemma(cells: tuple[int, ...]) -> tuple:
    flat = painting.entries_of(cells)
    weights = {name: load_weight(name) for name in WEIGHTS}
    return lemma.reach_table(weights, flat), {
        name: lemma.update_rank(weight, flat) for name, weight in weights.items()
    }
