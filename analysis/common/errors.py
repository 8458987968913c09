"""Errors for people: one sentence that says what is wrong, where, and what to do."""

from __future__ import annotations


class UserError(ValueError):
    """The root of all errors whose text is meant for people."""


class AdapterError(UserError):
    """An adapter that cannot be opened or read."""


class BaseModelError(UserError):
    """A base model that cannot be found, read or loaded."""


class SpecificationError(UserError):
    """A specification that cannot be trained."""
