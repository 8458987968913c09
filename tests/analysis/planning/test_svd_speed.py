"""Seconds of decompositions are summed from a measured speed."""

import time

import pytest
import torch

from analysis.planning.svd_speed import SvdSpeed, measure_svd_speed, svd_seconds
from svft.decomposition import exact_svd

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


def test_other_work_on_the_machine_does_not_count(monkeypatch):
    """Time on the wall is ten times as long here, as it is under load; processor time is not."""
    now = iter(range(10**6))
    monkeypatch.setattr("time.perf_counter", lambda: 10.0 * next(now))
    threads = torch.get_num_threads()
    speed = measure_svd_speed.__wrapped__()
    assert torch.get_num_threads() == threads
    start = time.thread_time()
    exact_svd(torch.randn(400, 400, dtype=torch.float64))
    assert svd_seconds([(400, 400)], speed) < 20 * (time.thread_time() - start)
