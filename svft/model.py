"""Injection of SVFT layers into a model, as a PEFT tuner."""

from __future__ import annotations

import logging
import math
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from peft.config import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper, get_pattern_key
from peft.utils.quantization_utils import resolve_quantization_backend
from torch import nn
from transformers.pytorch_utils import Conv1D

from .basis import DTYPES
from .config import SvftConfig
from .contexts import report_progress
from .decomposition import is_randomized
from .errors import SvftError
from .features.mixed_batch import mixed_batch
from .features.weighted import check_bases, check_request, fill, sum_config
from .layer import CoefficientSpec, SvftLayer, layers_of
from .linear import Linear
from .patterns import PATTERNS, directions_within, effective_pattern, nearest_off_diag, pattern_size, spread_budget
from .state.columns import keeps_used_columns
from .state.loading import basis_for_file, settled_state
from .targets import TARGET_MODULES, TARGET_NAMES

logger = logging.getLogger(__name__)

LARGE_BASIS_BYTES = 2**30  # from here on, the memory for U and V is announced before the decomposition


@dataclass(frozen=True)
class _Plan:
    """What one matrix gets: its pattern, its open block r×r, and its number of entries."""

    pattern: str
    rank: int
    entries: int


class SvftModel(BaseTuner):
    """Adapts the linear layers of a model with SVFT (Lingam et al., arXiv 2405.19597).

    Args:
        model: The model to adapt, in place.
        config: The `SvftConfig`, or a dict of them by adapter name.
        adapter_name: Name of the first adapter.

    Example:
        >>> from peft import get_peft_model
        >>> import svft
        >>> model = get_peft_model(base, svft.SvftConfig(pattern="plain"))  # doctest: +SKIP
    """

    prefix = "svft_"
    tuner_layer_cls = SvftLayer
    target_module_mapping = cast(Any, TARGET_MODULES)  # regular expressions do as well as lists

    def _prepare_adapter_config(self, peft_config: Any, model_config: dict[str, Any]) -> Any:
        # PEFT applies layers_to_transform to names, not to the regular expressions of our defaults.
        names = TARGET_NAMES.get(model_config["model_type"])
        if names and peft_config.target_modules is None and peft_config.layers_to_transform is not None:
            peft_config.target_modules = set(names)
        return super()._prepare_adapter_config(peft_config, model_config)

    def _create_and_replace(
        self,
        peft_config: PeftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        if isinstance(target, SvftLayer):
            target.update_layer(adapter_name)
            target.set_adapter(target.active_adapters)
            return
        refuse_unsupported(current_key, target, parent, self.model)
        new_module = Linear(target, adapter_name)
        new_module.module_name = current_key
        if adapter_name not in self.active_adapters:
            new_module.requires_grad_(False)
        self._replace_module(parent, target_name, new_module, target)

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        """Create the layers of an adapter, then size and fill them once all of them are known."""
        try:
            with torch.inference_mode(False), torch.no_grad():  # what is made in inference mode could not be trained
                super().inject_adapter(model, adapter_name, *args, **kwargs)
                _initialize(layers_of(model, adapter_name), self._configs[adapter_name], adapter_name)
        except Exception:
            _take_out(model, adapter_name)
            raise

    @property
    def _configs(self) -> dict[str, SvftConfig]:
        return cast(dict[str, SvftConfig], self.peft_config)

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        if kwargs.get("alora_offsets") is not None:
            raise SvftError("SVFT has no activated adapters (aLoRA): leave alora_offsets out.")
        names, num_beams = kwargs.get("adapter_names"), kwargs.get("num_beams")
        with nullcontext() if names is None else mixed_batch(self.model, names, num_beams or 1):
            yield

    def add_weighted_adapter(
        self,
        adapters: list[str],
        weights: list[float],
        adapter_name: str,
        combination_type: str = "linear",
    ) -> None:
        """Add an adapter whose update is the weighted sum of others', exactly: M = Σ wₐ αₐ Mₐ, Ω is their union.

        Args:
            adapters: Names of the adapters to add.
            weights: A weight for each, of either sign.
            adapter_name: Name of the new adapter.
            combination_type: "linear", "svd" or "cat"; for SVFT they are the same.

        Raises:
            SvftError: If the request is contradictory, or the adapters belong to different singular vectors.
        """
        check_request(self._configs, self.model, adapters, weights, adapter_name, combination_type)
        layers = {name: layer for adapter in adapters for name, layer in layers_of(self.model, adapter).items()}
        check_bases(layers, adapters)
        self.peft_config[adapter_name] = sum_config(self._configs, layers, adapters)
        try:
            self.inject_adapter(self.model, adapter_name)
        except Exception:
            del self.peft_config[adapter_name]
            raise
        for layer in layers_of(self.model, adapter_name).values():
            fill(layer, adapter_name, adapters, weights)

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        if isinstance(child, AuxiliaryTrainingWrapper):  # PEFT's own looks for a weight, which a head of layers lacks
            setattr(parent, child_name, new_module)
        else:
            super()._replace_module(parent, child_name, new_module, child)

    @classmethod
    def _get_adapter_state_dict(
        cls,
        model: nn.Module,
        config: Any,
        adapter_name: str,
        state_dict: dict[str, torch.Tensor],
        unwanted_adapter_names: list[str],
    ) -> dict[str, torch.Tensor]:
        state = super()._get_adapter_state_dict(model, config, adapter_name, state_dict, unwanted_adapter_names)
        layers = layers_of(model, adapter_name)
        state |= basis_for_file(layers, adapter_name, asked=config.embed_basis)
        # The file's types do not depend on what the model was cast to.
        return {
            key: tensor.to(torch.float32) if ".svft_coefficients." in key else tensor for key, tensor in state.items()
        }

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: Any, adapter_name: str, state_dict: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        state = settled_state(layers_of(model, adapter_name), adapter_name, state_dict)
        return super()._remap_adapter_state_dict_for_load(model, config, adapter_name, state)

    def _cast_adapter_dtype(self, adapter_name: str, autocast_adapter_dtype: bool = True) -> None:
        super()._cast_adapter_dtype(adapter_name, autocast_adapter_dtype)
        for layer in layers_of(self.model, adapter_name).values():
            coefficients = layer.svft_coefficients[adapter_name]
            if not autocast_adapter_dtype:  # as of other methods: M has the type of the base
                coefficients.data = coefficients.data.to(layer.get_base_weight().dtype)
            # PEFT's last step of loading: what was loaded is ready to be compiled and exported, too.
            empty = coefficients.device.type == "meta" or layer.is_promised(adapter_name)
            if not empty and not layer.is_settled(adapter_name):
                layer.settle(adapter_name)


def _take_out(model: nn.Module, adapter_name: str) -> None:
    """Undo an adapter that could not be made; a layer that holds no other one is the base's own again."""
    for name, layer in layers_of(model, adapter_name).items():
        del layer.svft_coefficients[adapter_name]
        if layer.svft_coefficients:
            layer.delete_adapter(adapter_name)
        else:
            model.set_submodule(name, layer.base_layer)


# -- refusals


def refuse_unsupported(name: str, target: nn.Module, parent: nn.Module, model: nn.Module) -> None:
    """Raise an SvftError that says why a module cannot be adapted, if it cannot."""
    if isinstance(target, BaseTunerLayer):
        if target.merged:
            raise SvftError(f"{name} has another adapter merged into it: unmerge it before adding SVFT.")
        raise SvftError(
            f"{name} already carries a {type(target).__name__} adapter of another method: unload it first."
        )
    if resolve_quantization_backend(target) is not None:
        raise SvftError(
            f"{name} is quantized ({type(target).__name__}); SVFT needs its weight in float: load it unquantized."
        )
    if isinstance(parent, nn.MultiheadAttention):
        raise SvftError(
            f"{name} is read past its forward by nn.MultiheadAttention, so an adapter there would do nothing: "
            "leave it out of target_modules."
        )
    if not isinstance(target, (nn.Linear, Conv1D)):
        raise SvftError(
            f"{name} is a {type(target).__name__}; SVFT adapts nn.Linear and transformers' Conv1D: "
            "leave it out of target_modules."
        )
    weight = target.weight
    hook = getattr(target, "_hf_hook", None)
    if weight.device.type == "meta" or getattr(hook, "offload", False):
        raise SvftError(
            f"{name} has no weight in memory (meta or offloaded): load the model whole before adapting it."
        )
    if hasattr(weight, "ds_id") or hasattr(weight, "device_mesh") or weight.ndim != 2 or weight.numel() == 0:
        raise SvftError(f"{name} has a sharded weight (FSDP or ZeRO-3): gather the whole weight before adapting it.")
    if weight.dtype not in DTYPES:
        raise SvftError(
            f"{name} has a weight of type {weight.dtype}; SVFT adapts float32, bfloat16, float16, float64."
        )


# -- sizes and first values


def _initialize(layers: dict[str, SvftLayer], config: SvftConfig, adapter_name: str) -> None:
    """Decompose the weights of an adapter's layers and give each its pattern and first coefficients.

    If PEFT has made the place for coefficients on the meta device, what a checkpoint will bring has its shape only.
    """
    plans = _plan(layers, config)
    dtype = getattr(torch, config.basis_dtype) if config.basis_dtype else None
    _announce(layers, plans, dtype)
    for number, (name, layer) in enumerate(layers.items()):
        plan = plans[name]
        empty = layer.svft_coefficients[adapter_name].device.type == "meta"
        pattern = PATTERNS.get(plan.pattern)
        # What comes with a file need not be computed: that is known of values on the meta device, and of a
        # configuration that was saved with an adapter.
        brought = config.embed_basis and (empty or config.was_saved) and not (pattern and pattern.needs_basis)
        basis = None if brought else layer.singular_vectors(plan.rank, dtype)
        indices, off_diag = _draw(layer, plan, config, basis)
        spec = CoefficientSpec(plan.pattern, plan.rank, off_diag)
        values = torch.empty(len(indices), device="meta") if empty else _first_values(len(indices), config)
        layer.init_adapter(adapter_name, spec, indices, values, basis, config.embed_basis, dtype)
        report_progress(number + 1, len(layers), layer.module_name)


def _plan(layers: dict[str, SvftLayer], config: SvftConfig) -> dict[str, _Plan]:
    """Return pattern, rank and number of entries of each matrix, before anything is decomposed."""
    ranks = {}
    for name, layer in layers.items():
        n = min(layer.out_features, layer.in_features)
        ranks[name] = min(config.rank or n, n)
    if config.pattern == "custom":
        pairs = {name: _custom_pairs(layer, ranks[name], config) for name, layer in layers.items()}
        return {name: _Plan("custom", ranks[name], len(pairs[name])) for name in layers}
    if config.budget is not None:
        shares = dict(zip(layers, spread_budget(config.budget, list(ranks.values()))))
    plans = {}
    for name, layer in layers.items():
        override = (config.overrides or {}).get(get_pattern_key(tuple(config.overrides or ()), layer.module_name))
        chosen, off_diag = config.resolve(override)
        pattern = effective_pattern(chosen, (layer.out_features, layer.in_features))
        rank = ranks[name]
        if config.budget is not None:
            entries = shares[name]
            rank = directions_within(pattern, rank, entries)
        else:
            sized = PATTERNS[pattern].sized and off_diag is not None
            entries = pattern_size(rank, off_diag or 0) if sized else rank
        plans[name] = _Plan(pattern, rank, entries)
    used = {get_pattern_key(tuple(config.overrides or ()), layer.module_name) for layer in layers.values()}
    if unused := sorted(set(config.overrides or ()) - used):
        raise SvftError(f"overrides name modules that are not adapted: {', '.join(unused)}.")
    return plans


def _custom_pairs(layer: SvftLayer, rank: int, config: SvftConfig) -> np.ndarray:
    """Return the (i, j) of a matrix in the custom pattern, int64 (k, 2), sorted."""
    entries = config.custom_indices or {}
    fitting = [k for k in entries if re.fullmatch(rf"(.*\.)?{re.escape(k)}", layer.module_name)]
    key = max(fitting, key=len, default=None)
    if key is None:
        raise SvftError(f"custom_indices has no entry for {layer.module_name}: name every adapted matrix.")
    pairs = np.unique(np.asarray(entries[key], dtype=np.int64), axis=0)
    if pairs.max() >= rank:
        raise SvftError(
            f"custom_indices[{key!r}] reaches ({pairs.max()}), but M of {layer.module_name} is {rank}×{rank}."
        )
    return pairs


def _draw(
    layer: SvftLayer, plan: _Plan, config: SvftConfig, basis: tuple[torch.Tensor, torch.Tensor] | None
) -> tuple[torch.Tensor, int | None]:
    """Return the flat indices of a matrix into M (m, m), and the half-width if the pattern is a band.

    Without a basis, the pattern must be one that does not need it.
    """
    m = layer.basis_size(plan.rank)
    pattern = PATTERNS.get(plan.pattern)
    if pattern is None:
        pairs = _custom_pairs(layer, plan.rank, config)
        return torch.from_numpy(pairs[:, 0] * m + pairs[:, 1]), None
    # Another draw for each matrix, the same in every process.
    seed = (config.seed << 32) + zlib.crc32(layer.module_name.encode())
    U, V = (None, None) if basis is None else (side[:, : plan.rank] for side in basis)
    block = pattern.function(plan.rank, plan.entries, seed=seed, U=U, V=V).cpu()
    indices = block // plan.rank * m + block % plan.rank
    if pattern.stored:
        return indices, None
    return indices, nearest_off_diag(plan.rank, len(indices))


def _first_values(k: int, config: SvftConfig) -> torch.Tensor:
    """Return the first coefficients (k,): zero, or the noise of the authors' code behind its half-open gate."""
    if config.init_weights:
        return torch.zeros(k)
    return torch.randn(k) * (0.5 * math.sqrt(2 / k))


def _announce(layers: dict[str, SvftLayer], plans: dict[str, _Plan], dtype: torch.dtype | None) -> None:
    """Say how much memory U and V will take, before a large model is decomposed."""
    new = [
        (
            _kept_columns(plans[name], (layer.out_features, layer.in_features)),
            layer.out_features + layer.in_features,
            (dtype or layer.get_base_weight().dtype).itemsize,
        )
        for name, layer in layers.items()
        if not layer.has_basis(plans[name].rank, dtype)
    ]
    total = sum(columns * sides * size for columns, sides, size in new)
    if total < LARGE_BASIS_BYTES:
        return
    randomized = sum(is_randomized((la.out_features, la.in_features), plans[n].rank) for n, la in layers.items())
    logger.warning(
        "Decomposing %d weights (%d of them by a randomized method): U and V will take %.1f GB beside the model.",
        len(new), randomized, total / 1e9,
    )  # fmt: skip


def _kept_columns(plan: _Plan, shape: tuple[int, int]) -> int:
    """Return the most columns of U, and of V, that a matrix may keep."""
    used = min(plan.entries, plan.rank)
    return used if keeps_used_columns(shape, used, used) else plan.rank
