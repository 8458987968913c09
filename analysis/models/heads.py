"""The task head of a classifier: which modules belong to it. Light: no torch."""

from __future__ import annotations

# What transformers call the head of a classifier. PEFT trains and saves these in text classifiers by itself.
HEADS = ("classifier", "score")


def is_head(parameter: str) -> bool:
    """Return whether a parameter, by its full name, belongs to the head: not in the budget, with its own rate."""
    return not set(HEADS).isdisjoint(parameter.split("."))
