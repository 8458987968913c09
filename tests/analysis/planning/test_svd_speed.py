"""Seconds of decompositions are summed from a measured speed."""

import pytest
import torch

from analysis.planning.svd_speed import SvdSpeed, svd_seconds

SPEED = SvdSpeed({torch.float64: 2e-9, torch.float32: 1e-9}, {torch.float64: 2e-10, torch.float32: 1e-10})


@pytest.mark.parametrize(
    ("shape", "seconds"),
    [
        ((100, 100), 2e-9 * 100**3),
        ((100, 150), 2e-9 * 100 * 100 * 150),
        ((400, 100), 2e-9 * 100**3 + 2e-10 * 400 * 100**2),
        ((2048, 16384), 1e-9 * 2048**3 + 1e-10 * 16384 * 2048**2),
    ],
)
def test_work_follows_the_shape_and_the_precision(shape, seconds):
    assert svd_seconds([shape], SPEED) == pytest.approx(seconds)
    assert svd_seconds([shape, shape[::-1]], SPEED) == pytest.approx(2 * seconds)
