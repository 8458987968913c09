"""A photograph as a matrix: its singular pairs, and what an M between them does to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from PIL import Image

from analysis.lessons.answers import Answer, near
from analysis.models.packages import package_directory

PICTURES = {"china": "A temple", "flower": "A flower"}
_WIDTH = 240  # pixels


@dataclass(frozen=True, eq=False)
class Picture:
    """A photograph W (height, width), grey values from 0 to 1, with W = U diag(sigma) Vᵀ.

    Attributes:
        W: The photograph.
        U: Left singular vectors (height, n).
        sigma: Singular values (n,), descending.
        V: Right singular vectors (width, n).
    """

    W: np.ndarray
    U: np.ndarray
    sigma: np.ndarray
    V: np.ndarray

    @property
    def n(self) -> int:
        """Number of singular pairs."""
        return len(self.sigma)

    def leading(self, r: int) -> np.ndarray:
        """Return the sum of the first r pairs σᵢuᵢvᵢᵀ, (height, width)."""
        return (self.U[:, :r] * self.sigma[:r]) @ self.V[:, :r].T

    def single(self, i: int) -> np.ndarray:
        """Return the pair σᵢuᵢvᵢᵀ alone, i from 0."""
        return self.sigma[i] * np.outer(self.U[:, i], self.V[:, i])

    def update(self, M: np.ndarray) -> np.ndarray:
        """Return ΔW = U M Vᵀ for an M (m, m) between the first m pairs."""
        m = len(M)
        return self.U[:, :m] @ M @ self.V[:, :m].T


@lru_cache(maxsize=len(PICTURES))
def load_picture(name: str) -> Picture:
    """Return one of scikit-learn's photographs (`PICTURES`), grey and 240 pixels wide."""
    # Read by path: importing scikit-learn takes seconds.
    scikit_learn = package_directory("sklearn")
    assert scikit_learn is not None  # a requirement
    with Image.open(scikit_learn / "datasets" / "images" / f"{name}.jpg") as image:
        small = image.convert("L").resize((_WIDTH, round(_WIDTH * image.height / image.width)))
    W = np.asarray(small, dtype=np.float64) / 255
    U, sigma, Vt = np.linalg.svd(W, full_matrices=False)
    signs = np.where(U[np.abs(U).argmax(axis=0), np.arange(len(sigma))] < 0, -1.0, 1.0)
    return Picture(W, U * signs, sigma, Vt.T * signs)


def kept_energy(sigma: np.ndarray) -> pd.DataFrame:
    """Return how much of ‖W‖² the leading pairs hold.

    Columns:
        pairs: r, from 1 to n.
        sigma: σ_r.
        share: Σ_{i≤r} σᵢ² / Σσᵢ².
    """
    energy = np.cumsum(sigma**2)
    return pd.DataFrame({"pairs": np.arange(1, len(sigma) + 1), "sigma": sigma, "share": energy / energy[-1]})


def between_two(sigma: np.ndarray, a: int, b: int, relative: np.ndarray, size: int) -> np.ndarray:
    """Return M (size, size) with entries between the pairs a and b only.

    Args:
        sigma: Singular values of W.
        a: Index of a pair, from 0, smaller than `size`.
        b: Another one.
        relative: (2, 2), M_aa, M_ab, M_ba, M_bb divided by √(σᵢσⱼ): at −1 a diagonal entry takes its pair away.
        size: Of M.
    """
    M, pair = np.zeros((size, size)), np.array([a, b])
    M[np.ix_(pair, pair)] = relative * np.sqrt(np.outer(sigma[pair], sigma[pair]))
    return M


@dataclass(frozen=True, eq=False)
class Mixing:
    """What new singular vectors are made of.

    Attributes:
        left: Cosines between old (rows) and new (columns) left vectors, (m, m), each new one with the sign that makes
            its largest cosine positive.
        turned: Degrees by which each old left vector differs from the new one that it is paired with, (m,).
        sigma: Singular values of the paired new directions, (m,).
    """

    left: np.ndarray
    turned: np.ndarray
    sigma: np.ndarray


def mixing(sigma: np.ndarray, M: np.ndarray) -> Mixing:
    """Return how Σ + M mixes the leading directions that M is about: Σ + M = P Λ Qᵀ, new left vectors UP."""
    from analysis.common.linear_algebra import pair

    P, values, Qt = np.linalg.svd(np.diag(sigma[: len(M)]) + M)
    order = pair(P, Qt.T)
    P, values = P[:, order], values[order]
    P = P * np.where(P[np.abs(P).argmax(axis=0), np.arange(len(P))] < 0, -1.0, 1.0)
    kept = np.clip(np.abs(np.diag(P)), 0, 1)
    return Mixing(P, np.degrees(np.arccos(kept)), values)


def check_pairs(given: float, sigma: np.ndarray, share: float = 0.99) -> Answer:
    """Return the reply to a guess of how many pairs hold `share` of the energy."""
    table = kept_energy(sigma)
    needed = int(table["pairs"][table["share"] >= share].iloc[0])
    if near(given, needed, 0):
        return Answer(True, f"Right: {needed} of {len(sigma)} pairs hold {share:.0%} of the energy.")
    if given != int(given):
        return Answer(False, "Pairs are counted: give a whole number.")
    if not 1 <= given <= len(sigma):
        return Answer(False, f"This photograph has {len(sigma)} pairs: the number lies between 1 and {len(sigma)}.")
    held = float(table["share"].iloc[int(given) - 1])
    more = "fewer would do" if given > needed else "more are needed"
    return Answer(
        False, f"{int(given)} pairs hold {held:.2%}: {more}. Move the slider until the curve reads {share:.0%}."
    )


def check_removed(relative: np.ndarray, alpha: float) -> Answer:
    """Return the reply to what someone did to take the second of two pairs out of the picture with a plain M.

    Args:
        relative: As in `between_two`.
        alpha: The dial.
    """
    if np.abs(alpha * relative[[0, 1], [1, 0]]).max() > 1e-9:
        return Answer(False, "An entry off the diagonal is not zero: that mixes the pairs. A plain M has none.")
    left = 1 + alpha * relative[1, 1]
    if abs(left) > 1e-9:
        return Answer(
            False,
            f"The pair is still there, at {left:.0%} of its strength: Σ + αM must be zero at its place, so "
            "αM has to be −σ there.",
        )
    if abs(alpha * relative[0, 0]) > 1e-9:
        return Answer(False, "The pair is gone, but the other one was changed too: set its entry back to 0.")
    return Answer(
        True,
        "Right: αM = −σ at that place of the diagonal, and the pair is gone. All others are untouched: a plain M only "
        "weighs the pairs anew.",
    )
