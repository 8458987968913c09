"""Memory of training before any training: one step, taken without numbers.

The model is built on PyTorch's meta device, the method's own layers are put in, and forward, backward and AdamW run
there as they would with numbers. Nothing is computed, but every tensor that would be allocated comes by, with its
size: no formula per architecture or method is needed. What is counted is what `analysis.planning.cost` measures.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields

import pandas as pd
import torch
import torch.nn.functional as F
from peft import get_peft_model
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from analysis.common.errors import ArchitectureError, UserError
from analysis.models.architecture import Architecture, config_from_values
from analysis.models.heads import HEADS, is_head
from analysis.models.loading import build_from_config
from analysis.planning.cost import distinct_bytes
from analysis.training.methods import METHODS, svft_patterns
from analysis.training.specification import TrainingSpec
from svft.layer import CoefficientSpec
from svft.linear import Linear
from svft.patterns import PATTERNS, effective_pattern, nearest_off_diag

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
        targets: Full names of the modules to adapt.
        size: As in `TrainingSpec`; None takes the method's own, if it has no budget.
        budget: As in `TrainingSpec`.
        batch: Examples per step.
        length: Tokens per example, without padding; images have the size that the model takes.
        dtype: Of the base's weights.

    Raises:
        ArchitectureError: If a step depends on numbers, so that it cannot be taken without.
    """
    config = config_from_values(architecture.config)
    for token in ("pad_token_id", "decoder_start_token_id"):  # which a step may ask for
        if getattr(config, token, None) is None:
            setattr(config, token, 0)
    model = build_from_config(config, dtype)
    before = distinct_bytes([*model.parameters(), *model.buffers()])
    spec = TrainingSpec(
        _FIRST_TASK, method, size=METHODS[method].size if size is None and budget is None else size, budget=budget
    )
    try:
        model = _adapt(model, spec, list(targets))
        resident, basis, optimizer = _resident(model)
        peak, gradients = _step(model, _inputs(model, config, batch, length))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, UserError, ValueError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ArchitectureError(
            f"A training step of {architecture.name} with {METHODS[method].title} cannot be taken without numbers, so "
            f"its memory is not known: {reason[0]}"
        ) from error
    return TrainingMemory(
        weights=before,
        basis=basis,
        adapter=resident - before - basis,
        optimizer=optimizer,
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
) -> Iterator[dict[str, object]]:
    """Yield the memory of each method of a table, then of full fine-tuning.

    Args:
        architecture: The model.
        kinds: As the table's.
        table: Of `analysis.planning.budgets.budget_table`; methods without a size are left out.
        batch: See `training_memory`.
        length: See there.
        dtype: See there.

    Yields:
        ``method``, ``label``, the fields of `TrainingMemory` and ``peak`` in bytes; or a ``note`` in their place,
        if a step cannot be taken without numbers.
    """
    targets = [name for kind in architecture.of_kinds(kinds) for name in architecture.kinds[kind]]
    full = {"method": "full", "label": METHODS["full"].title, "size": None, "count": architecture.parameters}
    for row in [*table[table["count"].notna()].to_dict("records"), full]:
        size = None if pd.isna(row["size"]) else int(row["size"])
        exact = METHODS[row["method"]].exact and size is None
        head = {"method": row["method"], "label": row["label"]}
        try:
            found = training_memory(
                architecture,
                row["method"],
                targets,
                size=size,
                budget=int(row["count"]) if exact else None,
                batch=batch,
                length=length,
                dtype=dtype,
            )
        except ArchitectureError as error:
            yield head | {"note": str(error)}
        else:
            yield head | asdict(found) | {"peak": found.peak, "note": ""}


# -- the model


def _adapt(model: nn.Module, spec: TrainingSpec, targets: list[str]) -> nn.Module:
    """Return the model as the method trains it, on the meta device."""
    pattern = spec.method in svft_patterns()
    method = METHODS["head_only" if pattern else spec.method]
    has_head = any(is_head(name) for name, _ in model.named_parameters())
    if method.name == "boft" and 4 * sum(model.get_submodule(name).weight.shape[-1] ** 2 for name in targets) > 2**30:
        raise RuntimeError("it builds permutations, in×in each, that would take more than 1 GB here")
    # VeRA draws its projections with a generator, BOFT looks into its permutations: neither can on the meta device.
    with torch.device("cpu" if method.name in ("vera", "boft") else "meta"):
        if method.config is None or has_head:
            adapted = method.build(model, spec.options, targets)
        else:  # a language model: PEFT's own call
            adapted = get_peft_model(model, method.config(spec.method, spec.options, targets))
    if pattern:
        _insert_layers(model, spec, targets)
    return adapted.to("meta")


