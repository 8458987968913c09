"""The task head of a classifier: which modules belong to it. Light: no torch."""

from __future__ import annotations

import re

# What transformers call the head of a classifier. PEFT trains and saves these in text classifiers by itself.
HEADS = ("classifier", "score")
# The layer before it in classifiers of sounds, which is new as well. Other models have a `projector` of many layers.
PROJECTOR = "projector"
_PROJECTOR = re.compile(rf"(.*\.)?{PROJECTOR}(\.(modules_to_save\.\w+|original_module))?(\.(weight|bias))?")


def is_head(parameter: str) -> bool:
    """Return whether a parameter, by its full name, belongs to the head: not in the budget, with its own rate."""
    return not set(HEADS).isdisjoint(parameter.split(".")) or _PROJECTOR.fullmatch(parameter) is not None
