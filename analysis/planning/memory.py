"""Memory of training before any training: one step, taken without numbers.

The model is built on PyTorch's meta device, the method's own layers are put in, and forward, backward and AdamW run
there as they would with numbers. Nothing is computed, but every tensor that would be allocated comes by, with its
size: no formula per architecture or method is needed. What is counted is what `analysis.planning.cost` measures.
Of blocks that repeat, a few are run through and the others follow exactly (`analysis.planning.repeated_blocks`).
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache, partial
from typing import Any

import pandas as pd
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from analysis.common.errors import ArchitectureError, UserError
from analysis.models.architecture import Architecture, config_from_values
from analysis.models.heads import HEADS, is_head
from analysis.models.loading import build_from_config, linear_shape
from analysis.planning.budgets import adapts_fused, entries_of
from analysis.planning.cost import distinct_bytes
from analysis.planning.meta_starts import let_go, without_numbers
from analysis.planning.meta_step import DrawnWithoutGenerator, meta_step
from analysis.planning.repeated_blocks import Run, longest_run
from analysis.training.methods import METHODS, svft_patterns
from analysis.training.specification import TrainingSpec
from svft.layer import CoefficientSpec
from svft.linear import Linear
from svft.patterns import PATTERNS, directions_within, effective_pattern, nearest_off_diag, pattern_size

_BASIS = ("svft_shared_", "svft_U", "svft_V")  # in the names of SVFT's frozen singular vectors
_FIRST_TASK = "bbc_headlines"  # a specification names a task; nothing here depends on it


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that training takes, by what they are for; they add up to `peak`.

    Attributes:
        weights: Parameters and buffers of the base model, with a new head if it has one.
        basis: U and V of SVFT; 0 for others.
        adapter: What the method adds: trained tensors, frozen projections, indices.
        optimizer: AdamW's two moments of each trained parameter.
        gradients: Gradients that exist at the moment of the peak.
        activations: All else that a step has allocated at that moment: what is kept for the backward pass, and
            temporary tensors.
    """

    weights: int
    basis: int
    adapter: int
    optimizer: int
    gradients: int
    activations: int

    @property
    def peak(self) -> int:
        """What lives between steps plus the most that a step allocates."""
        return sum(asdict(self).values())


MEMORY_TERMS = tuple(field.name for field in fields(TrainingMemory))


def training_memory(
    architecture: Architecture,
    method: str,
    targets: Sequence[str],
    *,
    size: int | None = None,
    budget: int | None = None,
    batch: int = 16,
    length: int = 128,
    dtype: torch.dtype = torch.float32,
) -> TrainingMemory:
    """Return the memory of training a method, as AdamW trains it on a CPU without autocast.

    Args:
        architecture: The model.
        method: A name in `METHODS`, except custom.
        targets: Full names of the modules to adapt, and of fused parameters.
        size: As in `TrainingSpec`; None takes the method's own, if it has no budget.
        budget: As in `TrainingSpec`.
        batch: Examples per step.
        length: Tokens per example, without padding; images and sounds have the size that the model takes.
        dtype: Of the base's weights.

    Raises:
        ArchitectureError: If a step depends on numbers, so that it cannot be taken without.
    """
    spec = TrainingSpec(
        _FIRST_TASK, method, size=METHODS[method].size if size is None and budget is None else size, budget=budget
    )
    try:
        for shortened in (True, False):
            memory = _training_memory(architecture, spec, list(targets), batch, length, dtype, shortened)
            if memory is not None:
                return memory
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, UserError, ValueError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ArchitectureError(
            f"A training step of {architecture.name} with {METHODS[method].title} cannot be taken without numbers, so "
            f"its memory is not known: {reason[0]}"
        ) from error
    raise AssertionError("a step of all blocks has an answer")


def _training_memory(
    architecture: Architecture,
    spec: TrainingSpec,
    targets: list[str],
    batch: int,
    length: int,
    dtype: torch.dtype,
    shortened: bool,
) -> TrainingMemory | None:
    """Return the memory of a step of all blocks, or of a few from which the others follow; None if they do not."""
    base = copy.deepcopy(_base(json.dumps(architecture.config), dtype, shortened))
    if base is None:
        return None
    model, run = base.model, base.run
    linear = {name: architecture.shapes[name] for name in targets if name not in architecture.fused}
    entries = {base.names[name]: k for name, k in _entries(spec, linear).items() if name in base.names}
    kept = [base.names[name] for name in linear if name in base.names]
    experts = [base.names[name] for name in targets if name in architecture.fused and name in base.names]
    adapted = _adapt(model, spec, entries, kept, experts)
    resident = _resident(adapted, run)
    try:
        moment = meta_step(adapted, _inputs(adapted, model.config, batch, length), run)
    except IndexError:  # it looks its blocks up by number
        if run is None:
            raise
        moment = None
    if moment is None:
        return None
    peak, gradients = moment
    added = resident[0] - base.resident
    return TrainingMemory(
        weights=base.weights,
        basis=resident[1],
        adapter=added - resident[1],
        optimizer=resident[2],
        gradients=gradients,
        activations=peak - gradients,
    )


