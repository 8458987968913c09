"""Why a trial failed, in one sentence for people."""

from __future__ import annotations

from analysis.common.errors import UserError, report_unexpected

WORKER_DIED = (
    "Its worker process died while training it: it was killed, or the machine ran out of memory. "
    "A smaller batch, fewer methods at once or a smaller base model need less."
)
_OUT_OF_MEMORY = "It ran out of memory: take a smaller batch, or a smaller base model."


def reason(error: BaseException | None, where: str) -> str:
    """Return why a trial failed, in one sentence for people; what is unexpected goes to the log.

    Args:
        error: What its turn raised; None if the turn was lost.
        where: Which trial it is, for the log.
    """
    name = type(error).__name__
    if error is None or name in ("KilledWorker", "CancelledError", "FutureCancelledError"):
        return WORKER_DIED
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return _OUT_OF_MEMORY
    if isinstance(error, UserError):
        return str(error)
    return report_unexpected(error, where)
