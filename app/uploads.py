"""What a visitor brought: kept apart from all others in a directory that goes with the session."""

from __future__ import annotations

import tempfile
from pathlib import Path

import streamlit as st

from analysis.common.errors import AdapterError
from analysis.common.settings import may_open

_KEY = "uploads"


def new_directory() -> Path:
    """Return a new, empty directory of this session's; it is deleted when the session ends."""
    if _KEY not in st.session_state:  # the object deletes what it stands for once nobody holds it
        st.session_state[_KEY] = tempfile.TemporaryDirectory(prefix="svft-upload-", ignore_cleanup_errors=True)
    return Path(tempfile.mkdtemp(dir=st.session_state[_KEY].name))


def require(path: Path) -> None:
    """Refuse a path that this visitor may not open.

    Raises:
        AdapterError: On a public server, for what lies neither under its roots nor in this session's uploads.
    """
    own = st.session_state.get(_KEY)
    if not may_open(path, also=Path(own.name) if own else None):
        raise AdapterError(f"This server does not open {path}: upload the adapter, or choose one of those offered.")
