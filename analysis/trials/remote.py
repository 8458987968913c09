"""The work that the engine asks of workers. Each function imports `worker`, and so torch, only where it runs."""

from __future__ import annotations

import pandas as pd

from analysis.trials.messages import Report, Turn


def take_turn(turn: Turn) -> Report:
    """Run `analysis.trials.worker.take_turn` where this is called: in a worker."""
    from analysis.trials import worker

    return worker.take_turn(turn)


def measure_cost(specs: dict[str, dict], threads: int, data: bytes | None) -> pd.DataFrame:
    """Run `analysis.trials.worker.measure_cost` where this is called: in a worker."""
    from analysis.trials import worker

    return worker.measure_cost(specs, threads, data)


def forget(key: str) -> None:
    """Run `analysis.trials.worker.forget` where this is called: in a worker."""
    from analysis.trials import worker

    worker.forget(key)


def warm_up() -> float:
    """Run `analysis.trials.worker.warm_up` where this is called: in a worker."""
    from analysis.trials import worker

    return worker.warm_up()
