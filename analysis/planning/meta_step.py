"""One training step without numbers: on the meta device, forward, backward and AdamW, every allocation counted."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from analysis.planning.cost import distinct_bytes
from analysis.planning.repeated_blocks import Run, highest, marked


def meta_step(model: nn.Module, inputs: dict[str, torch.Tensor], run: Run | None) -> tuple[int, int] | None:
    """Return the most bytes that a step has allocated at once, and those of them that are gradients.

    None if `run` is shortened and the step of all its blocks does not follow.
    """
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    # AdamW updates one parameter after the other: the largest one decides how much it takes.
    largest = max(trained, key=lambda parameter: parameter.nbytes)
    optimizer = torch.optim.AdamW([largest], lr=1e-4)
    largest.grad = torch.empty_like(largest)
    optimizer.step()  # its state exists from here on
    optimizer.zero_grad()
    allocations = _Allocations()
    with marked(run, allocations.mark) if run is not None else nullcontext(), _cpu_autocast(), _AsOnCpu(), allocations:
        output = model(**inputs)
        loss = output.loss if getattr(output, "loss", None) is not None else output[0].float().sum()
        del output
        allocations.mark("backward")
        loss.backward()
        gradients = allocations.serials(p.grad for p in trained if p.grad is not None)
        del loss
        allocations.mark("optimizer")
        optimizer.step()
    levels = allocations.highest(gradients)
    if run is None:
        return _whole(max(levels.values(), key=lambda level: level[0]))
    of_one = [p.grad for block in run.kept(1) for p in block.parameters() if p.grad is not None]
    level = highest(levels, distinct_bytes(of_one), run.further)
    return None if level is None else _whole(level)


def _whole(level: np.ndarray) -> tuple[int, int]:
    return int(level[0]), int(level[1])


class _Allocations(TorchDispatchMode):
    """Log the storages that operations create and that go away, in order."""

    def __init__(self) -> None:
        super().__init__()
        self._log: list[tuple[int, int]] = []  # serial number of a storage, bytes; negative if it is freed
        self._marks: list[tuple[str, int]] = [("before", 0)]  # name of a part, where in the log it begins
        self._living: dict[int, tuple[int, weakref.ref]] = {}
        self._serials = itertools.count()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        output = operation(*args, **(kwargs or {}))
        given = {id(x.untyped_storage()) for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        for tensor in tree_leaves(output):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if id(storage) not in given and id(storage) not in self._living:
                    self._add(storage)
        return output

    def mark(self, name: str) -> None:
        """Begin a part of the step."""
        self._marks.append((name, len(self._log)))

    def serials(self, tensors: Iterable[torch.Tensor]) -> set[int]:
        """Return the serial numbers of living tensors."""
        keys = (id(tensor.untyped_storage()) for tensor in tensors)
        return {self._living[key][0] for key in keys if key in self._living}

    def highest(self, gradients: set[int]) -> dict[str, np.ndarray]:
        """Return part of the step -> (bytes, bytes of gradients among them) at its highest moment."""
        log = np.array([(0, 0), *self._log])  # before anything, nothing is allocated
        levels = np.cumsum(log[:, 1])
        of_gradients = np.cumsum(np.where(np.isin(log[:, 0], list(gradients)), log[:, 1], 0))
        by_part: dict[str, np.ndarray] = {}
        for (name, begin), (_, end) in itertools.pairwise([*self._marks, ("", len(self._log))]):
            at = begin + int(np.argmax(levels[begin : end + 1]))
            level = np.array([levels[at], of_gradients[at]])
            if name not in by_part or level[0] > by_part[name][0]:
                by_part[name] = level
        return by_part

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size, serial = id(storage), storage.nbytes(), next(self._serials)

        def free(_: weakref.ref) -> None:
            self._log.append((serial, -size))
            self._living.pop(key, None)

        self._living[key] = (serial, weakref.ref(storage, free))
        self._log.append((serial, size))


class DrawnWithoutGenerator(TorchFunctionMode):
    """Leave a generator out if numbers are drawn on the meta device, which has none: VeRA's projections."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if kwargs.get("generator") is not None and args and isinstance(args[0], torch.Tensor) and args[0].is_meta:
            kwargs = kwargs | {"generator": None}
        return function(*args, **kwargs)


class _CpuAutocast(torch.autocast):
    def __init__(self, device_type: str, *arguments: Any, **options: Any) -> None:
        super().__init__("cpu" if device_type == "meta" else device_type, *arguments, **options)


@contextmanager
def _cpu_autocast() -> Iterator[None]:
    """Let code that turns autocast off for its tensors' device, as PEFT does, do so: the meta device has none."""
    original = torch.autocast
    torch.autocast = _CpuAutocast  # type: ignore[misc]  # a class takes the place of a class, for a while
    try:
        yield
    finally:
        torch.autocast = original  # type: ignore[misc]


class _AsOnCpu(TorchFunctionMode):
    """Take the path that a CPU takes with numbers if the meta device takes another one, or fails.

    Attention takes a CPU's fused kernel, which keeps no length×length scores; on the meta device PyTorch would take
    the unfused way. (With dropout a CPU takes that one too.) Whether ids contain padding has the answer no.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.Tensor.__contains__:
            return False
        if (
            function is torch._grouped_mm and args[0].dtype != torch.bfloat16
        ):  # which alone it takes on the meta device
            return torch.mm(args[0], args[1][0])
        if function is F.scaled_dot_product_attention and not kwargs.get("dropout_p") and len(args) == 3:
            query, key, value = args
            if query.ndim == 4 and query.shape[-1] == value.shape[-1]:
                return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                    query,
                    key,
                    value,
                    is_causal=kwargs.get("is_causal", False),
                    attn_mask=kwargs.get("attn_mask"),
                    scale=kwargs.get("scale"),
                )[0]
        return function(*args, **kwargs)
