"""Exact decompositions of sparse n×n matrices given by their entries, and the pairing of old and new vectors.

What makes them quick, without giving up exactness:
- Entries connect rows and columns. Parts that nothing connects are decomposed apart; a part of size one (all of them,
  if the matrix is diagonal) needs no arithmetic, so a diagonal update shows rotation zero to the last bit.
- Parts above `DIRECT_SIZE` go through the eigenvalues of AᵀA in float64, which are good to about 1e-7·σ₁ (as a float32
  SVD would be, at a third of the time), by a band solver if A is a narrow band.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, eigvals_banded, eigvalsh
from scipy.optimize import linear_sum_assignment
from scipy.sparse import block_array, coo_array, csr_array
from scipy.sparse.csgraph import connected_components

DIRECT_SIZE = 1024  # up to here LAPACK's SVD in float64, well within a second
_SMALL = 1e-4  # singular values below this part of σ₁ are too inexact when squared; they are computed apart


@dataclass(frozen=True, eq=False)
class Svd:
    """A decomposition A = P diag(values) Qᵀ of a square matrix, with values descending; P and Q are (m, m) float64."""

    P: np.ndarray
    values: np.ndarray
    Q: np.ndarray


def triangle(A: np.ndarray) -> np.ndarray:
    """Return R of A = QR, which has the singular values of A; A itself (m, n) if it is not tall."""
    if A.shape[0] <= A.shape[1]:
        return A
    R = np.linalg.qr(A, mode="r")
    assert isinstance(R, np.ndarray)  # in this mode it is R alone
    return R


def sparse(rows: np.ndarray, cols: np.ndarray, values: np.ndarray, m: int) -> csr_array:
    """Return the m×m matrix with `values` at (rows, cols); equal positions add up, zeros are left out."""
    matrix = coo_array((values, (rows, cols)), shape=(m, m)).tocsr()
    matrix.eliminate_zeros()
    return matrix


def singular_values(A: csr_array) -> np.ndarray:
    """Return all singular values of a square sparse matrix, descending: (m,) float64."""
    m = A.shape[0]
    # Rows and columns as two sides of a graph: a part can have more of one than of the other.
    _, part = connected_components(block_array([[None, A], [A.T, None]]), directed=False)
    row_part, col_part = part[:m], part[m:]
    rows_in, cols_in = (np.bincount(p, minlength=part.max() + 1) for p in (row_part, col_part))
    entries = A.tocoo()
    single = (rows_in == 1) & (cols_in == 1)
    parts = [np.abs(entries.data[single[row_part[entries.row]]])]
    for number in np.flatnonzero(rows_in + cols_in > 2):
        block = A[np.flatnonzero(row_part == number)][:, np.flatnonzero(col_part == number)]
        parts.append(_dense_singular_values(block))
    values = np.concatenate(parts)
    return np.sort(np.pad(values, (0, m - len(values))))[::-1]


def svd(A: csr_array) -> Svd:
    """Return the singular value decomposition of a square sparse matrix.

    Unconnected parts stay apart in P and Q. Equal values are in the order of the indices they come from.
    """
    m = A.shape[0]
    _, part = connected_components(A, directed=False)
    size = np.bincount(part)
    diagonal = A.diagonal()
    P, Q = np.eye(m), np.eye(m)
    values = np.abs(diagonal)
    Q[np.diag_indices(m)] = np.where(diagonal < 0, -1.0, 1.0)
    for number in np.flatnonzero(size > 1):
        index = np.flatnonzero(part == number)
        block = _dense_svd(A[index][:, index])
        P[np.ix_(index, index)] = block.P
        Q[np.ix_(index, index)] = block.Q
        values[index] = block.values
    order = np.argsort(-values, kind="stable")
    return Svd(P[:, order], values[order], Q[:, order])


def dense_singular_values(A: np.ndarray) -> np.ndarray:
    """Return all singular values of a dense matrix, descending: (min(A.shape),) float64."""
    if max(A.shape) > 2 * min(A.shape) or min(A.shape) > DIRECT_SIZE:  # of a long matrix the triangle is enough
        A = np.asarray(np.linalg.qr(A if A.shape[0] >= A.shape[1] else A.T, mode="r"))
    if min(A.shape) <= DIRECT_SIZE:
        return np.linalg.svd(A, compute_uv=False)
    return np.sqrt(np.maximum(eigvalsh(A.T @ A, check_finite=False)[::-1], 0))


def _dense_singular_values(A: csr_array) -> np.ndarray:
    if min(A.shape) <= DIRECT_SIZE:
        return np.linalg.svd(A.toarray(), compute_uv=False)
    if A.shape[0] < A.shape[1]:
        A = A.T
    gram = (A.T @ A).tocoo()
    width = int(np.abs(gram.row - gram.col).max())
    n = gram.shape[0]
    if width < n // 16:
        band = np.zeros((width + 1, n))
        lower = gram.row >= gram.col
        band[(gram.row - gram.col)[lower], gram.col[lower]] = gram.data[lower]
        squares = eigvals_banded(band, lower=True, overwrite_a_band=True, check_finite=False)
    else:
        squares = eigvalsh(gram.toarray(), overwrite_a=True, check_finite=False)
    return np.sqrt(np.maximum(squares, 0))


def dense_svd(A: np.ndarray) -> Svd:
    """Return the thin decomposition of a dense matrix: P (rows, k) and Q (columns, k) with k = min(A.shape)."""
    if min(A.shape) > DIRECT_SIZE and A.shape[0] == A.shape[1]:
        return _dense_svd(csr_array(A))
    if A.shape[0] < A.shape[1]:
        turned = dense_svd(A.T)
        return Svd(turned.Q, turned.values, turned.P)
    if min(A.shape) > DIRECT_SIZE:
        left, triangle = np.linalg.qr(A)
        inner = _dense_svd(csr_array(triangle))
        return Svd(left @ inner.P, inner.values, inner.Q)
    P, values, Qt = np.linalg.svd(A, full_matrices=False)
    return Svd(P, values, Qt.T)


def _dense_svd(A: csr_array) -> Svd:
    if A.shape[0] <= DIRECT_SIZE:
        P, values, Qt = np.linalg.svd(A.toarray())
        return Svd(P, values, Qt.T)
    # Divide and conquer on AᵀA = Q Λ² Qᵀ, then P = A Q Λ⁻¹ where that is well determined.
    squares, Q = eigh((A.T @ A).toarray(), driver="evd", overwrite_a=True, check_finite=False)
    values, Q = np.sqrt(np.maximum(squares[::-1], 0)), Q[:, ::-1]
    large = int((values > _SMALL * values[0]).sum())
    P = np.empty_like(Q)
    P[:, :large] = (A @ Q[:, :large]) / values[:large]
    if large < len(values):
        # The rest acts between the complements of what was found: a small matrix, decomposed without squaring.
        rest = _complement(P[:, :large])
        X, values[large:], Yt = np.linalg.svd(rest.T @ (A @ Q[:, large:]))
        P[:, large:] = rest @ X
        Q[:, large:] = Q[:, large:] @ Yt.T
    return Svd(P, values, Q)


def _complement(P: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis (m, m − r) of what is orthogonal to the r columns of P."""
    m, r = P.shape
    start = np.random.default_rng(0).standard_normal((m, m - r))
    for _ in range(2):  # twice is enough for orthogonality to working precision
        start, _ = np.linalg.qr(start - P @ (P.T @ start))
    return start


