"""Chapter 5: what a shipped adapter learned, at the matrix that it moved most."""

from __future__ import annotations

import streamlit as st

from analysis.adapters.adapter import AdaptedMatrix, Adapter
from analysis.adapters.shipped import shipped_adapters
from analysis.figures.coefficient_square import coefficient_square
from analysis.figures.coefficient_strip import coefficient_strip
from analysis.figures.concentration import concentration as concentration_figure
from analysis.figures.layer_map import layer_map
from analysis.lessons import reading
from analysis.measures.coefficients import concentration, energy_shares, entries, entries_for_energy
from analysis.measures.comparison import shared
from analysis.measures.null import entry_null
from analysis.measures.overview import relative_norms
from app import data, figures, selection
from app.compat import fragment
from app.views.learn import controls, prediction, question
from app.views.race import results

TITLE = "What did it learn?"
QUESTIONS = ("concentrated",)
MINUTES = 8
NOTES = (
    "Read from the map to the matrix to the numbers, and next to every number its chance level: k random entries of "
    "the same energy. A largest entry means nothing by itself; there always is one. Against full fine-tuning compare "
    "rank: it moves every direction a little, and an update of lower rank need not do less."
)


@fragment
def show() -> None:
    """Draw the map, the matrix of the largest update, and how to read it."""
    st.title("Read an adapter where it changed most", anchor=False)
    aside, stage = st.columns([5, 8], gap="medium")
    with aside:
        pattern = controls.choice("adapter", "Adapter, trained on headlines", ("plain", "banded", "random", "top_k"))
        adapter = prediction.adapter(pattern)
        norms = data.adapter_table(relative_norms, adapter)
        name = norms.loc[norms["relative_norm"].idxmax(), "name"]
        figure = layer_map(norms, theme=figures.theme(), selected=name)
        figures.draw(figure, key="learn-map")
        st.caption(f"**1.** {figures.words(figure)['caption']}")
        _show_ways_on(adapter, name)
    matrix = data.matrix(adapter, name)
    with stage:
        _show_matrix(adapter, matrix)


def _show_matrix(adapter: Adapter, matrix: AdaptedMatrix) -> None:
    theme = figures.theme()
    cells = data.table(entries, adapter, matrix.name)
    draw = coefficient_strip if matrix.pattern in ("plain", "banded") else coefficient_square
    left, right = st.columns(2, gap="medium")
    with left:
        figures.draw(draw(cells, n=matrix.m, theme=theme), key="learn-entries", height=240)
        shares = data.table(energy_shares, adapter, matrix.name)
        st.caption(f"**2.** {reading.on_the_diagonal(shares)}")
    with right:
        curve = data.table(concentration, adapter, matrix.name)
        fraction = float(data.table(entries_for_energy, adapter, matrix.name)["fraction"])
        null = data.table(entry_null, adapter, matrix.name)
        figure = figures.build(
            concentration_figure, curve, null, fraction=fraction, pattern=matrix.pattern, theme=theme
        )
        figures.draw(figure, key="learn-spread", height=240)
        st.caption("**3.** Above the grey band, few entries carry the energy; on the band, noise would look the same.")
    shipped = results.shipped(prediction.TASK)
    st.markdown(
        "**4. Against full fine-tuning.** "
        + reading.against_full(data.evaluation(adapter), None if shipped is None else shipped.summary)
    )
    question.ask_choice(
        "concentrated",
        f"Does {matrix.label} hold 90% of its energy in fewer entries than noise would?",
        reading.OUTCOMES,
        lambda given: reading.check_concentration(given, fraction, null.fraction),
        solution=f"{reading.concentration_outcome(fraction, null.fraction)}: "
        f"{reading.concentration_sentence(fraction, null.fraction)}.",
    )


def _show_ways_on(adapter: Adapter, name: str) -> None:
    """Draw buttons to Explore: the matrix, one beside full fine-tuning (of which few ship), and the cards."""
    full = next(label for label, path in shipped_adapters().items() if path.name == f"{prediction.TASK}-full")
    both = shared(adapter, data.adapter(shipped_adapters()[full])).names
    ways = {
        "explore": ("Open it in Explore", ":material/search:", name, {}),
        "beside": ("Beside full fine-tuning", ":material/compare:", name if name in both else both[0], {"vs": full}),
        "cards": ("What carries the skill?", ":material/style:", name, {"view": selection.EDIT}),
    }
    with st.container(horizontal=True, key="learn-ways"):
        for key, (label, icon, matrix, options) in ways.items():
            if st.button(label, icon=icon, key=f"learn-{key}", on_click=_open, args=(adapter, matrix, options)):
                st.rerun()


def _open(adapter: Adapter, name: str, options: dict[str, str]) -> None:
    selection.open_adapter(adapter.path, matrix=selection.matrix_labels(adapter)[name], **options)
