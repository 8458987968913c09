"""Explore a base model alone: the map of its weights, the singular values of one, and what to do with it next."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.common.jobs import Job
from analysis.figures.weight_decay import weight_decay
from analysis.figures.weight_map import weight_map
from analysis.measures.weights import MEASURES, weight_curve, weight_table, work
from app import figures, selection
from app.data import base_models
from app.views import progress
from app.views.base import cost, onward
from app.views.section import section

_AT_ONCE = 2e10  # multiplications, of seconds: more are begun by a button that says what they cost


def show(chosen: selection.OpenedBase) -> None:
    """Draw the page; the map fills while singular values are computed."""
    shapes = list(base_models.base_shapes(chosen.directory).values())
    with st.container(horizontal=True, vertical_alignment="bottom", key="base-head"):
        st.header(f"{selection.short_name(chosen.name)}: {len(shapes)} weights", anchor=False, width="stretch")
        onward.show(chosen)
    started = f"weights-of-{chosen.directory}"
    if work(shapes) > _AT_ONCE and not st.session_state.get(started):
        cost.show(shapes)
        st.button(
            "Compute the singular values",
            type="primary",
            icon=":material/play_arrow:",
            key="base-start",
            on_click=lambda: st.session_state.update({started: True}),
        )
        return
    measure = st.pills(
        "Measure",
        list(MEASURES),
        default=next(iter(MEASURES)),
        format_func=lambda name: MEASURES[name].title,
        key="base-measure",
        required=True,
        label_visibility="collapsed",
    )
    job = base_models.weights_job(chosen.directory)
    progress.repeat(lambda: _show_job(chosen, job, measure), lambda: job.running)
    if job.complete:
        _show_left_out(job)
        section("All weights, all measures", "base-all", lambda: _show_all(job))
    with st.container(key="base-cost"):
        cost.offer(shapes)


def _show_job(chosen: selection.OpenedBase, job: Job, measure: str) -> None:
    if st.session_state.pop("rerun-page", False):  # a click within a fragment runs the fragment alone
        st.rerun()
    progress.show(job, "Singular values", key="weights", restart=lambda: base_models.restart_weights(chosen.directory))
    table = weight_table(job.results)
    if table.empty:
        for reason in dict.fromkeys(row["reason"] for row in job.results):
            st.error(reason, icon=":material/error:")
        return
    aside, stage = st.columns([5, 7], gap="medium")
    with aside:
        _show_map(chosen, table, measure)
    with stage:
        _show_weight(chosen, job)


def _show_map(chosen: selection.OpenedBase, table: pd.DataFrame, measure: str) -> None:
    selected = next(iter(table.loc[table["label"] == chosen.matrix, "name"]), None)
    figure = weight_map(table, measure=measure, theme=figures.theme(), selected=selected)
    key = f"base-map-{measure}-{chosen.matrix}"  # a matrix picked elsewhere leaves no stale click behind

    def clicked() -> None:
        if name := figures.clicked(key):
            selection.change(matrix=table.set_index("name").at[name, "label"])
            st.session_state["rerun-page"] = True

    figures.draw(figure, key=key, on_select=clicked)
    st.caption(figures.words(figure)["caption"], help=f"${figures.words(figure)['formula']}$")


def _show_weight(chosen: selection.OpenedBase, job: Job) -> None:
    row = next((row for row in job.results if row["label"] == chosen.matrix), None)
    if row is None:
        st.caption(f"{chosen.matrix}: not computed yet.")
        return
    if row["sigma"] is None:
        st.error(row["reason"], icon=":material/error:")
        return
    others = {
        other["label"]: other["sigma"]
        for other in job.results
        if other["kind"] == row["kind"] and other["name"] != row["name"] and other["sigma"] is not None
    }
    curve = weight_curve(row)
    st.subheader(f"{row['label']} · {row['out']:,} × {row['in']:,}", anchor=False)
    figure = weight_decay(curve, dict(list(others.items())[:_MOST_OTHERS]), label=row["label"], theme=figures.theme())
    figures.draw(figure, key="base-decay")
    figures.explain(figure, curve, key="base-decay", file_name="singular_values.csv")
    (measured,) = weight_table([row]).to_dict("records")
    lines = [
        f"| {measure.title} | **{measure.words(measured[name])}** | {measure.words(measured[f'chance_{name}'])} |"
        for name, measure in MEASURES.items()
    ]
    st.markdown("\n".join(["| Measure | this weight | Gaussian |", "|:--|--:|--:|", *lines]))
    st.caption(
        "Gaussian: independent entries, the same shape and Frobenius norm; its singular values follow the law of "
        "Marchenko and Pastur."
    )


_MOST_OTHERS = 12


def _show_left_out(job: Job) -> None:
    left_out = [row["reason"] for row in job.results if row["sigma"] is None]
    for reason in dict.fromkeys(left_out if len(left_out) < len(job.results) else ()):
        st.warning(reason, icon=":material/warning:")


def _show_all(job: Job) -> None:
    table = weight_table(job.results)
    columns = {name: st.column_config.NumberColumn(measure.title) for name, measure in MEASURES.items()}
    columns |= {
        f"chance_{name}": st.column_config.NumberColumn(f"… Gaussian ({measure.title.lower()})")
        for name, measure in MEASURES.items()
    }
    st.dataframe(
        table.drop(columns=["layer", "kind"]).round(4),
        hide_index=True,
        column_config={"name": "Module", "label": "Weight", **columns},
        key="base-table",
        alt=f"Table of measures of {len(table)} weights, one row each.",
    )
