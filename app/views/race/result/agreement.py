"""Where two configurations disagree: the texts, images or sounds themselves, and what each takes for what."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.figures.confusion import confusion
from analysis.training.data.spoken import RATE
from app import figures
from app.compat import fragment
from app.views.race import pictures
from app.views.race.results import Results

_IMAGE_ROW = 56  # pixels


@fragment
def show(results: Results) -> None:
    """Draw the choice of two configurations, the examples that they answer differently, and their confusions."""
    if len(results.labels) < 2:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="race-section-agreement"):
        first, second = results.pair
        look = {"label_visibility": "collapsed", "width": 270}
        a = st.selectbox("One", results.labels, index=results.labels.index(first), key="agreement-a", **look)
        others = [label for label in results.labels if label != a]
        place = others.index(second) if second in others else 0
        b = st.selectbox("Another", others, index=place, key="agreement-b", **look)
    left, right = st.columns([7, 5], gap="medium")
    with left:
        _show_examples(results, a, b)
    with right:
        _show_confusion(results, a, b)


def _show_examples(results: Results, a: str, b: str) -> None:
    different = results.disagreements(a, b)
    names = results.task.labels
    kind = results.task.kind
    picture = {"image": pictures.data_url, "audio": pictures.sound_url}.get(kind)
    shown = different["input"]
    if picture:
        shown = different["example"].map(
            {row.example: picture(row.input) for row in different.drop_duplicates("example").itertuples()}
        )
    right_a, right_b = ((different[f"predicted_{side}"] == different["truth"]) for side in "ab")
    table = pd.DataFrame(
        {
            "input": shown,
            "truth": [names[label] for label in different["truth"]],
            "a": [names[label] for label in different["predicted_a"]],
            "b": [names[label] for label in different["predicted_b"]],
            "right": [a if right else b if other else "neither" for right, other in zip(right_a, right_b)],
            "seed": different["seed"],
        }
    )
    seeds = table["seed"].nunique()
    what = {"image": "images", "audio": "sounds"}.get(kind, "texts")
    event = st.dataframe(
        table if seeds > 1 else table.drop(columns="seed"),
        column_config={
            "input": st.column_config.ImageColumn(what[:-1])
            if picture
            else st.column_config.TextColumn("text", width="large"),
            "truth": "truth",
            "a": a,
            "b": b,
            "right": "right is",
            "seed": "seed",
        },
        hide_index=True,
        height=420,
        row_height=_IMAGE_ROW if picture else None,
        key="agreement-table",
        on_select="rerun" if kind == "audio" else "ignore",
        selection_mode="single-row",
        alt=f"Table of the {len(table)} answers in which {a} and {b} differ.",
    )
    if kind == "audio" and len(table):
        _play(different, table, event.selection.rows)
    n = len(results.examples) * max(seeds, 1)
    st.caption(
        f"They differ on {len(table):,} of {n:,} {what}{' (over all seeds)' if seeds > 1 else ''}: {a} is right in "
        f"{right_a.sum():,}, {b} in {right_b.sum():,}, neither in {(~right_a & ~right_b).sum():,}."
    )


def _play(different: pd.DataFrame, table: pd.DataFrame, rows: list[int]) -> None:
    """Draw a player of the sound in the selected row, the first without a selection."""
    place = rows[0] if rows and rows[0] < len(table) else 0
    row = table.iloc[place]
    with st.container(horizontal=True, vertical_alignment="center", key="agreement-play"):
        st.audio(different["input"].iloc[place], sample_rate=RATE, width=320)
        st.caption(
            f"**{row['truth']}**, taken for {row['a']} and for {row['b']}. Select a row to hear its sound.",
            width="stretch",
        )


def _show_confusion(results: Results, a: str, b: str) -> None:
    shown = st.segmented_control(
        "Confusion matrix of", [a, b, "difference"], default=a, key=f"confusion-{a}-{b}", required=True
    )
    if shown == "difference":
        figure = confusion(
            results.confusion(a), results.task.labels, label=a, theme=figures.theme(), other=(b, results.confusion(b))
        )
    else:
        figure = confusion(results.confusion(shown), results.task.labels, label=shown, theme=figures.theme())
    figures.draw(figure, key="confusion")
    figures.explain(
        figure, results.confusion(a if shown == "difference" else shown), key="confusion", file_name="confusion.csv"
    )
