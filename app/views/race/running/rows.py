"""The trials of a study, a row each configuration: how far its seeds are, and how accurate."""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import groupby

import pandas as pd
import streamlit as st

from analysis.figures.theme import REFERENCE_DASHES, Theme, method_marker, series_color
from analysis.trials.records import TrialRecord
from app import figures

_GLYPHS = {"circle": "●", "square": "■", "diamond": "◆", "triangle-up": "▲", "cross": "✚"}
_LINES = {"dot": "┈", "dash": "╌"}
_STYLE = """<style>
.trials { width: 100%; border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
.trials :is(td, th) { padding: .2rem .3rem; text-align: left; font-weight: 400; border: 0; }
.trials th { white-space: nowrap; }
.trials th b { display: inline-block; width: 1.1em; text-align: center; }
.trials td.bars { width: 40%; }
.trials td.number { text-align: right; }
.trials td.bars div { display: flex; gap: 2px; }
.trials i { flex: 1; height: .55rem; border-radius: 2px; overflow: hidden; }
.trials i { background: color-mix(in srgb, currentColor 14%, transparent); }
.trials i u { display: block; height: 100%; }
.trials i.failed, .trials i.stopped, .trials i.interrupted {
  background: repeating-linear-gradient(-45deg, currentColor 0 1px, transparent 1px 5px);
}
.trials td.reason { padding-top: 0; white-space: normal; }
</style>"""


def show(of: Sequence[TrialRecord], points: pd.DataFrame) -> None:
    """Draw the rows: marker, name, a bar for each seed, accuracy so far, and why a trial failed.

    Args:
        of: The trials.
        points: Of the study (`Store.points`).
    """
    last = points.drop_duplicates("trial", keep="last").set_index("trial")["accuracy"]
    by_label = groupby(sorted(of, key=_first_of_label(of)), key=lambda one: one.trial.label)
    rows = "".join(_row(label, list(seeds), last, figures.theme()) for label, seeds in by_label)
    st.html(f'{_STYLE}<table class="trials" aria-label="Trials">{rows}</table>')


def _first_of_label(of: Sequence[TrialRecord]):
    first: dict[str, int] = {}
    for one in of:
        first.setdefault(one.trial.label, one.number)
    return lambda one: (first[one.trial.label], one.number)


def _row(label: str, seeds: list[TrialRecord], last: pd.Series, theme: Theme) -> str:
    method = seeds[0].trial.spec.method
    color = series_color(method, theme)
    bars = "".join(_bar(one, last, color) for one in seeds)
    known = [last[one.number] for one in seeds if one.number in last.index]
    accuracy = f"{sum(known) / len(known):.1%}" if known else ""
    reasons = dict.fromkeys(
        f"Seed {one.trial.spec.seed}: {one.reason}" if len(seeds) > 1 else one.reason for one in seeds if one.reason
    )
    notes = "".join(f'<tr><td class="reason" colspan="3">{html.escape(reason)}</td></tr>' for reason in reasons)
    return (
        f'<tr><th scope="row"><b style="color:{color}" aria-hidden="true">{_glyph(method)}</b> '
        f'{html.escape(label)}</th><td class="bars"><div>{bars}</div></td>'
        f'<td class="number">{accuracy}</td></tr>{notes}'
    )


def _bar(one: TrialRecord, last: pd.Series, color: str) -> str:
    steps = one.trial.spec.steps
    said = f"seed {one.trial.spec.seed}: {one.state}, step {one.step} of {steps}"
    if one.number in last.index:
        said += f", accuracy {last[one.number]:.1%}"
    return (
        f'<i class="{one.state}" title="{html.escape(said)}" role="img" aria-label="{html.escape(said)}">'
        f'<u style="width:{one.step / steps:.0%};background:{color}"></u></i>'
    )


def _glyph(method: str) -> str:
    return _LINES[REFERENCE_DASHES[method]] if method in REFERENCE_DASHES else _GLYPHS[method_marker(method)]
