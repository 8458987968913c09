"""Errors for people: one sentence that says what is wrong, where, and what to do.

Whoever shows an error to a person catches `UserError` by name. Any other exception is a bug: `report_unexpected` logs
it with its traceback, and the person sees an id that leads to it. The children exist for those who tell them apart.
"""

from __future__ import annotations

import logging
import secrets
import traceback

_log = logging.getLogger(__name__)


class UserError(Exception):
    """The root of all errors whose text is meant for people."""


# The two that come out of documented calls are also ValueErrors, as in version 0.1.0: a notebook may catch them so.
class AdapterError(UserError, ValueError):
    """An adapter that cannot be opened or read."""


class BaseModelError(UserError, ValueError):
    """A base model that cannot be found, read or loaded."""


class ArchitectureError(UserError):
    """A configuration that no model can be built, or no training step taken, from."""


class TaskError(UserError):
    """A task that does not exist, or whose data are not on this machine."""


class OwnDataError(UserError):
    """A file of one's own that cannot become a task."""


class SizeError(UserError):
    """A size or budget that a method cannot have on the given matrices."""


def report_unexpected(error: BaseException | str, where: str) -> str:
    """Log an error that is not meant for people, and return the sentence that a person sees instead.

    Args:
        error: The exception, or its formatted traceback if it was raised in another process.
        where: What was running, for the log: the name of a page, a job or a command.
    """
    id = secrets.token_hex(4)
    details = error if isinstance(error, str) else "".join(traceback.format_exception(error))
    _log.error("Unexpected error %s in %s\n%s", id, where, details.rstrip())
    return f"An unexpected error occurred (id {id}). The details are in the log."
