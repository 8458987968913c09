"""Memory of the methods on a model, step by step: as work for a job. Light: torch is imported where it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def memory_steps(
    name: str, config: str, kinds: Sequence[str], budget: int, batch: int, length: int, dtype: str
) -> Iterator[Any]:
    """Yield the number of methods, then `memory.memory_rows` of each at its size nearest to `budget`.

    Args:
        name: What the model is called.
        config: Its configuration as JSON.
        kinds: The kinds of weights to adapt.
        budget: Trainable parameters.
        batch: Examples per step.
        length: Tokens per example.
        dtype: Of the base's weights, "float32" or another of torch's.
    """
    import torch

    from analysis.models.architecture import read_architecture
    from analysis.planning.budgets import budget_table
    from analysis.planning.memory import memory_rows

    architecture = read_architecture(config, name)
    table = budget_table(architecture, kinds, budget)
    yield int(table["count"].notna().sum()) + 1
    yield from memory_rows(architecture, kinds, table, batch, length, getattr(torch, dtype))


def considered_steps(
    name: str, config: str, kinds: Sequence[str], budget: int, batch: int, length: int
) -> Iterator[Any]:
    """Yield the number of rows, then the rows of `recommend.considered`; the arguments are those of `memory_steps`."""
    from analysis.models.architecture import read_architecture
    from analysis.planning.recommend import considered, considered_tables

    architecture = read_architecture(config, name)
    tables = considered_tables(architecture, kinds, budget)
    yield sum(int(table["count"].notna().sum()) for _, table in tables)
    yield from considered(architecture, tables, batch, length)
