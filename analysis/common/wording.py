"""Numbers in sentences."""

from __future__ import annotations


def percent(share: float) -> str:
    """Return a share as whole per cent, or with two digits if it is below one: what is there never reads 0%."""
    return f"{share:.0%}" if share == 0 or abs(share) >= 0.01 else f"{100 * share:.2g}%"
