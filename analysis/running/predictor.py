"""Predictions of one adapter for a text or a sound, at any place of the dial."""

from __future__ import annotations

import threading
import unicodedata
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax
from torch import nn
from transformers import PreTrainedTokenizerBase

from analysis.adapters.adapter import Adapter
from analysis.adapters.recognise import recognise
from analysis.common.errors import AdapterError
from analysis.measures.edits import Edit
from analysis.models.loading import Encoder, load_tokenizer
from analysis.running.edit_effects import edited
from analysis.running.inference import Factor, dialled, has_dial, predict_logits, reweighted
from analysis.running.loading import load_model, read_labels
from analysis.training.tasks import TASKS

_MOST_UNKNOWN = 0.2  # of the tokens; above it one says so


class Predictor:
    """A base model with one adapter, loaded once. Safe to share between threads: one input is read at a time.

    Attributes:
        labels: Names of the classes, in the order of the head's outputs.
        has_dial: Whether there is an M to scale; without one, `alpha` changes nothing.
    """

    def __init__(
        self,
        model: nn.Module,
        encode: Encoder,
        tokenizer: PreTrainedTokenizerBase | None,
        labels: list[str],
        *,
        is_english: bool,
    ) -> None:
        self.labels = labels
        self.has_dial = has_dial(model)
        self._model = model
        self._encode = encode
        self._tokenizer = tokenizer
        self._is_english = is_english
        self._lock = threading.Lock()

    def predict(
        self,
        given: str | np.ndarray,
        alpha: float = 1.0,
        factor: Factor | None = None,
        edit: tuple[Adapter, Edit] | None = None,
    ) -> pd.DataFrame:
        """Return what U(Σ + αM)Vᵀ predicts for an input, or M with each entry multiplied by a `factor` of its own.

        Args:
            given: A text, or a sound as its task has them.
            alpha: Of the dial.
            factor: See `analysis.running.inference.reweighted`.
            edit: The adapter that was loaded, and an edit of its M; None takes M as it was trained.

        Columns:
            label: Name of the class.
            probability: Its probability; the column sums to 1.
        """
        changed = nullcontext() if factor is None else reweighted(self._model, factor)
        with self._lock, edited(self._model, *edit or (None, None)), dialled(self._model, alpha), changed:
            logits = predict_logits(self._model, self._encode, [given])[0]
        return pd.DataFrame({"label": self.labels, "probability": softmax(logits.astype("float64"))})

    def unread(self, text: str) -> str | None:
        """Return a sentence about what the model does not read of a text; None if it reads all of it."""
        assert self._tokenizer is not None  # a model of texts has one
        with self._lock:  # a fast tokenizer refuses a thread while it cuts a text for another one
            tokens = self._encode([text])["input_ids"][0].tolist()
            given = self._tokenizer(text, verbose=False)["input_ids"]
        unknown = tokens.count(self._tokenizer.unk_token_id)
        letters = [letter for letter in text if letter.isalpha()]
        other = sum("LATIN" not in unicodedata.name(letter, "") for letter in letters)
        if self._is_english and other > len(letters) / 2:
            return "The adapter was trained on English text, and this is another script: the prediction means nothing."
        if len(tokens) < len(given):
            return f"The model reads {len(tokens):,} tokens: the last {len(given) - len(tokens):,} are cut off."
        if unknown > _MOST_UNKNOWN * len(tokens):
            return f"{unknown} of {len(tokens)} tokens are not in the model’s vocabulary: it cannot tell them apart."
        return None


def load_predictor(directory: str | Path) -> Predictor:
    """Load the adapter in `directory` onto its base model; it takes seconds, so keep what it returns.

    Raises:
        AdapterError: If the directory holds no loadable adapter with an `evaluation.json` that names its labels.
        BaseModelError: If its base cannot be loaded.
    """
    directory = Path(directory)
    labels = read_labels(directory)
    model, encode = load_model(directory)
    if model.main_input_name == "pixel_values":
        raise AdapterError(f"{directory.name} classifies images, so it has no prediction for a text.")
    recognised = recognise(directory)
    tokenizer = load_tokenizer(recognised.base) if model.main_input_name == "input_ids" else None
    return Predictor(model, encode, tokenizer, labels, is_english=recognised.task in TASKS)
