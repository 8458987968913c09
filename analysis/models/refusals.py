"""What the tuner refuses, as an error for people. Light: no torch before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from analysis.common.errors import UserError


@contextmanager
def refusals() -> Iterator[None]:
    """Raise what SVFT refuses as a `UserError`; any other ValueError is a bug and passes."""
    from svft.errors import SvftError

    try:
        yield
    except SvftError as error:
        raise UserError(str(error)) from error
