"""Blocks that repeat: what a training step of a few of them allocates says what a step of all would, exactly.

Models stack one block many times. Every number of a step is then affine in how often: each further block keeps the
same activations in the forward pass, frees them and leaves the same gradients in the backward pass. Four blocks are
enough to tell the first, the last, and what one in between adds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

KEPT = 4
_LONGEST_PERIOD = 6  # Gemma-3: five blocks with a window, one without

# What differs between equal blocks: their number.
_NUMBERS = re.compile(r"layer_(idx|id|index|number)$|^block_(idx|id|index)$|^_")
_PLAIN = (bool, int, float, str, type(None), tuple)


@dataclass(frozen=True)
class Run:
    """A period of blocks that repeats: one block, or a few that take turns (a local attention, a global one).

    Attributes:
        blocks: The list of blocks that it is in.
        start: Index of the first block.
        period: Blocks that take turns.
        number: How often they do.
    """

    blocks: nn.ModuleList
    start: int
    period: int
    number: int

    @property
    def further(self) -> int:
        """Periods that are taken out."""
        return self.number - KEPT

    def kept(self, place: int) -> list[nn.Module]:
        """Return the blocks of one of the first `KEPT` periods."""
        first = self.start + place * self.period
        return list(self.blocks[first : first + self.period])

    def shorten(self) -> None:
        """Take out all but the first `KEPT` periods, in place."""
        first = self.start + KEPT * self.period
        del self.blocks[first : first + self.further * self.period]


def longest_run(model: nn.Module) -> Run | None:
    """Return the run that takes out the most blocks, None if none takes out any."""
    runs: list[Run] = []
    for blocks in model.modules():
        if isinstance(blocks, nn.ModuleList) and len(blocks) > KEPT:
            lists = _lists(model, len(blocks))
            signatures = [(_signature(block), *(entry[i] for entry in lists)) for i, block in enumerate(blocks)]
            moves = any(len(set(entry)) > 1 for entry in lists)
            for period in range(1, _LONGEST_PERIOD + 1):
                runs += _runs(blocks, period, signatures, moves)
    return max(runs, key=lambda run: run.further * run.period, default=None)


def _runs(blocks: nn.ModuleList, period: int, signatures: list[tuple], moves: bool) -> Iterator[Run]:
    start = 0
    for end in range(period, len(blocks) + 1):
        if end < len(blocks) and signatures[end] == signatures[end - period]:
            continue
        # Lists of the configuration are looked up by a block's place, which moves for those behind the run.
        moved = end < len(blocks) and moves
        if (number := (end - start) // period) > KEPT and not moved:
            yield Run(blocks, start, period, number)
        start = end - period + 1


def _signature(block: nn.Module) -> tuple:
    """Return all that a block's step can depend on: its modules, their settings, and shapes of their tensors."""
    modules = tuple(
        (name, type(module), tuple((key, value) for key, value in vars(module).items() if _is_setting(key, value)))
        for name, module in block.named_modules()
    )
    tensors = (*block.named_parameters(), *block.named_buffers())
    return modules, tuple((name, tuple(tensor.shape), tensor.dtype) for name, tensor in tensors)


def _is_setting(key: str, value: object) -> bool:
    return isinstance(value, _PLAIN) and not _NUMBERS.search(key)


def _lists(model: nn.Module, length: int) -> list[tuple]:
    """Return what the configuration says block by block, such as layer_types."""
    values = getattr(model, "config", None)
    return [
        tuple(map(str, value))
        for value in (vars(values).values() if values is not None else ())
        if isinstance(value, (list, tuple)) and len(value) == length
    ]


@contextmanager
def marked(run: Run, mark: Callable[[str], None]) -> Iterator[None]:
    """Call `mark` where a step enters and leaves the kept periods: f0, f1, …, "between", …, b1, b0."""
    handles = []
    for place in range(KEPT):

        def enter(_module: nn.Module, _inputs: object, place: int = place) -> None:
            mark(f"f{place}")

        def leave(_module: nn.Module, _inputs: object, output: object, place: int = place) -> None:
            if place == KEPT - 1:
                mark("between")
            hidden = next(leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor))
            if hidden.requires_grad:
                hidden.register_hook(lambda _: mark(f"b{place}"))

        first, *_, last = *run.kept(place), run.kept(place)[-1]
        handles += [first.register_forward_pre_hook(enter), last.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def highest(parts: Mapping[str, np.ndarray], left: int, further: int) -> np.ndarray | None:
    """Return the highest level of a step of all blocks, from a step of the kept ones.

    Args:
        parts: Part of the step -> what is allocated at its highest moment, (bytes, bytes of gradients among them).
            Parts are what `marked` names, "backward" from where the model's output is gone, and "optimizer".
        left: Bytes of the gradients that a period leaves.
        further: Periods that were taken out.

    Returns:
        (bytes, bytes of gradients) at the highest moment; None if the step did not go through the blocks in turn.
    """
    expected = {f"{way}{place}" for way in "fb" for place in range(KEPT)} | {"between", "backward", "optimizer"}
    if not expected <= set(parts):
        return None
    gradients = np.array([left, left])
    forward = parts["f2"] - parts["f1"]  # kept of a period, also by the output (its cache)
    saved = gradients - (parts["b1"] - parts["b2"])  # kept of a period for its backward pass alone
    slopes = (
        dict.fromkeys(("f3", "between"), forward)
        | dict.fromkeys(("backward", "b3", "b2"), saved)
        | dict.fromkeys(("b1", "b0", "optimizer"), gradients)
    )
    levels = [level + further * slopes.get(part, 0 * level) for part, level in parts.items()]
    return max(levels, key=lambda level: level[0])
