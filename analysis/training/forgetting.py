"""What fine-tuning cost elsewhere: what the encoder makes of examples that are not of the task, before and after.

An example's embedding is the mean of the encoder's last hidden states over its tokens, without the head. So a trained
head alone changes none. Light: torch is imported when a model is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from analysis.common.errors import TaskError
from analysis.training.data import digits, spoken
from analysis.training.tasks import Examples, get_task

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel

    from analysis.models.loading import Encoder

EXAMPLES = 200  # that are embedded, of a test split
_BATCH = 16  # small: of texts of like length, little is padding


@dataclass(frozen=True)
class Elsewhere:
    """Examples that are not of a task.

    Attributes:
        words: What they are, for people: "200 headlines of the BBC, by topic".
        load: Reads them, with labels that are not the task's.
    """

    words: str
    load: Callable[[], Examples]


@dataclass(frozen=True)
class Forgetting:
    """What became of the embeddings of examples elsewhere; NaN if training left numbers that are not finite.

    Attributes:
        drift: Mean cosine distance 1 − cos between an example's embeddings before and after, from 0 to 2.
        neighbours_changed: Share of the examples whose nearest one by cosine is another one than before.
        retrieval: Share of the examples whose nearest one has their label, after.
        retrieval_before: The same before.
    """

    drift: float
    neighbours_changed: float
    retrieval: float
    retrieval_before: float

    def to_dict(self) -> dict[str, float]:
        """Return the four numbers by their names."""
        return asdict(self)


MEASURES = tuple(Forgetting.__annotations__)


def elsewhere(task: str) -> Elsewhere | None:
    """Return what forgetting is measured on after training on a task, None if there is nothing of its kind.

    For text the test split of the other packaged text task; for the digits, which the task turns by 90°, those of its
    test split as they were before, and for sounds, whose spectrum the task turns upside down, those of its test split
    as they were spoken: both bases were pretrained on such.
    """
    kind = get_task(task).kind
    if kind == "audio":
        return Elsewhere(f"{EXAMPLES} digits as they were spoken", _digits_as_spoken)
    if kind == "image":
        return Elsewhere(f"{EXAMPLES} upright digits", _upright_digits) if task == "digits" else None
    other = get_task("airline_tweets" if task == "bbc_headlines" else "bbc_headlines")
    words = {"airline_tweets": "tweets to airlines", "bbc_headlines": "BBC headlines"}[other.name]
    return Elsewhere(f"{EXAMPLES} {words}", lambda: _first(other.load().test))


def measure_forgetting(model: PreTrainedModel | PeftModel, encode: Encoder, task: str, base: str) -> Forgetting | None:
    """Return what a trained model forgot, which stays as it is.

    Args:
        model: In eval mode, with nothing merged.
        encode: Makes its inputs.
        task: That it was trained for.
        base: Id or directory of the model that it was before.

    Returns:
        None if there are no examples elsewhere in this installation, or the model has no encoder of its own.

    Raises:
        BaseModelError: If the base cannot be loaded.
    """
    examples = _examples(task)
    before = None if examples is None else _pristine(base, task)
    if examples is None or before is None:
        return None
    from peft import PeftModel

    trained = cast("PreTrainedModel", model.get_base_model()) if isinstance(model, PeftModel) else model
    after = _embed(trained, encode, examples.inputs)
    return None if after is None else compare(before, after, examples.labels)


def compare(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> Forgetting:
    """Return what became of embeddings.

    Args:
        before: Of each example, (n, hidden).
        after: The same.
        labels: (n,), by which retrieval is judged.
    """
    if not np.isfinite(after).all():
        return Forgetting(np.nan, np.nan, np.nan, float((labels[_nearest(before)] == labels).mean()))
    old, new = _nearest(before), _nearest(after)
    return Forgetting(
        float(((_unit(before) - _unit(after)) ** 2).sum(axis=1).mean() / 2),  # 1 − cos, and 0 for equal rows
        float((old != new).mean()),
        float((labels[new] == labels).mean()),
        float((labels[old] == labels).mean()),
    )


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(float).tiny)


def _nearest(rows: np.ndarray) -> np.ndarray:
    """Return the place of the row of highest cosine with each row, itself left out, (n,)."""
    from sklearn.neighbors import NearestNeighbors  # a second: not before something is measured

    return NearestNeighbors(n_neighbors=1, metric="cosine").fit(rows).kneighbors(return_distance=False)[:, 0]


@lru_cache(maxsize=4)
def _examples(task: str) -> Examples | None:
    there = elsewhere(task)
    try:
        return None if there is None else there.load()
    except TaskError:  # the package that carries them is not installed
        return None


def _upright_digits() -> Examples:
    test = _first(get_task("digits").load().test)
    return Examples([digits.turn_back(image) for image in test.inputs], test.labels)


def _digits_as_spoken() -> Examples:
    recordings = spoken.ordered(spoken.read_recordings(spoken.DIRECTORY))[:EXAMPLES]
    return Examples(
        [spoken.heard(recording, inverted=False) for recording in recordings],
        np.array([recording.digit for recording in recordings]),
    )


def _first(examples: Examples) -> Examples:
    return Examples(examples.inputs[:EXAMPLES], examples.labels[:EXAMPLES])


@lru_cache(maxsize=4)
def _pristine(base: str, task: str) -> np.ndarray | None:
    """Return the embeddings by the base as it was, once per process."""
    import torch

    from analysis.models.loading import load_base, load_encoder

    with torch.random.fork_rng(devices=[]):  # the base draws a head
        model = load_base(base, get_task(task).labels)
    examples = _examples(task)
    return None if examples is None else _embed(model, load_encoder(base), examples.inputs)


def _encoder(model: PreTrainedModel) -> nn.Module | None:
    """Return what is under the head of a classifier, None if that is not an encoder by itself."""
    if model.main_input_name == "input_features":  # Whisper: its classifier has the encoder alone
        return getattr(model, "encoder", None)
    return None if model.config.is_encoder_decoder or model.base_model is model else model.base_model


def _embed(model: PreTrainedModel, encode: Encoder, inputs: Sequence[Any]) -> np.ndarray | None:
    """Return the mean of the last hidden states of each input, (n, hidden) float32; None if there are none."""
    import torch

    encoder = _encoder(model)
    if encoder is None:
        return None
    order = np.argsort([len(each) for each in inputs], kind="stable")  # texts of like length share a batch
    rows = []
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            batch = encode([inputs[place] for place in order[start : start + _BATCH]])
            states = encoder(**batch).last_hidden_state.float()
            mask = batch.get("attention_mask", torch.ones(states.shape[:2]))[..., None].to(states)
            rows.append(((states * mask).sum(dim=1) / mask.sum(dim=1)).numpy())
    return np.concatenate(rows)[np.argsort(order, kind="stable")]
