"""Which model, and which of its weights."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import streamlit as st

from analysis.common.errors import UserError
from analysis.models.architecture import MOST_BYTES, PRESETS, Architecture, open_architecture, read_architecture
from analysis.models.packages import DEFAULT_BASE, DIGITS_BASE, SOUND_BASE
from app import selection, uploads

_OWN = "A configuration of your own"


def pick() -> Architecture | None:
    """Draw the choice of a model and return its architecture; say why if there is none."""
    options = [DEFAULT_BASE, *PRESETS, DIGITS_BASE, SOUND_BASE, _OWN]
    chosen = st.selectbox(
        "Model",
        [*options, *(name for name in [st.session_state.get("budgets-model")] if name and name not in options)],
        format_func=lambda name: name if name in (*PRESETS, _OWN) else selection.short_name(name),
        key="budgets-model",
        persist_state="session",
        accept_new_options=True,
        help="Choose one, or type a Hugging Face id or the path of a directory with a config.json. Only the "
        "configuration is read: no weights, and no code of the model’s own.",
    )
    text = _paste() if chosen == _OWN else None
    if chosen is None or (chosen == _OWN and not text):
        st.caption("Paste a config.json, or choose the file.")
        return None
    try:
        architecture = _read(text) if chosen == _OWN else _open_named(chosen)
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        return None
    active = "" if architecture.active in (None, architecture.parameters) else f" ({architecture.active:,} active)"
    st.caption(
        f"{architecture.parameters:,} parameters{active}, {len(architecture.shapes)} linear layers inside the blocks. "
        "Built from its configuration, without weights."
    )
    return architecture


def pick_kinds(architecture: Architecture) -> list[str]:
    """Draw the choice of kinds of weights and return it, all linear layers if none is chosen."""
    kinds = [*architecture.kinds, *architecture.fused_kinds]
    chosen = st.pills(
        "Adapted weights",
        kinds,
        selection_mode="multi",
        default=list(architecture.kinds),
        key=f"budgets-kinds-{_hash(architecture)}",
        persist_state="session",
        wrap=True,
    )
    return [kind for kind in kinds if kind in chosen] or list(architecture.kinds)


def _hash(architecture: Architecture) -> str:
    """Return what tells configurations apart: two of one name may have other kinds."""
    config = json.dumps(dict(architecture.config), sort_keys=True, default=str)
    return hashlib.sha256(f"{architecture.name}\0{config}".encode()).hexdigest()[:12]


def _paste() -> str | None:
    file = st.file_uploader("config.json", type="json", key="budgets-file", max_upload_size=1)
    pasted = st.text_area(
        "or paste it here",
        key="budgets-config",
        max_chars=MOST_BYTES,
        height=120,
        placeholder='{"model_type": "llama", "hidden_size": 4096, …}',
        persist_state="session",
    )
    return file.getvalue().decode("utf-8", errors="replace") if file is not None else pasted.strip() or None


def _open_named(model: str) -> Architecture:
    """Return the architecture of a preset, an id or a directory that this visitor may open."""
    path = Path(model).expanduser()
    if not os.path.isfile(path / "config.json"):
        return _open(model)
    uploads.require(path)
    return _read(path.joinpath("config.json").read_text("utf-8", errors="replace"), path.name)


# transformers takes seconds to import, once per server.
@st.cache_resource(max_entries=64, show_spinner="Building the model from its configuration …")
def _open(model: str) -> Architecture:
    return open_architecture(model)


@st.cache_resource(max_entries=16, show_spinner="Building the model from its configuration …")
def _read(text: str, name: str = "Your model") -> Architecture:
    return read_architecture(text, name)
