"""An SVFT adapter on its base model, ready to be converted: singular vectors and coefficients of each matrix."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.utils.other import ModulesToSaveWrapper
from safetensors import SafetensorError

from analysis.adapters.adapter import Adapter
from analysis.adapters.adapter_file import module_stems
from analysis.adapters.opening import open_adapter
from analysis.common.errors import AdapterError
from analysis.conversion.base_model import BaseModel, load_base_model
from analysis.models.modules import named_classes
from analysis.models.refusals import refusals
from analysis.training.evaluation import read_evaluation
from svft import SvftConfig
from svft.basis import DTYPES
from svft.cache import decompose
from svft.coefficients import dense_coefficients
from svft.layer import SvftLayer

PREFIX = "base_model.model."  # PEFT's, before every name in an adapter file


@dataclass(frozen=True, eq=False)
class Source:
    """An SVFT adapter that is loaded onto its base.

    Attributes:
        adapter: What its files say.
        base: The base model; its layers carry the adapter.
        model: The same as PEFT's model.
        adapter_name: Name of the adapter in the model.
    """

    adapter: Adapter
    base: BaseModel
    model: PeftModel
    adapter_name: str

    @property
    def layers(self) -> dict[str, SvftLayer]:
        """The adapted layers by module name, in the adapter's order."""
        model = self.model.get_base_model()
        layers = ((name, model.get_submodule(module)) for name, module in self.modules.items())
        return {name: layer for name, layer in layers if isinstance(layer, SvftLayer)}

    @property
    def modules(self) -> dict[str, str]:
        """Name of each matrix in the adapter -> in the model, which may be of another version of transformers."""
        return {name: self.base.module(name) or name for name in self.adapter.names}

    @property
    def left_out(self) -> list[str]:
        """What cannot be converted: nothing."""
        return []

    @property
    def modules_to_save(self) -> list[str] | None:
        """Modules that were trained whole and are saved with the adapter."""
        names = self.adapter.config.get("modules_to_save") or ()
        return sorted(set(names)) or None

    def coefficients(self, name: str) -> torch.Tensor:
        """Return M of one matrix, (r, r) float64."""
        layer = self.layers[name]
        rows, cols = layer.coefficient_positions(self.adapter_name)
        rank = layer.spec[self.adapter_name].rank
        M = torch.zeros(rank, rank, dtype=torch.float64)
        M[rows, cols] = layer.svft_coefficients[self.adapter_name].detach().double()
        return M

    def factors(self, name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the columns of U that the entries of one matrix use (out, a), M as seen from them (a, b), and V's.

        ΔW is their product, U M Vᵀ. M is float64, U and V have the type that they are kept in.
        """
        layer = self.layers[name]
        U, V = layer.get_basis(self.adapter_name)
        values = layer.svft_coefficients[self.adapter_name].detach().double()
        places = layer.flat_places(self.adapter_name)
        return U, dense_coefficients(values, places, U.shape[1], V.shape[1]), V

    def own_coefficients(self, name: str) -> tuple[torch.Tensor, float]:
        """Return M of one matrix in the basis of the base itself, (n, n) float64, and ‖ΔW‖_F²."""
        layer, M = self.layers[name], self.coefficients(name)
        energy = float(M.square().sum())
        if not layer.is_of_weight(self.adapter_name):  # a basis that the adapter brought along
            U, seen, V = self.factors(name)
            own = decompose(layer.get_matrix(), name=name)
            return (own.U.double().T @ U.double()) @ seen @ (V.double().T @ own.V.double()), energy
        beyond = min(layer.out_features, layer.in_features) - len(M)
        return torch.nn.functional.pad(M, (0, beyond, 0, beyond)), energy

    @property
    def task_type(self) -> str | None:
        """PEFT's name of what the adapter is for."""
        return self.adapter.config.get("task_type")

    def attach(self, config: SvftConfig) -> PeftModel:
        """Return the model with a further SVFT adapter named "default", M = 0, and the trained head in it too."""
        self.model.add_adapter("default", config)
        for module in self.model.modules():
            if isinstance(module, ModulesToSaveWrapper):
                trained = module.modules_to_save[self.adapter_name].state_dict()
                module.modules_to_save["default"].load_state_dict(trained)
        return self.model


def row(adapter: Adapter, name: str, **measures: object) -> dict:
    """Return a row of a conversion's table: where the matrix is, and its measures.

    Keys:
        name, layer, kind, label, out, in: As in `Adapter.matrices`.
        …: `measures`.
    """
    place = adapter.matrices.iloc[adapter.names.index(name)]
    return {column: place[column] for column in ("name", "layer", "kind", "label", "out", "in")} | measures


def loss(update_norm: float, error: float) -> dict[str, float]:
    """Return what a conversion changes of one update, from ‖ΔW‖_F and the Frobenius norm of the difference.

    Keys:
        update_norm: ‖ΔW‖_F.
        error: ‖ΔW' − ΔW‖_F.
        relative_error: error / ‖ΔW‖_F; 0 for a zero update.
        lost_share: Its square: the share of the update's energy that is lost.
    """
    relative = error / update_norm if update_norm else 0.0
    return {"update_norm": update_norm, "error": error, "relative_error": relative, "lost_share": relative**2}


def load_source(path: str | Path, base: str | None = None, adapter_name: str = "default") -> Source:
    """Load the SVFT adapter in `path` onto its base, in the precision it was trained with.

    Args:
        path: Directory of the adapter.
        base: Id or path of the base if it is not the one that the adapter names.
        adapter_name: What PEFT shall call it.

    Raises:
        AdapterError: If it is not an SVFT adapter, or is damaged.
        BaseModelError: If the base cannot be loaded.
        UserError: If the base is not the one that the adapter was trained on.
    """
    adapter = open_adapter(path)
    base = base or adapter.base
    if adapter.projected:
        raise AdapterError(
            f"{path} holds the projection of a few matrices, not the update itself: convert the adapter that it was "
            "made from."
        )
    if adapter.config.get("peft_type") != "SVFT" or not adapter.names:
        raise AdapterError(f"{path} is not an SVFT adapter with coefficients: there is no M to convert.")
    if base is None:
        raise AdapterError(f"{path} does not name its base model: specify it.")
    measured = read_evaluation(adapter.path)
    shapes = {name.removeprefix(PREFIX): shape for name, shape in adapter.head.items()}
    base_model = load_base_model(
        base,
        dict.fromkeys(adapter.names, ()) | shapes,
        named=named_classes(adapter.config),
        labels=None if measured is None else measured.labels,
        dtype=_dtype(adapter),
    )
    try:
        with refusals(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between versions of PEFT and transformers
            model = PeftModel.from_pretrained(
                base_model.model, str(path), adapter_name=adapter_name, **_renamed(adapter, base_model)
            ).eval()
    except (KeyError, RuntimeError, SafetensorError) as error:
        raise AdapterError(f"{path} cannot be loaded onto {base!r} as a PEFT adapter: {error}") from error
    return Source(adapter, base_model, model, adapter_name)


def _renamed(adapter: Adapter, base: BaseModel) -> dict[str, Any]:
    """Return what PEFT needs to load an adapter whose modules the base calls otherwise; nothing if it does not."""
    assert adapter.files is not None  # as every adapter with matrices has
    stems = {name: stem.removeprefix(PREFIX) for name, stem in module_stems(adapter.files).items()}
    own = {name: base.module(name) or name for name in adapter.names}
    if all(stems[name] == module for name, module in own.items()):
        return {}
    if not all(name.startswith(PREFIX) for name in adapter.files.tensors):
        raise AdapterError(f"{adapter.path} has names that do not begin with {PREFIX}: PEFT cannot load them.")
    config = SvftConfig.from_pretrained(str(adapter.path))
    config.target_modules = sorted(own.values())
    if config.custom_indices:
        config.custom_indices = {own.get(name, name): entries for name, entries in config.custom_indices.items()}
    mapping = {rf"^{re.escape(stems[name])}\.": f"{module}." for name, module in own.items()}
    return {"config": config, "key_mapping": mapping}


def _dtype(adapter: Adapter) -> torch.dtype:
    """Return the type of the weights that the adapter was trained on, as their fingerprint says."""
    files = adapter.files
    assert files is not None  # as every adapter with matrices has
    marks = [files.read_any(name) for name in files.tensors if name.endswith(".svft_fingerprint")]
    codes = {int(mark[-1]) for mark in marks}
    return DTYPES[min(codes)] if codes and max(codes) < len(DTYPES) else torch.float32
