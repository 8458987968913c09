"""Any adapter that is not an SVFT adapter, or a whole fine-tuned model, ready to be converted."""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from peft import PeftModel, get_peft_model
from peft.utils.other import ModulesToSaveWrapper

from analysis.adapters.peft.update import PeftAdapter
from analysis.adapters.projected_adapter import ProjectedAdapter
from analysis.common.errors import AdapterError
from analysis.common.linear_algebra import dense_svd
from analysis.conversion.base_model import BaseModel, load_base_model
from analysis.conversion.source import PREFIX
from analysis.models.heads import HEADS, is_head
from analysis.models.loading import is_linear
from analysis.models.modules import named_classes, without_wrappers
from svft import SvftConfig
from svft.errors import SvftError
from svft.model import refuse_unsupported


@dataclass(frozen=True, eq=False)
class ProjectedSource:
    """An adapter whose updates are projected into the singular basis of its base; the counterpart of `Source`.

    Attributes:
        adapter: The open adapter.
        base: The base model, as it was.
        modules: Name of each matrix that can be converted, in the adapter -> in the model.
        head: Tensors of modules that were trained whole, by name in the model.
        left_out: What was trained and cannot be converted, a sentence each.
    """

    adapter: ProjectedAdapter
    base: BaseModel
    modules: dict[str, str]
    head: dict[str, torch.Tensor]
    left_out: list[str]

    @property
    def modules_to_save(self) -> list[str] | None:
        """Modules whose tensors are `head`."""
        return sorted({_whole_module(name) for name in self.head}) or None

    @property
    def task_type(self) -> str | None:
        """PEFT's name of what the model is for; None if it needs a head that the files do not hold whole.

        PEFT trains the head of a classifier whole by itself, which leaves no place for an update of it.
        """
        drawn = {name for name in self.base.new if is_head(name)}
        adapted = any(is_head(module) for module in self.modules.values())
        return None if adapted or drawn - set(self.head) else self.base.task_type

    def attach(self, config: SvftConfig) -> PeftModel:
        """Return the base with a new SVFT adapter named "default", M = 0, and what was trained whole."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between versions of PEFT and transformers
            model = get_peft_model(self.base.model, config)
        for name, module in model.named_modules():
            if isinstance(module, ModulesToSaveWrapper):
                stem = name.removeprefix(PREFIX) + "."
                trained = {key.removeprefix(stem): t for key, t in self.head.items() if key.startswith(stem)}
                module.modules_to_save["default"].load_state_dict(trained or module.original_module.state_dict())
        return model

    def own_coefficients(self, name: str) -> tuple[torch.Tensor, float]:
        """Return M = UᵀΔWV of one matrix, (n, n) float64, and ‖ΔW‖_F², of which M's energy is a part."""
        matrix = self.adapter.matrix(name)
        return torch.from_numpy(matrix.coefficients()), matrix.energy

    def factors(self, name: str, rank: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
        """Return B (out, r), A (r, in) float32, whose product is nearest to ΔW, and all singular values of ΔW."""
        update = self.adapter.dense_update(name)
        assert update is not None  # a projected adapter has the update itself
        svd = dense_svd(update)
        root = np.sqrt(svd.values[:rank])
        B, A = svd.P[:, :rank] * root, (svd.Q[:, :rank] * root).T
        return torch.from_numpy(B).float(), torch.from_numpy(A).float(), svd.values


def load_projected(adapter: ProjectedAdapter, base: str | None = None) -> ProjectedSource:
    """Load the base of an adapter that `open_adapter` projects, and the modules that were trained whole beside it.

    Of a whole fine-tuned model only the matrices and the head are carried over: the rest has no place in an adapter.

    Raises:
        AdapterError: If none of the matrices can be converted.
        BaseModelError: If the base cannot be loaded.
    """
    base = base or adapter.base
    assert base is not None  # it was projected into its weights
    whole = adapter.kind == "full fine-tuning"
    heads = {without_wrappers(name): shape for name, shape in adapter.head.items() if is_head(name)}
    names = {name: () for name in adapter.names if ".experts." not in name}
    base_model = load_base_model(
        base,
        names if whole else names | heads,
        also=heads,
        named=[*named_classes(adapter.config), adapter.weights.names.model_class or ""],
    )
    modules, left_out = _convertible(adapter, base_model)
    head, others = _trained_whole(adapter, base_model, set(modules.values()), whole)
    left_out += [f"{module.name}: {module.reason}" for module in adapter.left_out] + others
    left_out += [f"The bias of {name}, which {adapter.kind} changes too." for name in _with_bias(adapter)]
    return ProjectedSource(adapter, base_model, modules, head, left_out)


def _with_bias(adapter: ProjectedAdapter) -> list[str]:
    source = adapter.source
    return [name for name in adapter.names if isinstance(source, PeftAdapter) and source.changes_bias(name)]


def _convertible(adapter: ProjectedAdapter, base: BaseModel) -> tuple[dict[str, str], list[str]]:
    """Return the matrices that are linear layers of the model, by name there, and a sentence on each other one."""
    modules, left_out = {}, []
    for name in adapter.names:
        own = base.module(name)
        if own is None:
            left_out.append(f"{name}: It is part of a fused weight of the model, which PEFT adapts as a whole.")
            continue
        parent = base.model.get_submodule(own.rpartition(".")[0])
        if not is_linear(base.model.get_submodule(own)):
            left_out.append(f"{name}: It is not a linear layer, to whose output that of an adapter could be added.")
            continue
        try:
            refuse_unsupported(own, base.model.get_submodule(own), parent, base.model)
        except SvftError as error:
            left_out.append(str(error))
            continue
        try:
            adapter.source.update(name, adapter.weights)
        except AdapterError as error:  # damaged numbers
            left_out.append(f"{name}: {error}")
            continue
        modules[name] = own
    if not modules:
        raise AdapterError(f"No matrix of {adapter.path} can be converted. {left_out[0]}")
    return modules, left_out


def _trained_whole(
    adapter: ProjectedAdapter, base: BaseModel, adapted: set[str], whole: bool
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return the tensors of modules that were saved whole, by name in the model, and sentences on what is left out."""
    parameters = base.outline.parameters_of(adapter.head)
    files, state = adapter.source.files, base.model.state_dict()
    head: dict[str, torch.Tensor] = {}
    by_module: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for name, parameter in parameters.items():
        if any(map(_is_saved_as_head, parameter.split("."))) if whole else parameter in state:
            by_module[_whole_module(parameter)][parameter] = name
    for module, tensors in by_module.items():
        own = {key for key in state if key.startswith(f"{module}.")}
        fits = all(state[key].shape == adapter.head[name] for key, name in tensors.items() if key in state)
        free = not any(path == module or path.startswith(f"{module}.") for path in adapted)
        if own == set(tensors) and fits and free:
            head |= {key: files.read_any(name) for key, name in tensors.items()}
    rest = [name for name, parameter in parameters.items() if parameter not in head]
    if whole and rest:
        return head, [f"{len(rest)} tensors outside the matrices, which an adapter cannot hold (embeddings, norms, …)"]
    return head, [
        f"{without_wrappers(name)}: It was trained beside the matrices, which have no place for it." for name in rest
    ]


def _whole_module(parameter: str) -> str:
    """Return the module that is saved if a parameter was trained whole: the head, or the one it belongs to."""
    parts = parameter.split(".")
    place = next((place for place, part in enumerate(parts) if _is_saved_as_head(part)), len(parts) - 2)
    return ".".join(parts[: place + 1])


def _is_saved_as_head(part: str) -> bool:
    """Whether PEFT saves a module with this last part of its name as the head: it asks only how the name ends."""
    return part.endswith(HEADS)
