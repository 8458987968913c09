"""How the parameters of each method make its update, as coefficients in the completed basis of W; float64.

W = U diag(sigma) Vᵀ with n = min(out, in) singular values. What stays between the singular vectors of W is given as
M, a leading square of (n, n); what leaves them, as all coefficients (out, in).
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def padded(block: Array, out: int, in_: int) -> Array:
    """Return a leading block of coefficients in the (out, in) of all."""
    whole = np.zeros((out, in_))
    whole[: block.shape[0], : block.shape[1]] = block
    return whole


def svf(sigma: Array, z: Array) -> Array:
    """Return M of SVF (arXiv 2501.06252): W' = U diag(σ z) Vᵀ, z (n,)."""
    return np.diag(sigma * (z - 1))


def svdiff(sigma: Array, delta: Array) -> Array:
    """Return M of SVDiff (arXiv 2303.11305): W' = U diag(max(σ + δ, 0)) Vᵀ, δ (n,)."""
    return np.diag(np.maximum(sigma + delta, 0) - sigma)


def lora_xs(sigma: Array, R: Array) -> Array:
    """Return M of LoRA-XS (arXiv 2405.17604): ΔW = U_r R Σ_r V_rᵀ as in the authors' code, R (r, r)."""
    return R * sigma[: len(R)]


def tinylora(sigma: Array, v: Array, P: Array) -> Array:
    """Return M of TinyLoRA (arXiv 2602.04118, PEFT): √Σ_r (Σᵢ vᵢ Pᵢ) √Σ_r, v (u,), P (u, r, r) fixed."""
    root = np.sqrt(sigma[: P.shape[1]])
    return root[:, None] * np.einsum("i,ijk->jk", v, P) * root


def cayley(skew: Array) -> Array:
    """Return the rotation (I + Q)(I − Q)⁻¹ of a skew-symmetric Q (r, r)."""
    identity = np.eye(len(skew))
    return (identity + skew) @ np.linalg.inv(identity - skew)


def skew_of(upper: Array, r: int) -> Array:
    """Return the skew-symmetric (r, r) whose entries above the diagonal are `upper`, row by row."""
    Q = np.zeros((r, r))
    Q[np.triu_indices(r, 1)] = upper
    return Q - Q.T


def psoft(sigma: Array, upper: Array, b: Array, a: Array) -> Array:
    """Return M of PSOFT (arXiv 2505.11235, PEFT): Σ_r (diag(b) R diag(a) − I), R the rotation of `skew_of(upper)`."""
    r = len(a)
    return sigma[:r, None] * (b[:, None] * cayley(skew_of(upper, r)) * a - np.eye(r))


def spectral_rotation(sigma: Array, left: Array, right: Array, scale: Array) -> Array:
    """Return M of Spectral Adapter R (arXiv 2405.13952): R_U Σ_r diag(c) R_Vᵀ − Σ_r.

    Args:
        sigma: Singular values.
        left: (r, r), trained whole, of which only the skew part acts: R_U is its rotation.
        right: The same, for R_V.
        scale: c (r,), of the authors' code.
    """
    r = len(scale)
    turn_left, turn_right = (cayley(-0.5 * (part - part.T)) for part in (left, right))
    return (turn_left * (sigma[:r] * scale)) @ turn_right.T - np.diag(sigma[:r])


def ssvd(sigma: Array, shift: Array, upper: Array) -> Array:
    """Return M of SSVD (arXiv 2509.02830): (Σ_r + δ) R − Σ_r, R a rotation of the right vectors."""
    r = len(shift)
    return (sigma[:r] + shift)[:, None] * cayley(skew_of(upper, r)) - np.diag(sigma[:r])


def spectral_addition(sigma: Array, left: Array, right: Array) -> Array:
    """Return the coefficients of Spectral Adapter A (arXiv 2405.13952): (U_r + A) Σ_r (V_r + B)ᵀ − U_r Σ_r V_rᵀ.

    Args:
        sigma: Singular values.
        left: A (out, r), in the completed basis.
        right: B (in, r), likewise.
    """
    return replaced(sigma, slice(0, left.shape[1]), left, right)


def replaced(sigma: Array, place: slice, left: Array, right: Array) -> Array:
    """Return the coefficients if the singular vectors of some directions move by `left` (out, r) and `right` (in, r).

    OSF trains those of the trailing directions, Spectral Adapter A those of the leading ones.
    """
    U, V = (np.eye(len(moved))[:, place] for moved in (left, right))
    return ((U + left) * sigma[place]) @ (V + right).T - (U * sigma[place]) @ V.T
