"""What SVFT is: one sentence, the picture of shapes, and three numbers about the open adapter."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.common.wording import percent
from analysis.figures.shapes_picture import shapes_picture
from analysis.measures.coefficients import entries
from analysis.measures.overview import base_parameters, basis_bytes
from analysis.training.evaluation import Evaluation
from app import data, figures
from app.selection import Opened


def show_sentence() -> None:
    """Say in one sentence what SVFT does."""
    st.title(
        "SVFT fine-tunes a model by training only a few numbers, M, between the singular vectors "
        "U and V that every weight already has.",
        anchor=False,
    )


def show_shapes(chosen: Opened) -> None:
    """Draw W = U(Σ + M)Vᵀ with the shapes of the selected matrix."""
    matrix = data.matrix(chosen.adapter, chosen.matrix)
    figure = shapes_picture(
        data.table(entries, chosen.adapter, chosen.matrix),
        shape=matrix.shape,
        n=matrix.m,
        pattern=matrix.pattern,
        theme=figures.theme(),
    )
    figures.draw(figure, key="shapes", height=144)


def show_three(chosen: Opened) -> None:
    """Write the share of parameters trained, the recovered performance, and the memory of U and V."""
    adapter, measured = chosen.adapter, data.evaluation(chosen.adapter)
    total = base_parameters(adapter.base)
    with st.container(key="facts"):
        share, recovered, memory = st.columns(3, gap="small", wrap=False)
    trained = measured.budget if measured and adapter.projected else adapter.trainable  # all, if a part ships
    share.metric(
        "Trained",
        _share(trained, total),
        f"{trained:,} of {total / 1e6:.1f} M" if total else "numbers",
        help="Share of the base model’s parameters that were trained, excluding the task head.",
        **_QUIET,
    )
    if learned := data.pairs_evaluation(adapter):
        recovered.metric(
            "Perplexity",
            f"{learned.perplexity:.2f}",
            f"{learned.perplexity_before:.1f} before",
            help=f"Of the completions of {learned.held_out} held-out pairs: exp of the mean loss of a token, in nats.",
            **_QUIET,
        )
    else:
        _show_recovered(recovered, measured)
    memory.metric(
        "Extra memory",
        f"{(4 * trained if adapter.projected else basis_bytes(adapter)) / 1e6:,.0f} MB",
        "for what it trained" if adapter.projected else "for U and V",
        help=(
            "U and V of every adapted matrix stay in memory alongside the base model, in float32; other methods keep "
            "what they trained."
        ),
        **_QUIET,
    )


def _show_recovered(place: DeltaGenerator, measured: Evaluation | None) -> None:
    has_recovered = measured is not None and measured.recovered is not None
    place.metric(
        "Recovered",
        f"{measured.recovered:.0%}" if has_recovered else "–",
        f"{measured.recovered_low:.0%} to {measured.recovered_high:.0%}" if has_recovered else "not measured",
        help="Recovered performance: (method − head only) / (full fine-tuning − head only) in accuracy, with its "
        "95% interval.",
        **_QUIET,
    )


def _share(trained: int, total: int | None) -> str:
    if not total:
        return f"{trained:,}"
    share = trained / total
    return f"{share:.2%}" if share >= 1e-4 else percent(share)


_QUIET = {"delta_color": "off", "delta_arrow": "off"}
