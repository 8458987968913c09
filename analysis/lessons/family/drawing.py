"""One update of each method, from parameters drawn at random: what it can make, to look at and to test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from analysis.lessons.family import updates
from analysis.lessons.family.regions import REGIONS
from analysis.lessons.family.updates import Array
from analysis.training.relatives import ADAMSS_CLUSTERS

TINYLORA_U, FROD_RATE = 13, 0.01  # numbers of TinyLoRA's v; share of FRoD's entries


@dataclass(frozen=True)
class Setting:
    """A weight (out, in) by its singular values, r of its directions, and where random numbers come from."""

    out: int
    in_: int
    r: int
    seed: int = 0
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rng", np.random.default_rng(self.seed))

    @property
    def n(self) -> int:
        """Number of singular directions."""
        return min(self.out, self.in_)

    @property
    def sigma(self) -> Array:
        """Singular values that fall evenly, (n,)."""
        return np.linspace(1.0, 0.2, self.n)

    def normal(self, *shape: int, scale: float = 0.3) -> Array:
        """Return Gaussian numbers."""
        return scale * self.rng.standard_normal(shape)


Draw = Callable[[Setting], Array]  # -> coefficients (out, in)


def on_region(name: str) -> Draw:
    """Return the draw of a method whose coefficients on a region are trained each by itself."""
    return lambda s: np.where(REGIONS[name].mask(s.out, s.in_, s.r), s.normal(s.out, s.in_), 0.0)


def of_m(make: Callable[[Setting], Array]) -> Draw:
    """Return the draw of a method that makes M, or a leading square of it."""
    return lambda s: updates.padded(make(s), s.out, s.in_)


def svf(s: Setting) -> Array:
    """Draw M of SVF."""
    return updates.svf(s.sigma, 1 + s.normal(s.n))


def svdiff(s: Setting) -> Array:
    """Draw M of SVDiff."""
    return updates.svdiff(s.sigma, s.normal(s.n))


def lora_xs(s: Setting) -> Array:
    """Draw M of LoRA-XS."""
    return updates.lora_xs(s.sigma, s.normal(s.r, s.r))


def tinylora(s: Setting) -> Array:
    """Draw M of TinyLoRA: P as PEFT draws it, of variance 1/r."""
    P = s.normal(TINYLORA_U, s.r, s.r, scale=s.r**-0.5)
    return updates.tinylora(s.sigma, s.normal(TINYLORA_U), P)


def psoft(s: Setting) -> Array:
    """Draw M of PSOFT."""
    return updates.psoft(s.sigma, s.normal(s.r * (s.r - 1) // 2), 1 + s.normal(s.r), 1 + s.normal(s.r))


def spectral_rotation(s: Setting) -> Array:
    """Draw M of Spectral Adapter R."""
    return updates.spectral_rotation(s.sigma, s.normal(s.r, s.r), s.normal(s.r, s.r), 1 + s.normal(s.r))


def ssvd(s: Setting) -> Array:
    """Draw M of SSVD."""
    return updates.ssvd(s.sigma, s.normal(s.r), s.normal(s.r * (s.r - 1) // 2))


def osf(s: Setting) -> Array:
    """Draw the update of OSF: its trailing vectors move at right angles to the leading ones."""
    left, right = s.normal(s.out, s.n - s.r), s.normal(s.in_, s.n - s.r)
    left[: s.r] = right[: s.r] = 0
    return updates.replaced(s.sigma, slice(s.r, s.n), left, right)


def spectral_addition(s: Setting) -> Array:
    """Draw the update of Spectral Adapter A."""
    return updates.spectral_addition(s.sigma, s.normal(s.out, s.r), s.normal(s.in_, s.r))


def pica(s: Setting) -> Array:
    """Draw the update of PiCa: B V_rᵀ."""
    return np.pad(s.normal(s.out, s.r), ((0, 0), (0, s.in_ - s.r)))


def mica(s: Setting) -> Array:
    """Draw the update of MiCA: the trailing left vectors times A."""
    update = np.zeros((s.out, s.in_))
    update[s.n - s.r : s.n] = s.normal(s.r, s.in_)
    return update


def adamss(s: Setting) -> Array:
    """Draw the update of AdaMSS: each cluster of outputs has one direction in the span of V_r."""
    U = np.linalg.qr(s.normal(s.out, s.out))[0]  # outputs are no singular vectors: seen from a random U
    cluster = s.rng.integers(ADAMSS_CLUSTERS, size=s.out)
    A, B = s.normal(ADAMSS_CLUSTERS, s.r), s.normal(s.out, 1)
    return np.pad(U.T @ (B * A[cluster]), ((0, 0), (0, s.in_ - s.r)))


def frod(s: Setting) -> Array:
    """Draw the update of FRoD: W V_f⁻ᵀ = U_f L, and W' = U_f (L' + S) V_fᵀ in a basis V_f that layers share."""
    W = updates.padded(np.diag(s.sigma), s.out, s.in_)
    V = np.eye(s.in_) + s.normal(s.in_, s.in_, scale=0.3 * s.in_**-0.5)
    product = W @ np.linalg.inv(V).T
    S = s.normal(s.in_, s.in_) * (s.rng.random((s.in_, s.in_)) < FROD_RATE)
    lengths = np.linalg.norm(product, axis=0)
    return (product / np.maximum(lengths, 1e-12)) @ (np.diag(s.normal(s.in_)) + S) @ V.T


def low_rank(s: Setting) -> Array:
    """Draw the update of LoRA, B A."""
    return s.normal(s.out, s.r) @ s.normal(s.r, s.in_)


def moved_start(first: Callable[[Setting], int]) -> Draw:
    """Return the draw of a LoRA that starts at r of W's own directions, from `first` on, taken out of the base."""

    def draw(s: Setting) -> Array:
        begin = first(s)
        place, root = slice(begin, begin + s.r), np.sqrt(s.sigma[begin : begin + s.r])
        B, A = np.eye(s.out)[:, place] * root, (np.eye(s.in_)[:, place] * root).T
        return (B + s.normal(s.out, s.r)) @ (A + s.normal(s.r, s.in_)) - B @ A

    return draw


def other_start(s: Setting) -> Array:
    """Draw the update of a LoRA whose start, taken out of the base, comes from elsewhere than W's SVD."""
    B, A = s.normal(s.out, s.r), s.normal(s.r, s.in_)
    return (B + s.normal(s.out, s.r)) @ (A + s.normal(s.r, s.in_)) - B @ A
