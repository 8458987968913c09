"""Any adapter that is not an SVFT adapter, or a whole fine-tuned model, ready to be brought into a pattern."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model
from peft.utils.other import ModulesToSaveWrapper

from analysis.adapters.adapter import Adapter
from analysis.adapters.paths import WEIGHTS_FILE
from analysis.conversion.base_model import BaseModel, load_base_model
from analysis.conversion.checkpoint import open_checkpoint
from analysis.conversion.source import PREFIX
from analysis.models.heads import HEADS
from svft import SvftConfig


@dataclass(frozen=True, eq=False)
class ProjectedSource:
    """An adapter whose updates are projected into the singular basis of its base; the counterpart of `Source`.

    Attributes:
        adapter: The open adapter.
        base: The base model, as it was.
        head: Tensors of the trained head, by name in the base model.
    """

    adapter: Adapter
    base: BaseModel
    head: dict[str, torch.Tensor]

    @property
    def modules_to_save(self) -> list[str] | None:
        """Modules whose tensors are `head`."""
        return sorted({_head_module(name) for name in self.head}) or None

    @property
    def task_type(self) -> str | None:
        """PEFT's name of what the model is for; None if it needs a head that the files do not hold."""
        drawn = {name for name in self.base.new if _head_module(name) is not None}
        return None if drawn - set(self.head) else self.base.task_type

    def attach(self, config: SvftConfig) -> PeftModel:
        """Return the base with a new SVFT adapter named "default", M = 0, and the trained head."""
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


def load_projected(adapter: Adapter, base: str | None = None) -> ProjectedSource:
    """Load the base of an adapter that `open_adapter` projects, and its trained head.

    Of a whole fine-tuned model only the matrices and the head are carried over, for SVFT has no place for the rest.

    Raises:
        BaseModelError: If the base cannot be loaded.
    """
    file = Path(adapter.path) / WEIGHTS_FILE
    checkpoint = open_checkpoint(file if file.is_file() else adapter.path)
    keys = {name.removeprefix(PREFIX): name for name in adapter.head if _head_module(name) is not None}
    shapes = {name: checkpoint.shapes[key] for name, key in keys.items()}
    found = load_base_model(
        base or adapter.base,
        dict.fromkeys(adapter.names, ()) | shapes,
        also={} if file.is_file() else checkpoint.shapes,  # a whole model: all its names tell its class
        task_type=adapter.config.get("task_type"),
    )
    return ProjectedSource(adapter, found, {name: checkpoint.read(key) for name, key in keys.items()})


def _head_module(name: str) -> str | None:
    """Return the module of the head that a tensor belongs to, None for any other tensor."""
    parts = name.removeprefix(PREFIX).split(".")
    place = next((place for place, part in enumerate(parts) if part in HEADS), None)
    return None if place is None else ".".join(parts[: place + 1])
