"""What holds within a `with` block: who hears of progress, and whether a basis that does not match is accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Progress = Callable[[int, int, str], None]
_progress: ContextVar[Progress | None] = ContextVar("svft_progress", default=None)
_mismatch_allowed: ContextVar[bool] = ContextVar("svft_mismatch_allowed", default=False)


@contextmanager
def decomposition_progress(callback: Progress) -> Iterator[None]:
    """Report every decomposed weight to ``callback(done, total, module_name)`` within the block."""
    token = _progress.set(callback)
    try:
        yield
    finally:
        _progress.reset(token)


def report_progress(done: int, total: int, name: str) -> None:
    """Tell the callback of `decomposition_progress`, if there is one."""
    if callback := _progress.get():
        callback(done, total, name)


@contextmanager
def allow_basis_mismatch() -> Iterator[None]:
    """Load adapters onto weights they were not trained on; the estimated error of ΔW comes as a warning.

    Example:
        >>> with allow_basis_mismatch():
        ...     pass  # PeftModel.from_pretrained(base_in_bfloat16, "adapter")
    """
    token = _mismatch_allowed.set(True)
    try:
        yield
    finally:
        _mismatch_allowed.reset(token)


def mismatch_allowed() -> bool:
    """Return whether `allow_basis_mismatch` is in force."""
    return _mismatch_allowed.get()
