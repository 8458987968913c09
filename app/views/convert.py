"""Convert: the open adapter as LoRA, as a merged model, in another pattern, or for the authors' code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import streamlit as st

from analysis.adapters.adapter import Adapter
from analysis.common.jobs import Job
from analysis.conversion.targets import conversion_steps
from app import dialogs, selection, uploads
from app.selection import Opened
from app.views import progress
from app.views.race.result.adapters import pack

_LABELS = {"lora": "LoRA", "merged": "Merged model", "svft": "SVFT pattern", "authors": "Authors’ code"}
_SAID = {
    "lora": "In PEFT’s format, for servers that only take LoRA: the best approximation of each update at that rank.",
    "merged": "W + ΔW in place of each weight: a plain transformers checkpoint, which does not need this project.",
    "svft": "The entries of M = UᵀΔWV that lie in the pattern; what lies outside it is lost.",
    "authors": "The layer state that the published code of the paper’s authors reads, computing the same.",
}
_PATTERNS = {"best": "largest entries", "plain": "plain", "banded": "banded", "random": "random", "top_k": "top_k"}
_KEY = "convert-result"
_LARGEST_DOWNLOAD = 1_000_000_000  # bytes: a zip is made in memory

_number = st.column_config.NumberColumn
_COLUMNS = {
    "label": st.column_config.TextColumn("Matrix", pinned=True),
    "rank": _number("Rank"),
    "k": _number("k", help="Entries of M"),
    "update_norm": _number("‖ΔW‖", format="%.3f", help="Frobenius norm of the update"),
    "error": _number("Error", format="%.3f", help="Frobenius norm of what the update lost"),
    "relative_error": _number("Error / ‖ΔW‖", format="percent"),
    "lost_share": _number("Lost energy", format="percent", help="Share of ‖ΔW‖² that is lost"),
    "relative_norm": _number("‖ΔW‖ / ‖W‖", format="percent"),
    "base_error": _number("Error of the base", format="scientific", help="Of u·Σ·v against W, relative"),
}


@dataclass(frozen=True, eq=False)
class _Result:
    """A conversion that runs or has ended: what was asked for, the job, and where it writes."""

    asked: dict
    job: Job
    directory: Path


def show(chosen: Opened) -> None:
    """Draw the button that opens the dialog, if there is something to convert."""
    if not chosen.adapter.names:
        return
    st.button(
        "Convert",
        icon=":material/swap_horiz:",
        key="convert-open",
        help="To LoRA, a merged model, …",
        on_click=dialogs.show,
        args=(dialogs.CONVERT,),
    )
    if dialogs.is_shown(dialogs.CONVERT):
        _dialog(chosen.adapter)


@st.dialog("Convert this adapter", width="large", on_dismiss=dialogs.close)
def _dialog(adapter: Adapter) -> None:
    """Ask what to, convert in a process of its own, and offer the result with what each matrix lost."""
    offered = ["svft", "lora"] if adapter.projected else list(_LABELS)
    to = st.segmented_control(
        "Convert to", offered, default=offered[0], format_func=_LABELS.get, required=True, key="convert-to"
    )
    st.caption(_SAID[to])
    asked = {"path": str(adapter.path), "to": to, "base": adapter.base, **_options(adapter, to)}
    result: _Result | None = st.session_state.get(_KEY)
    if result is not None and result.asked != asked:
        result = None
    if st.button("Convert", type="primary", key="convert-start", disabled=result is not None and result.job.running):
        result = _start(asked)
    if result is None:
        return
    if result.job.complete:
        _offer(result)
    else:
        progress.wait(result.job, "Converting", key="convert", restart=lambda: _start(asked))


def _options(adapter: Adapter, to: str) -> dict:
    """Ask for what this conversion needs to know."""
    if to == "lora":
        largest = int(adapter.matrices["n"].max())
        return {"rank": st.slider("Rank r", 1, largest, min(32, largest), key="convert-rank")}
    if to != "svft":
        return {}
    left, right = st.columns(2)
    pattern = left.selectbox("Pattern", list(_PATTERNS), format_func=_PATTERNS.get, key="convert-pattern")
    if pattern == "plain":
        return {"pattern": pattern}
    size = right.number_input(
        "off_diag d", 0, int(adapter.matrices["n"].max()) - 1, 2, key="convert-size", help="k = n(2d+1) − d(d+1)"
    )
    return {"pattern": pattern, "off_diag": int(size)}


def _start(asked: dict) -> _Result:
    if (before := st.session_state.get(_KEY)) is not None:
        before.job.stop()
    name = "-".join(str(part) for key, part in asked.items() if key not in ("path", "base"))
    directory = uploads.new_directory() / f"{Path(asked['path']).name}-{name}"
    job = Job(conversion_steps, **asked, output=directory)
    st.session_state[_KEY] = _Result(asked, job, directory)
    return st.session_state[_KEY]


def _offer(result: _Result) -> None:
    """Say what was lost, and offer the files."""
    table = pd.DataFrame(result.job.results)
    if "error" in table:
        energy = float(table["update_norm"].pow(2).sum())
        lost = float(table["error"].pow(2).sum()) / energy if energy else 0.0
        st.markdown(f"**{lost:.1%} of the energy of the update is lost**, over all {len(table)} matrices.")
    else:
        st.markdown("**Nothing is lost**: the result computes the same, to rounding.")
    columns = [name for name in _COLUMNS if name in table]
    st.dataframe(
        table,
        column_order=columns,
        column_config=_COLUMNS,
        hide_index=True,
        height=min(38 + 35 * len(table), 250),
        key="convert-table",
    )
    size = sum(file.stat().st_size for file in result.directory.rglob("*") if file.is_file())
    with st.container(horizontal=True, vertical_alignment="center"):
        if size <= _LARGEST_DOWNLOAD:
            st.download_button(
                f"Download ({size / 1e6:,.1f} MB)",
                lambda: pack(result.directory),
                file_name=f"{result.directory.name}.zip",
                mime="application/zip",
                icon=":material/download:",
                on_click="ignore",
                key="convert-download",
            )
        else:
            st.caption(f"{size / 1e9:,.1f} GB is too much for a browser: `svft convert` writes it to a directory.")
        opens = result.asked["to"] in ("lora", "svft")
        if opens and st.button("Open in Explore", icon=":material/search:", key="convert-explore"):
            selection.change(adapter=str(result.directory))
            dialogs.close()
            st.rerun()
