"""What SVFT refuses."""

from __future__ import annotations


class SvftError(ValueError):
    """A configuration, a model or a file that SVFT refuses; its text is one sentence for people."""
