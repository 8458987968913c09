"""Loading an adapter onto its base model, to answer with it."""

from __future__ import annotations

import json
from pathlib import Path

from peft import PeftModel
from safetensors import SafetensorError
from torch import nn

import svft  # noqa: F401  (registers SVFT with PEFT)
from analysis.adapters.shipped import DIRECTORY
from analysis.common.compat import prepare_peft
from analysis.common.errors import AdapterError
from analysis.common.settings import may_open
from analysis.models.loading import Encoder, load_base, load_encoder
from analysis.models.refusals import refusals
from analysis.training.evaluation import read_evaluation


def load_model(directory: str | Path) -> tuple[nn.Module, Encoder]:
    """Load the adapter in `directory` onto its base model, in eval mode, with what makes its inputs.

    Raises:
        AdapterError: If the directory holds no loadable adapter with an `evaluation.json` that names its labels.
        BaseModelError: If its base cannot be loaded.
    """
    directory = Path(directory)
    require_trusted(directory)
    labels = read_labels(directory)
    try:
        config = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
        base = config["base_model_name_or_path"]
        model = load_base(base, labels)
        prepare_peft()
        with refusals():
            return PeftModel.from_pretrained(model, str(directory)).eval(), load_encoder(base)
    except (OSError, KeyError, RuntimeError, SafetensorError, json.JSONDecodeError) as error:
        raise AdapterError(f"{directory.name} cannot be loaded as a PEFT adapter: {error}") from error


def require_trusted(directory: Path) -> None:
    """Refuse to load a model with what a stranger uploaded: configs can name modules to import and models to load.

    Raises:
        AdapterError: On a public server, for an adapter that neither ships nor lies under its roots.
    """
    if not (directory.resolve().is_relative_to(DIRECTORY.resolve()) or may_open(directory)):
        raise AdapterError(
            f"This server does not run uploaded adapters on texts; {directory.name} can still be inspected."
        )


def read_labels(directory: Path) -> list[str]:
    """Return the names of the classes that an adapter tells apart, in the order of the head's outputs.

    Raises:
        AdapterError: If it has no `evaluation.json` that names them.
    """
    evaluation = read_evaluation(directory)
    if evaluation is None:
        raise AdapterError(
            f"{directory.name} has no readable evaluation.json, which names the labels: no prediction can be shown. "
            "Train it with `svft train`, which writes one."
        )
    return evaluation.labels