def _insert_layers(model: nn.Module, spec: TrainingSpec, targets: list[str]) -> None:
    """Put SVFT's layers in as `SvftModel` does, with U and V of their shapes, but without a decomposition."""
    from analysis.planning.budgets import entries_of

    layers = {name: Linear(model.get_submodule(name), "default") for name in targets}
    shapes = [(layer.out_features, layer.in_features) for layer in layers.values()]
    for (name, layer), shape, k in zip(
        layers.items(), shapes, entries_of(spec.method, shapes, spec.size, spec.budget), strict=True
    ):
        n, dtype = min(shape), layer.get_base_weight().dtype
        pattern = PATTERNS.get(effective_pattern(spec.method, shape))
        off_diag = None if pattern is None or pattern.stored else nearest_off_diag(n, k)
        with torch.device("meta"):
            layer.svft_shared_U, layer.svft_shared_V = (torch.empty(side, n, dtype=dtype) for side in shape)
            layer.own_sigma, layer.own_signature = torch.empty(n), torch.empty(2, n, 2)
            layer.own_fingerprint, layer.basis_precision = torch.empty(33, dtype=torch.uint8), dtype
            indices, first = torch.empty(k, dtype=torch.int64), torch.empty(k)
            layer.init_adapter(
                "default", CoefficientSpec(pattern.name if pattern else "custom", n, off_diag), indices, first, False
            )
        model.set_submodule(name, layer)


def _resident(model: nn.Module) -> tuple[int, int, int]:
    """Return the bytes of parameters and buffers, of U and V among them, and of the optimizer's state."""
    basis = [buffer for name, buffer in model.named_buffers() if "svft_shared_" in name]
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return distinct_bytes([*model.parameters(), *model.buffers()]), distinct_bytes(basis), 2 * trained


def _inputs(model: nn.Module, config: object, batch: int, length: int) -> dict[str, torch.Tensor]:
    """Return a batch with labels, on the meta device."""
    with torch.device("meta"):
        if model.main_input_name == "pixel_values":
            side = config.image_size if isinstance(config.image_size, (list, tuple)) else [config.image_size] * 2
            pixels = torch.empty(batch, config.num_channels, *side, dtype=next(model.parameters()).dtype)
            return {"pixel_values": pixels, "labels": torch.empty(batch, dtype=torch.int64)}
        ids = torch.empty(batch, length, dtype=torch.int64)
        classifies = any(head in name.split(".") for name, _ in model.named_modules() for head in HEADS)
        return {"input_ids": ids, "labels": torch.empty(batch, dtype=torch.int64) if classifies else ids}


# -- the step


def _step(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[int, int]:
    """Return the most bytes that a step has allocated at once, and those of them that are gradients."""
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    for parameter in trained:  # the optimizer's state exists from here on
        parameter.grad = torch.empty_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    gradients: dict[int, int] = {}  # storage -> its bytes
    with _AsOnCpu(), _Allocations() as allocations:
        output = model(**inputs)
        loss = output.loss if getattr(output, "loss", None) is not None else output[0].float().sum()
        del output
        loss.backward()
        for parameter in trained:
            if parameter.grad is not None:
                storage = parameter.grad.untyped_storage()
                gradients[id(storage)] = storage.nbytes()
        del loss
        optimizer.step()
        at_peak = sum(size for key, size in gradients.items() if key in allocations.at_peak)
    return allocations.peak, at_peak


class _Allocations(TorchDispatchMode):
    """Count the bytes of storages that operations create, for as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self.level = self.peak = 0
        self.at_peak: frozenset[int] = frozenset()
        self._living: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        output = operation(*args, **(kwargs or {}))
        given = {id(x.untyped_storage()) for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        for tensor in tree_leaves(output):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if id(storage) not in given and id(storage) not in self._living:
                    self._add(storage)
        return output

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()

        def free(_: weakref.ref) -> None:
            self.level -= size
            self._living.pop(key, None)

        self._living[key] = weakref.ref(storage, free)
        self.level += size
        if self.level > self.peak:
            self.peak, self.at_peak = self.level, frozenset(self._living)


class _AsOnCpu(TorchFunctionMode):
    """Take the path that a CPU takes with numbers if the meta device takes another one, or fails.

    Attention takes a CPU's fused kernel, which keeps no length×length scores; on the meta device PyTorch would take
    the unfused way. (With dropout a CPU takes that one too.) Whether ids contain padding has the answer no.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.Tensor.__contains__:
            return False
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