def memory_rows(
    architecture: Architecture,
    kinds: Sequence[str] | None,
    table: pd.DataFrame,
    batch: int,
    length: int,
    dtype: torch.dtype,
    full: bool = True,
    each: Callable[..., Iterator[Any]] = map,
) -> Iterator[dict[str, object]]:
    """Yield the memory of each method of a table, then of full fine-tuning if it is asked for.

    Args:
        architecture: The model.
        kinds: As the table's.
        table: Of `analysis.planning.budgets.budget_table`; methods without a size are left out.
        batch: See `training_memory`.
        length: See there.
        dtype: See there.
        full: Whether full fine-tuning is among them.
        each: Computes the rows: `map`, or the map of a pool of processes.

    Yields:
        ``method``, ``label``, the fields of `TrainingMemory` and ``peak`` in bytes; or a ``note`` in their place,
        if a step cannot be taken without numbers.
    """
    of_kinds = architecture.of_kinds(kinds)
    linear = [name for kind in of_kinds for name in architecture.kinds.get(kind, ())]
    fused = [name for kind in of_kinds for name in architecture.fused_kinds.get(kind, ())]
    all_of_it = {
        "method": "full",
        "label": METHODS["full"].title,
        "size": None,
        "budget": None,
        "count": architecture.parameters,
    }
    rows = [*table[table["count"].notna()].to_dict("records"), *([all_of_it] if full else [])]
    yield from each(partial(_memory_row, architecture, linear, fused, batch, length, dtype), rows)


def _memory_row(
    architecture: Architecture,
    linear: list[str],
    fused: list[str],
    batch: int,
    length: int,
    dtype: torch.dtype,
    row: dict[str, Any],
) -> dict[str, object]:
    head = {"method": row["method"], "label": row["label"]}
    try:
        memory = training_memory(
            architecture,
            row["method"],
            [*linear, *fused] if adapts_fused(row["method"]) else linear,
            size=None if pd.isna(row["size"]) else int(row["size"]),
            budget=None if pd.isna(row["budget"]) else int(row["budget"]),
            batch=batch,
            length=length,
            dtype=dtype,
        )
    except ArchitectureError as error:
        return head | {"note": str(error)}
    return head | asdict(memory) | {"peak": memory.peak, "note": ""}


@dataclass(frozen=True)
class _Base:
    """A base model on the meta device, of which methods train copies.

    Attributes:
        model: With all blocks, or with a few of those that repeat.
        run: Those that were taken out; None if none were.
        names: Name of each module, and of each parameter, in the whole model -> in this one.
        weights: Bytes of the whole model.
        resident: The same by `_resident`.
    """

    model: PreTrainedModel
    run: Run | None
    names: dict[str, str]
    weights: int
    resident: int


@lru_cache(maxsize=4)
def _base(values: str, dtype: torch.dtype, shortened: bool) -> _Base | None:
    """Return the model of a config.json; None if it shall be shortened and has no blocks that repeat often enough."""
    config = config_from_values(json.loads(values))
    for token in ("pad_token_id", "decoder_start_token_id"):  # which a step may ask for
        if getattr(config, token, None) is None:
            setattr(config, token, 0)
    model = build_from_config(config, dtype)
    weights = distinct_bytes([*model.parameters(), *model.buffers()])
    before = dict(model.named_modules())
    run = longest_run(model) if shortened else None
    if shortened and run is None:
        return None
    if run is not None:
        run.shorten()
    after = {module: name for name, module in model.named_modules()}
    names = {name: after[module] for name, module in before.items() if module in after}
    for name, own in list(names.items()):
        names |= {f"{name}.{key}": f"{own}.{key}" for key, _ in before[name].named_parameters(recurse=False)}
    return _Base(model, run, names, weights, _resident(model, run)[0])


def _adapt(
    model: PreTrainedModel, spec: TrainingSpec, entries: dict[str, int], targets: list[str], experts: list[str]
) -> nn.Module:
    """Return the model as the method trains it, on the meta device.

    Args:
        model: The base; it is changed in place.
        spec: Method and size.
        entries: Module name -> entries of M, if the method is a pattern.
        targets: Names of the modules to adapt.
        experts: Names of the fused parameters to adapt, which LoRA alone can.
    """
    method = METHODS["head_only" if entries else spec.method]
    has_head = any(is_head(name) for name, _ in model.named_parameters())
    inputs = [linear_shape(model.get_submodule(name))[1] for name in targets]
    if method.name == "boft" and 4 * sum(n**2 for n in inputs) > 2**30:
        raise RuntimeError("it builds permutations, in×in each, that would take more than 1 GB here")
    # BOFT looks into its permutations, which it cannot on the meta device.
    with (
        torch.device("cpu" if method.name == "boft" else "meta"),
        DrawnWithoutGenerator(),
        without_numbers(),
        warnings.catch_warnings(action="ignore"),  # on what PEFT and transformers do to each other
    ):
        adapted: nn.Module
        if method.config is None or (has_head and not experts):
            adapted = method.build(model, spec.options, targets)
        else:  # a language model, or one with fused experts: PEFT's own call
            method.check(model, spec.options, targets)
            config = method.config(spec.method, spec.options, targets)
            if isinstance(config, LoraConfig):  # which alone can adapt experts
                config.target_parameters = experts or None
            if has_head:
                config.task_type = "SEQ_CLS"
            adapted = get_peft_model(model, config)
    if entries:
        _insert_layers(model, spec.method, entries)
    return let_go(adapted, method.name)


