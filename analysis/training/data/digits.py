"""Handwritten digits, 8×8 pixels with values 0 to 16, which scikit-learn carries (Alpaydin & Kaynak 1998, UCI).

Sorted by the SHA-256 of their pixels, the first `N_PRETRAINING` of the 1,797 images are those that the base model
`svft-explorer/digits-vit` was pretrained on (``svft pretrain-digits``). The task has the others, turned by 90°.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

N_PRETRAINING = 800
LABELS = tuple("0123456789")
MAX_PIXEL = 16


def pretraining_digits(directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the images that the base was pretrained on, upright: (n, 8, 8) uint8, and their digits, (n,) int64.

    Args:
        directory: Of the package scikit-learn.
    """
    images, digits = _read(directory)
    return images[:N_PRETRAINING], digits[:N_PRETRAINING]


def other_digits(directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return all other images, upright, and their digits, as `pretraining_digits`."""
    images, digits = _read(directory)
    return images[N_PRETRAINING:], digits[N_PRETRAINING:]


def read_turned_digits(directory: Path) -> Iterable[tuple[np.ndarray, str]]:
    """Return the task's images, (8, 8) uint8 each, with their labels; none if the file is missing."""
    if not _file(directory).is_file():
        return []
    images, digits = other_digits(directory)
    return [(turn(image), LABELS[digit]) for image, digit in zip(images, digits, strict=True)]


def turn(image: np.ndarray) -> np.ndarray:
    """Return an image turned by 90° counterclockwise: the shift that fine-tuning has to learn."""
    return np.ascontiguousarray(np.rot90(image))


def turn_back(image: np.ndarray) -> np.ndarray:
    """Return an image of the task as it was before `turn`."""
    return np.ascontiguousarray(np.rot90(image, -1))


def _file(directory: Path) -> Path:
    return directory / "datasets" / "data" / "digits.csv.gz"


def _read(directory: Path) -> tuple[np.ndarray, np.ndarray]:
    table = np.loadtxt(_file(directory), delimiter=",", dtype=np.int64)  # 64 pixels, then the digit
    images = table[:, :-1].astype(np.uint8).reshape(-1, 8, 8)
    order = sorted(range(len(images)), key=lambda i: hashlib.sha256(images[i].tobytes()).digest())
    return images[order], table[order, -1]
