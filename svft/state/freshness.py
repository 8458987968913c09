"""Whether a weight still is what was decomposed, told in microseconds.

The folded form U((Σ+M)(Vᵀx)) is right only while W = UΣVᵀ, and nothing announces that a weight was changed: loaders,
optimizers and averaging write into it in place, some past autograd's version counter. So W is glanced at before each
folded forward. The folded form reads it for nothing else: reading all of it cost 3 to 4% of a training step of 512
tokens on a busy machine, and a sample half of that or less.
"""

from __future__ import annotations

import math

import torch

from ..basis import fingerprint, same_weight

_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
_GLANCE = 2**14  # entries of which a glance takes sums: all of a small weight, of a large one some rows, in turn
_SKIPPED = 4  # of so many glances at a large weight, one takes sums


class Snapshot:
    """A digest of a weight's bits: a sum along each row, and a sample that meets every row and every column.

    Sums of bits as integers do not depend on order or number of threads. They tell any change of a single entry; with
    the sample also permutations and changes of sign, which keep the sums. Changes that keep both are left to
    `svft.basis.fingerprint`.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        self._shape = weight.shape
        self._dtype = weight.dtype
        bits = _bits(weight)
        length = bits.shape[1]
        # A step that is prime to the length of a row, and not longer than it, meets all rows and, in `length` steps,
        # all columns.
        step = next(step for step in range(min(bits.shape), 0, -1) if math.gcd(step, length) == 1)
        self._places = (-(-bits.numel() // step),), (step,)
        self._sample = bits.as_strided(*self._places, bits.storage_offset()).clone()
        self._sums = _sums(bits)
        self._rows = max(1, _GLANCE // length)
        self._turn = self._glances = 0

    def matches(self, weight: torch.Tensor) -> bool:
        """Return whether a weight has the digest that was taken, on whatever device."""
        bits = self._with_sample(weight)
        return bits is not None and torch.equal(_sums(bits), self._sums)

    def glance(self, weight: torch.Tensor) -> bool:
        """Return whether a weight seems to match: by the sample, and by the sums of those rows whose turn it is."""
        bits = self._with_sample(weight)
        if bits is None:
            return False
        self._glances += 1
        if self._rows < len(bits) and self._glances % _SKIPPED:
            return True
        rows = slice(self._turn, self._turn + self._rows)
        self._turn = rows.stop if rows.stop < len(bits) else 0
        return torch.equal(_sums(bits[rows]), self._sums[rows])

    def _with_sample(self, weight: torch.Tensor) -> torch.Tensor | None:
        """Return the bits of a weight if they agree in the sample."""
        if weight.shape != self._shape or weight.dtype != self._dtype:
            return None
        if self._sums.device != weight.device:
            self._sample, self._sums = self._sample.to(weight.device), self._sums.to(weight.device)
        bits = _bits(weight)
        sample = bits.as_strided(*self._places, bits.storage_offset())
        return bits if torch.equal(sample, self._sample) else None


def _bits(weight: torch.Tensor) -> torch.Tensor:
    bits = weight.detach().view(_BITS[weight.itemsize])
    if bits.is_contiguous():
        return bits
    return bits.T if bits.T.is_contiguous() else bits.contiguous()


def _sums(bits: torch.Tensor) -> torch.Tensor:
    return bits.sum(1, dtype=torch.int64 if bits.itemsize == 8 else torch.int32)


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
        self._doubted = False

    def seems_decomposed(self, weight: torch.Tensor) -> bool:
        """Return whether a weight seems to have the values that were decomposed, by little more than a sample.

        A change that touches every row or column, of every entry, or that autograd counted, is noticed at once. That
        of single entries of a large weight, written past autograd, is noticed when their rows have their turn.
        """
        seen = self._decomposed.matches(weight) if self._doubted else self._decomposed.glance(weight)
        self._doubted = not seen  # the next glance would be at other rows
        return seen and self._is_confirmed(weight)

    def is_decomposed(self, weight: torch.Tensor, exact: bool = False) -> bool:
        """Return whether a weight has the values that were decomposed.

        Args:
            weight: The parameter as it is now.
            exact: Whether to hash all of it. Otherwise that is done once after each sign of a change that the
                snapshot does not show: another parameter, other memory, or a write that autograd counted.
        """
        return self._decomposed.matches(weight) and self._is_confirmed(weight, exact)

    def _is_confirmed(self, weight: torch.Tensor, exact: bool = False) -> bool:
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