def pair(P: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Return the new vector p(i) for each old vector i: the permutation of largest Σ |P[i, p(i)]|·|Q[i, p(i)]|.

    Args:
        P: Cosines between old (rows) and new (columns) left vectors, (m, m), orthogonal.
        Q: The same for right vectors.
    """
    weight = np.abs(P) * np.abs(Q)
    best = weight.argmax(axis=1)
    paired = np.full(len(weight), -1)
    # Rows and columns of |P|·|Q| sum to at most 1 (Cauchy–Schwarz). So an entry of 2/3 or more outweighs the two that
    # any other pairing could use in its row and column: it belongs to a best pairing.
    sure = weight[np.arange(len(best)), best] >= 2 / 3
    paired[sure] = best[sure]
    rows = np.flatnonzero(~sure)
    cols = np.setdiff1d(np.arange(len(best)), best[sure])
    chosen_rows, chosen_cols = linear_sum_assignment(weight[np.ix_(rows, cols)], maximize=True)
    paired[rows[chosen_rows]] = cols[chosen_cols]
    return paired


def clusters(values: np.ndarray, gap: float) -> np.ndarray:
    """Return the first index of the cluster that each of the descending `values` is in: neighbours within `gap`."""
    starts = np.concatenate([[True], values[:-1] - values[1:] > gap])
    return np.maximum.accumulate(np.where(starts, np.arange(len(values)), 0))
