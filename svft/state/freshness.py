"""Whether a weight still is what was decomposed, told in microseconds.

The folded form U((Σ+M)(Vᵀx)) is right only while W = UΣVᵀ, and nothing announces that a weight was changed: loaders,
optimizers and averaging write into it in place, some past autograd's version counter. So W is looked at before each
folded forward. One pass over it costs less than a hundredth of the layer's forward on 512 tokens.
"""

from __future__ import annotations

import math

import torch

from ..basis import fingerprint, same_weight

_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class Snapshot:
    """A digest of a weight's bits: a sum along each row, and a sample that meets every row and every column.

    Sums of bits as integers do not depend on order or number of threads. They tell any change of a single entry; with
    the sample also permutations and changes of sign, which keep the sums. Changes that keep both are left to
    `svft.basis.fingerprint`.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        self._shape = weight.shape
        self._dtype = weight.dtype
        self._digest = _digest(weight)

    def matches(self, weight: torch.Tensor) -> bool:
        """Return whether a weight has the digest that was taken, on whatever device."""
        if weight.shape != self._shape or weight.dtype != self._dtype:
            return False
        digest = _digest(weight)
        sums, sample = (part.to(weight.device) for part in self._digest)
        self._digest = sums, sample
        return torch.equal(digest[0], sums) and torch.equal(digest[1], sample)


def _digest(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    bits = weight.detach().view(_BITS[weight.itemsize])
    if not bits.is_contiguous():
        bits = bits.T if bits.T.is_contiguous() else bits.contiguous()
    row = bits.shape[1]
    # A step that is prime to the length of a row, and not longer than it, meets all rows and, in `row` steps, all
    # columns.
    step = next(step for step in range(min(bits.shape), 0, -1) if math.gcd(step, row) == 1)
    return bits.sum(1, dtype=torch.int64 if weight.itemsize == 8 else torch.int32), bits.view(-1)[::step].clone()


def is_plain(weight: torch.Tensor) -> bool:
    """Return whether a weight is a whole matrix in memory, whose values can be looked at."""
    return (
        type(weight) in (torch.Tensor, torch.nn.Parameter)
        and weight.device.type != "meta"
        and weight.ndim == 2
        and weight.numel() > 0
    )


_Token = tuple[int, int, int | None]  # which parameter, which memory, how often written to


class Witness:
    """What a weight was when it was decomposed.

    Args:
        weight: The parameter, in the layout that the layer keeps it in.
        mark: The fingerprint of its matrix.
        transposed: Whether the matrix (out, in) is the transpose of the parameter.
    """

    def __init__(self, weight: torch.Tensor, mark: torch.Tensor, transposed: bool = False) -> None:
        self._mark = mark
        self._transposed = transposed
        self._decomposed = Snapshot(weight)
        self._left: Snapshot | None = None  # as the layer's own merging left it
        self._confirmed: _Token | None = _token(weight)
        self._refuted: _Token | None = None

    def is_decomposed(self, weight: torch.Tensor, exact: bool = False) -> bool:
        """Return whether a weight has the values that were decomposed.

        Args:
            weight: The parameter as it is now.
            exact: Whether to hash all of it. Otherwise that is done once after each sign of a change that the
                snapshot does not show: another parameter, other memory, or a write that autograd counted.
        """
        if not self._decomposed.matches(weight):
            return False
        token = _token(weight)
        if not exact:
            if token == self._confirmed:
                return True
            if token == self._refuted:
                return False
        matrix = weight.T if self._transposed else weight
        same = same_weight(fingerprint(matrix), self._mark)
        if same:
            self._confirmed = token
        else:
            self._refuted = token
            self._confirmed = None
        return same

    def is_explained(self, weight: torch.Tensor, exact: bool = False) -> bool:
        """Return whether a weight is what was decomposed, or what the layer's own merging made of that."""
        return (self._left is not None and self._left.matches(weight)) or self.is_decomposed(weight, exact)

    def explain(self, weight: torch.Tensor) -> None:
        """Record a weight as the layer's own merging or unmerging left it: it drifts by rounding."""
        self._left = Snapshot(weight)


def _token(weight: torch.Tensor) -> _Token:
    # Tensors made in inference mode have no version; they cannot be written to outside of it.
    return id(weight), weight.data_ptr(), None if weight.is_inference() else weight._version
