"""From a specification to a base model and the batches that it is trained on, whatever kind its task is of."""

from __future__ import annotations

import numpy as np
import torch
from transformers import PreTrainedModel

from analysis.models.loading import Encoder, load_base, load_causal, load_encoder
from analysis.training.language.tokens import load_pair_encoder
from analysis.training.specification import TrainingSpec
from analysis.training.tasks import Examples, get_task


def load_for(spec: TrainingSpec) -> tuple[PreTrainedModel, Encoder]:
    """Load the base model of a resolved specification, with a new head if its task needs one, and its encoder.

    Raises:
        UserError: If it cannot be loaded, or is of another kind than the task.
    """
    assert spec.base is not None  # written out in a resolved specification
    task = get_task(spec.task)
    if task.kind == "pairs":
        return load_causal(spec.base), load_pair_encoder(spec.base)
    return load_base(spec.base, task.labels), load_encoder(spec.base)


def batch(examples: Examples, chosen: np.ndarray, encode: Encoder) -> dict[str, torch.Tensor]:
    """Return what a model takes to give the loss of some examples.

    Args:
        examples: All.
        chosen: (batch,) int64, indices of some.
        encode: Makes the base's inputs; of pairs, their labels as well.
    """
    inputs = encode([examples.inputs[i] for i in chosen])
    return {"labels": torch.from_numpy(examples.labels[chosen]), **inputs}
