"""Predictions of one adapter for a person's own text, at any place of the dial."""

from __future__ import annotations

import json
import threading
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
from peft import PeftModel
from safetensors import SafetensorError
from scipy.special import softmax
from torch import nn

import svft  # noqa: F401  (registers SVFT with PEFT)
from analysis.adapter import Adapter, AdapterError
from analysis.bases import Encoder, load_base, load_encoder
from analysis.evaluation import read_evaluation
from analysis.inference import Factor, dialled, has_dial, predict_logits, reweighted
from analysis.intervention_effects import edited
from analysis.interventions import Edit
from analysis.methods import keep_boft_from_compiling
from analysis.settings import may_open
from analysis.shipped import DIRECTORY


class Predictor:
    """A base model with one adapter, loaded once. Safe to share between threads: one prediction runs at a time.

    Attributes:
        labels: Names of the classes, in the order of the head's outputs.
        has_dial: Whether there is an M to scale; without one, `alpha` changes nothing.
    """

    def __init__(self, model: nn.Module, encode: Encoder, labels: list[str]) -> None:
        self.labels = labels
        self.has_dial = has_dial(model)
        self._model = model
        self._encode = encode
        self._lock = threading.Lock()

    def predict(
        self,
        text: str,
        alpha: float = 1.0,
        factor: Factor | None = None,
        edit: tuple[Adapter, Edit] | None = None,
    ) -> pd.DataFrame:
        """Return what U(Σ + αM)Vᵀ predicts for a text, or M with each entry multiplied by a `factor` of its own.

        Args:
            text: The text.
            alpha: Of the dial.
            factor: See `analysis.inference.reweighted`.
            edit: The adapter that was loaded, and an edit of its M; None takes M as it was trained.

        Columns:
            label: Name of the class.
            probability: Its probability; the column sums to 1.
        """
        changed = nullcontext() if factor is None else reweighted(self._model, factor)
        with self._lock, edited(self._model, *edit or (None, None)), dialled(self._model, alpha), changed:
            logits = predict_logits(self._model, self._encode, [text])[0]
        return pd.DataFrame({"label": self.labels, "probability": softmax(logits.astype("float64"))})


def load_predictor(directory: str | Path) -> Predictor:
    """Load the adapter in `directory` onto its base model; it takes seconds, so keep what it returns.

    Raises:
        AdapterError: Where the directory holds no loadable adapter with an `evaluation.json` that names its labels.
        BaseModelError: Where its base cannot be loaded.
    """
    directory = Path(directory)
    labels = _labels(directory)
    model, encode = load_model(directory)
    if model.main_input_name == "pixel_values":
        raise AdapterError(f"{directory.name} classifies images: there is no prediction for a text.")
    return Predictor(model, encode, labels)


def load_model(directory: str | Path) -> tuple[nn.Module, Encoder]:
    """Load the adapter in `directory` onto its base model, in eval mode, with what makes its inputs.

    Raises:
        AdapterError: Where the directory holds no loadable adapter with an `evaluation.json` that names its labels.
        BaseModelError: Where its base cannot be loaded.
    """
    directory = Path(directory)
    require_trusted(directory)
    labels = _labels(directory)
    try:
        config = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
        base = config["base_model_name_or_path"]
        model = load_base(base, labels)
        keep_boft_from_compiling()
        return PeftModel.from_pretrained(model, str(directory)).eval(), load_encoder(base)
    except (OSError, KeyError, RuntimeError, SafetensorError, json.JSONDecodeError) as error:
        raise AdapterError(f"{directory.name} cannot be loaded as a PEFT adapter: {error}") from error


def require_trusted(directory: Path) -> None:
    """Refuse to load a model with what a stranger uploaded: configs can name modules to import and models to load.

    Raises:
        AdapterError: On a public server, for an adapter that neither ships nor lies under its roots.
    """
    if not (directory.resolve().is_relative_to(DIRECTORY.resolve()) or may_open(directory)):
        raise AdapterError(f"This server applies no uploaded adapter to texts; {directory.name} can be looked at.")


def _labels(directory: Path) -> list[str]:
    evaluation = read_evaluation(directory)
    if evaluation is None:
        raise AdapterError(
            f"{directory.name} has no readable evaluation.json, which names the labels: no prediction can be shown. "
            "Train it with `svft train`, which writes one."
        )
    return evaluation.labels
