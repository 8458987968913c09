"""Who the visitor is, and what they brought: kept apart from all others, and deleted once they have left."""

from __future__ import annotations

import re
import secrets
import tempfile
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

import streamlit as st

from analysis.common.errors import AdapterError
from analysis.common.settings import may_open
from analysis.trials.store import data_directory
from app import compat

_KEY = "uploads"
_PREFIX = "svft-upload-"
_COOKIE = "svft-visitor"
_YEAR = 365 * 24 * 3600

# The directory of each visitor who is here. Sessions hold it (two tabs of a browser share one), and with the last of
# them it goes; Streamlit keeps a session for some minutes, so that a page loaded again finds its uploads.
_directories: WeakValueDictionary[str, tempfile.TemporaryDirectory] = WeakValueDictionary()
_lock = Lock()


def visitor() -> str:
    """Return who is at the browser: the id that it was given as a cookie, so that it finds its studies again."""
    cookie = st.context.cookies.get(_COOKIE, "")
    if isinstance(cookie, str) and re.fullmatch(r"[0-9a-f]{32}", cookie):
        return cookie
    return st.session_state.setdefault("visitor", secrets.token_hex(16))


def remember_visitor() -> None:
    """Leave the visitor's id in the browser, if it has none yet; once per run, from the entry script."""
    if st.context.cookies.get(_COOKIE) != visitor():
        compat.set_cookie(_COOKIE, visitor(), seconds=_YEAR)


def new_directory() -> Path:
    """Return a new, empty directory of this visitor's, whose path nobody can guess."""
    if (own := _own()) is None:
        own = tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{secrets.token_hex(16)}-", ignore_cleanup_errors=True)
        with _lock:
            own = _directories.setdefault(visitor(), own)
        st.session_state[_KEY] = own
    return Path(tempfile.mkdtemp(dir=own.name))


def owns(path: Path) -> bool:
    """Whether a path lies among this visitor's uploads."""
    own = _own()
    return own is not None and path.resolve().is_relative_to(Path(own.name).resolve())


def require(path: Path) -> None:
    """Refuse a path that this visitor may not open.

    Raises:
        AdapterError: For what another visitor uploaded, on any server; on a public one, for what lies neither under
            its roots nor among this visitor's uploads, and is not what a study trained: its path has the study's id,
            which nobody can guess.
    """
    if owns(path):
        return
    if _is_upload(path):
        raise AdapterError(
            f"{path.name} was uploaded by another visitor, or is deleted by now: an upload opens only in the browser "
            "that it came from."
        )
    if not may_open(path) and not _is_trained(path):
        raise AdapterError(f"This server does not open {path}: upload the adapter, or choose one of those offered.")


def _own() -> tempfile.TemporaryDirectory | None:
    """Return the visitor's directory, None if nothing was brought; this session holds it from then on."""
    if _KEY not in st.session_state:
        with _lock:
            own = _directories.get(visitor())
        if own is None:
            return None
        st.session_state[_KEY] = own
    return st.session_state[_KEY]


def _is_trained(path: Path) -> bool:
    """Whether a path leads to what a study of this server trained."""
    root, real = (data_directory() / "adapters").resolve(), path.resolve()
    return real.is_relative_to(root) and real != root


def _is_upload(path: Path) -> bool:
    """Whether a path leads into the uploads of anyone."""
    root, real = Path(tempfile.gettempdir()).resolve(), path.resolve()
    return real.is_relative_to(root) and any(part.startswith(_PREFIX) for part in real.relative_to(root).parts[:1])
