"""Why a trial failed, in one sentence for people."""

from __future__ import annotations

from analysis.common.errors import UserError

WORKER_DIED = (
    "Its worker process died while training it: it was killed, or the machine ran out of memory. "
    "A smaller batch, fewer methods at once or a smaller base model need less."
)
_OUT_OF_MEMORY = "It ran out of memory: take a smaller batch, or a smaller base model."


def reason(error: BaseException | None) -> str:
    """Return why a trial failed, in one sentence for people."""
    name = type(error).__name__
    if error is None or name in ("KilledWorker", "CancelledError", "FutureCancelledError"):
        return WORKER_DIED
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return _OUT_OF_MEMORY
    if isinstance(error, UserError):
        return str(error)
    return f"It failed: {name}: {error}"
