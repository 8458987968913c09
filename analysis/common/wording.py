"""Numbers in sentences."""

from __future__ import annotations


def percent(share: float) -> str:
    """Return a share as whole per cent, or with two digits if it is below one: what is there never reads 0%."""
    return f"{share:.0%}" if share == 0 or abs(share) >= 0.01 else share_text(share)


def share_text(value: float) -> str:
    """Return a share with two digits that count: 12%, 0.26%, 0.00031%."""
    if value == 0 or value >= 0.1:
        return f"{value:.0%}"
    return f"{float(f'{100 * value:.2g}'):f}".rstrip("0").rstrip(".") + "%"