def _entries(spec: TrainingSpec, shapes: dict[str, tuple[int, int]]) -> dict[str, int]:
    """Return the entries of M in each module, as `SvftModel` spreads them over the whole model; none without M."""
    if spec.method not in svft_patterns():
        return {}
    return dict(zip(shapes, entries_of(spec.method, list(shapes.values()), spec.size, spec.budget), strict=True))


def _insert_layers(model: nn.Module, method: str, entries: dict[str, int]) -> None:
    """Put SVFT's layers in as `SvftModel` does, with U and V of their shapes, but without a decomposition."""
    for name, k in entries.items():
        layer = Linear(model.get_submodule(name), "default")
        shape = (layer.out_features, layer.in_features)
        n, dtype = min(shape), layer.get_base_weight().dtype
        pattern = PATTERNS.get(effective_pattern(method, shape))
        rank = n if pattern is None else directions_within(pattern.name, n, k)
        off_diag = None if pattern is None or pattern.stored else nearest_off_diag(rank, k)
        spec = CoefficientSpec(pattern.name if pattern else "custom", rank, off_diag)
        U, V = (torch.empty(side, rank, dtype=dtype, device="meta") for side in shape)
        indices = _typical_entries(spec, layer.basis_size(rank), k)
        layer.init_adapter("default", spec, indices, torch.empty(len(indices), device="meta"), (U, V))
        model.set_submodule(name, layer)


def _typical_entries(spec: CoefficientSpec, m: int, k: int) -> torch.Tensor:
    """Return flat indices (k,) into M (m, m) that use as many columns of U and V as those of a pattern do.

    Those of a chosen pattern share no row and no column as long as that is possible; those of top_k are taken for
    random ones.
    """
    r, number = spec.rank, torch.arange(k)
    if spec.off_diag is not None:
        rows = cols = torch.arange(
            pattern_size(r, spec.off_diag)
        )  # they follow from r and d: only their number counts
    elif spec.pattern == "custom":
        rows, cols = number % r, (number % r + number // r) % r
    elif k > 8 * r:  # no row and no column is left out
        rows, cols = number // r, number % r
    else:
        drawn = PATTERNS["random"].function(r, k, seed=0, U=None, V=None)
        rows, cols = drawn // r, drawn % r
    return rows * m + cols


def _resident(model: nn.Module, run: Run | None) -> tuple[int, int, int]:
    """Return the bytes of parameters and buffers, of U and V among them, and of the optimizer's state.

    Of a shortened run, one period stands for each that was taken out.
    """
    named = [*model.named_parameters(), *model.named_buffers()]
    inside = set() if run is None else _tensor_ids(run, 1) - _tensor_ids(run, 2)  # what all blocks share is in none

    def size(tensors: Sequence[torch.Tensor]) -> int:
        whole = distinct_bytes(tensors)
        if run is None:
            return whole
        block = whole - distinct_bytes(tensor for tensor in tensors if id(tensor) not in inside)
        return whole + run.further * block

    basis = [tensor for name, tensor in named if any(part in name for part in _BASIS)]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return size([tensor for _, tensor in named]), size(basis), 2 * size(trained)  # AdamW: two moments


def _tensor_ids(run: Run, place: int) -> set[int]:
    return {id(x) for block in run.kept(place) for x in (*block.parameters(), *block.buffers())}


def _inputs(model: nn.Module, config: PreTrainedConfig, batch: int, length: int) -> dict[str, torch.Tensor]:
    """Return a batch with labels, on the meta device."""
    with torch.device("meta"):
        if model.main_input_name == "pixel_values":
            side = config.image_size if isinstance(config.image_size, (list, tuple)) else [config.image_size] * 2
            pixels = torch.empty(batch, config.num_channels, *side, dtype=next(model.parameters()).dtype)
            return {"pixel_values": pixels, "labels": torch.empty(batch, dtype=torch.int64)}
        if model.main_input_name == "input_features" and hasattr(model, "classifier"):  # two frames a position
            frames = 2 * config.max_source_positions
            features = torch.empty(batch, config.num_mel_bins, frames, dtype=next(model.parameters()).dtype)
            return {"input_features": features, "labels": torch.empty(batch, dtype=torch.int64)}
        ids = torch.empty(batch, length, dtype=torch.int64)
        classifies = any(head in name.split(".") for name, _ in model.named_modules() for head in HEADS)
        return {"input_ids": ids, "labels": torch.empty(batch, dtype=torch.int64) if classifies else ids}
