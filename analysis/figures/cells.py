"""Cells of M for the figures: modes, clipped scales, binning, and points that can be clicked."""

from __future__ import annotations

from typing import Literal

Mode = Literal["signed", "magnitude", "relative"]
