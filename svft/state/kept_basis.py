"""U and V of adapters: W's, or columns of their own; and how they meet what is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import nn

from ..basis import report_mismatch
from ..decomposition import Decomposition
from ..errors import SvftError
from .buffers import Marks, OwnBasis
from .columns import Columns, keeps_used_columns, take_columns, used_columns
from .settling import Settled, Stored, fit
from .weight_basis import WeightBasis


class KeptBasis(WeightBasis):
    """The part of an SVFT layer that knows which U and V the coefficients of each adapter belong to."""

    # What `SvftLayer` has beside it
    svft_coefficients: nn.ParameterDict
    svft_fingerprint: Marks
    svft_signature: Marks
    svft_sigma: Marks
    unsettled: set[str]
    svft_U: OwnBasis
    svft_V: OwnBasis
    svft_places: OwnBasis
    columns: dict[str, Columns]

    def coefficient_positions(
        self, adapter_name: str, stored: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (i, j) of each coefficient; `SvftLayer` knows them."""
        raise NotImplementedError

    def _part_from_weight(self) -> None:
        """Let W go its way: adapters that have their columns from it take them along."""
        for adapter_name in self.spec:
            if not self.svft_U.is_saved(adapter_name):
                if self.is_settled(adapter_name):
                    columns = replace(self.used(adapter_name), of_weight=False)
                    self._own(adapter_name, *self.used_basis(adapter_name), columns, persistent=True)
                else:
                    self._disown(adapter_name)
        self._forget_weight()

    # -- the columns that an adapter uses

    def is_of_weight(self, adapter_name: str) -> bool:
        """Return whether an adapter has its U and V from the layer's weight."""
        return adapter_name not in self.svft_U or self.columns[adapter_name].of_weight

    def used(self, adapter_name: str) -> Columns:
        """Return which columns of U and V the entries of an adapter use."""
        if adapter_name in self.columns:
            return self.columns[adapter_name]
        return self.named_columns(adapter_name)

    def named_columns(self, adapter_name: str, indices: torch.Tensor | None = None) -> Columns:
        """Return the columns that the entries of an adapter use; `indices` replace the layer's own."""
        return used_columns(*self.coefficient_positions(adapter_name, indices), self.spec[adapter_name].rank)

    def used_basis(self, adapter_name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return those columns, U_R (out, |R|) and V_C (in, |C|)."""
        U, V = self.get_basis(adapter_name)
        if adapter_name in self.svft_U:
            return U, V
        used = self.used(adapter_name)
        return U[:, used.left.to(U.device)], V[:, used.right.to(V.device)]

    def adopt(
        self,
        adapter_name: str,
        U: torch.Tensor,
        V: torch.Tensor,
        embed: bool = False,
        indices: torch.Tensor | None = None,
    ) -> None:
        """Let an adapter use U and V of W: if its entries use few of their columns, it has those as its own.

        Args:
            adapter_name: The adapter.
            U: At least the leading columns that are open to it (out, r).
            V: The same of the right singular vectors (in, r).
            embed: Whether the adapter has its columns as its own in any case, and is saved with them.
            indices: Its flat indices (k,), if they stand for those that the layer does not have yet.
        """
        used = replace(self.named_columns(adapter_name, indices), of_weight=True)
        if embed or keeps_used_columns((self.out_features, self.in_features), len(used.left), len(used.right)):
            left, right = used.left.to(U.device), used.right.to(V.device)
            self._own(adapter_name, U[:, left], V[:, right], used, persistent=embed)
        else:
            self._disown(adapter_name)
            self.keep_basis(U, V)

    def adopt_from_weight(self, adapter_name: str) -> None:
        """Let an adapter use U and V of W, unless the columns that it has are those."""
        used = self.named_columns(adapter_name)
        here = self.columns.get(adapter_name)
        if here is not None and here.of_weight and here.same_directions(used):
            return
        dtype = self.svft_U[adapter_name].dtype if adapter_name in self.svft_U else None
        self.adopt(adapter_name, *self._vectors_as_decomposed(self.spec[adapter_name].rank, dtype))

    def _own(self, adapter_name: str, U: torch.Tensor, V: torch.Tensor, columns: Columns, persistent: bool) -> None:
        """Give an adapter columns of its own."""
        self.svft_U.add(adapter_name, U.contiguous(), persistent)
        self.svft_V.add(adapter_name, V.contiguous(), persistent)
        self._place(adapter_name, columns)

    def _place(self, adapter_name: str, columns: Columns) -> None:
        """Record where the entries of an adapter stand among its own columns."""
        self.columns[adapter_name] = columns
        if not columns.diagonal:
            self.svft_places.add(adapter_name, columns.places.to(self.svft_U[adapter_name].device), persistent=False)
        elif adapter_name in self.svft_places:
            del self.svft_places[adapter_name]

    def _disown(self, adapter_name: str) -> None:
        for container in (self.svft_U, self.svft_V, self.svft_places, self.columns):
            if adapter_name in container:
                del container[adapter_name]

    def promise_basis(self, adapter_name: str, indices: torch.Tensor, dtype: torch.dtype | None) -> None:
        """Make a place for the columns that a file is going to bring; until then they are zero.

        Args:
            adapter_name: The adapter.
            indices: Flat indices (k,) that stand for those of the file.
            dtype: Type of the columns, None for W's own.
        """
        used, device = self.named_columns(adapter_name, indices), self.svft_coefficients[adapter_name].device
        dtype = dtype or self.weight.dtype
        U = torch.zeros(self.out_features, len(used.left), dtype=dtype, device=device)
        V = torch.zeros(self.in_features, len(used.right), dtype=dtype, device=device)
        self._own(adapter_name, U, V, used, persistent=True)
        self.unsettled.add(adapter_name)

    def take_basis_of(self, adapter_name: str, others: list[str]) -> None:
        """Give an adapter the columns that it uses from others with the same singular vectors.

        Args:
            adapter_name: The adapter. Its entries are those of the others together.
            others: Adapters with columns of their own, or with those of W; they agree.
        """
        used = self.named_columns(adapter_name)
        bases = [self.used_basis(other) for other in others]
        U = _gather([(self.used(other).left, U) for other, (U, _) in zip(others, bases)], used.left)
        V = _gather([(self.used(other).right, V) for other, (_, V) in zip(others, bases)], used.right)
        persistent = any(self.svft_U.is_saved(other) for other in others)
        self._own(adapter_name, U, V, used, persistent)
        for container in (self.svft_fingerprint, self.svft_signature, self.svft_sigma):
            container[adapter_name] = container[others[0]].clone()
        self.unsettled.discard(adapter_name)

    def get_basis(self, adapter_name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return U and V of an adapter: its own columns, see `used`, else all that are open, (out, r) and (in, r)."""
        if adapter_name in self.svft_U:
            return self.svft_U[adapter_name], self.svft_V[adapter_name]
        return self.kept_basis(self.spec[adapter_name].rank)

    def is_settled(self, adapter_name: str) -> bool:
        """Return whether the adapter's coefficients are known to be in the basis that `get_basis` returns."""
        return adapter_name not in self.unsettled and (self.svft_shared_U is not None or adapter_name in self.svft_U)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def settle(self, adapter_name: str) -> None:
        """Bring coefficients that were loaded from elsewhere into the basis at hand, or find theirs.

        Loading is `load_state_dict` as well as PEFT's and transformers' own ways, and W may have come along, before or
        after. So this is done where the coefficients are first needed.

        Raises:
            BasisMismatchError: If no basis fits.
            SvftError: If the adapter has no values yet.
        """
        parameter = self.svft_coefficients[adapter_name]
        mark, seen = self.svft_fingerprint[adapter_name], self.svft_signature[adapter_name]
        own = [side[adapter_name] for side in (self.svft_U, self.svft_V) if adapter_name in side]
        if any(t.device.type == "meta" for t in (parameter, mark, seen, self.svft_sigma[adapter_name], *own)):
            raise SvftError(f"The adapter {adapter_name} on {self.module_name} has no values yet: load them first.")
        # Tensors made in inference mode could not be trained with later.
        with torch.inference_mode(False), torch.no_grad():
            spec = self.spec[adapter_name]
            if self.is_promised(adapter_name):
                self._disown(adapter_name)
                self.singular_vectors(spec.rank, None)  # so that W's marks are known
            with_basis = self.svft_U.is_saved(adapter_name)
            marks = [part if part.any() else None for part in (mark, seen)]  # zero until a file brings them
            stored = Stored(parameter, marks[0], marks[1], with_basis=with_basis)
            fitted = fit(cast(Settled, self), adapter_name, stored)
            if fitted.error is not None:
                report_mismatch({self.module_name: fitted.error}, 1, mark, self.own_fingerprint)
            parameter.copy_(fitted.values)
            if with_basis:
                self._sort_own(adapter_name)
            elif fitted.basis is None:
                self.adopt_from_weight(adapter_name)
            elif fitted.of_weight:
                dtype = self.weight.dtype if self.svft_shared_U is None else self.svft_shared_U.dtype
                self._part_from_weight()
                self._remember(fitted.basis)
                rank = max(spec.rank for name, spec in self.spec.items() if name not in self.svft_U)
                self.adopt(adapter_name, fitted.basis.U[:, :rank].to(dtype), fitted.basis.V[:, :rank].to(dtype))
            else:
                self._take_from(adapter_name, fitted.basis)
            self._mark(adapter_name, fitted.basis)

    def is_promised(self, adapter_name: str) -> bool:
        """Return whether an adapter has a place for its columns, and nobody has brought them."""
        if not self.svft_U.is_saved(adapter_name) or adapter_name not in self.unsettled:
            return False
        return self.svft_U[adapter_name].device.type == "meta" or not self.svft_U[adapter_name].any()

    def _sort_own(self, adapter_name: str) -> None:
        """Bring the columns that came with an adapter, those that are used or all, into the order of its entries."""
        used = self.named_columns(adapter_name)
        U, V = self.take_used(adapter_name, used, self.svft_U[adapter_name], self.svft_V[adapter_name])
        self._own(adapter_name, U, V, used, persistent=True)

    def take_used(
        self, adapter_name: str, used: Columns, U: torch.Tensor, V: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the used columns of U and V that came with an adapter, which has either those or all that are open.

        Raises:
            SvftError: If it has another number of columns.
        """
        rank, name = self.spec[adapter_name].rank, f"of the adapter {adapter_name} on {self.module_name}"
        return take_columns(U, used.left, rank, f"U {name}"), take_columns(V, used.right, rank, f"V {name}")

    def _take_from(self, adapter_name: str, basis: Decomposition) -> None:
        """Give an adapter the columns that it uses of a decomposition that is not W's."""
        dtype = self.weight.dtype if self.svft_shared_U is None else self.svft_shared_U.dtype
        used = self.named_columns(adapter_name)
        U, V = basis.U[:, used.left.to(basis.U.device)], basis.V[:, used.right.to(basis.V.device)]
        self._own(adapter_name, U.to(dtype), V.to(dtype), used, persistent=False)

    def _mark(self, adapter_name: str, basis: Decomposition | None) -> None:
        """Record that the adapter's coefficients are in a basis, None for the one that the layer keeps."""
        containers = self.svft_fingerprint, self.svft_signature, self.svft_sigma
        if self.svft_U.is_saved(adapter_name):
            marks = [container[adapter_name] for container in containers]
        elif basis is None:
            marks = list(self.marks_of_kept_basis(adapter_name).values())
        else:
            m = len(self.svft_sigma[adapter_name])
            marks = [basis.fingerprint, basis.signature[:, :m], basis.sigma[:m]]
        device = self.svft_coefficients[adapter_name].device
        for container, mark, dtype in zip(containers, marks, (torch.uint8, torch.float16, torch.float32)):
            container[adapter_name] = mark.to(device, dtype, copy=True)
        self.unsettled.discard(adapter_name)

    # -- what casts, moves and files do to U and V

    def _derived(self) -> dict[str, torch.Tensor]:
        """Return what of U and V is in no state dict, by name: what could be computed again."""
        derived = {}
        for side in "UV":
            if (shared := getattr(self, f"svft_shared_{side}")) is not None:
                derived[f"shared_{side}"] = shared
            own = getattr(self, f"svft_{side}")
            derived |= {f"{side}.{name}": own[name] for name in self.spec if name in own and not own.is_saved(name)}
        return derived

    def _check_moved(self, before: dict[str, torch.Tensor]) -> None:
        """Notice what a cast or a move of the module has made of U and V.

        What lost precision is not folded any more, and what lost its values (`to_empty`) is computed anew.
        """
        for name, now in self._derived().items():
            was = before[name]
            if now.device.type == "meta":
                continue
            if was.device.type == "meta" or not torch.equal(was.to(now.device, now.dtype), now):
                for adapter_name in self.spec:
                    if not self.svft_U.is_saved(adapter_name):
                        self._disown(adapter_name)
                self._forget_weight()
                return
        if (U := self.svft_shared_U) is not None:
            self.basis_precision = min(self.basis_precision, U.dtype, key=lambda d: torch.finfo(d).bits)

    def basis_to_save(self, adapter_name: str, exact: bool = False) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return the columns that must be saved with an adapter, since W no longer is what they were computed from.

        Args:
            adapter_name: The adapter.
            exact: Whether to hash W to find out, see `svft.state.freshness.Witness.is_decomposed`.
        """
        if self.svft_U.is_saved(adapter_name) or not self.is_settled(adapter_name) or self.weight_is_explained(exact):
            return None
        U, V = self.used_basis(adapter_name)
        return U.contiguous(), V.contiguous()

    def _expect_basis(self, state_dict: dict[str, torch.Tensor], prefix: str) -> None:
        """Make a place for the U and V that a state dict has for an adapter, and take it away if it has none."""
        for name, coefficients in self.svft_coefficients.items():
            saved = self.svft_U.is_saved(name)
            keys = [f"{prefix}svft_{side}.{name}" for side in "UV"]
            if all(key in state_dict for key in keys):
                for sides, key in zip((self.svft_U, self.svft_V), keys):
                    shape = state_dict[key].shape
                    if saved and sides[name].shape == shape:
                        continue
                    kept = sides[name] if name in sides else self.svft_shared_U  # noqa: SIM401
                    dtype = self.weight.dtype if kept is None else kept.dtype
                    sides.add(name, torch.zeros(shape, dtype=dtype, device=coefficients.device), persistent=True)
                    self.unsettled.add(name)
                    if not saved:
                        sides.brought.add(name)
            elif saved and f"{prefix}svft_fingerprint.{name}" in state_dict:
                if name in self.svft_U.brought:
                    self._disown(name)
                else:
                    for sides in (self.svft_U, self.svft_V):
                        sides[name] = torch.zeros_like(sides[name])
                self.unsettled.add(name)


def _gather(parts: list[tuple[torch.Tensor, torch.Tensor]], directions: torch.Tensor) -> torch.Tensor:
    """Return the columns of these directions, each from one of the parts (directions, columns) that has it."""
    column_of = {int(d): column for directions_here, side in parts for d, column in zip(directions_here, side.T)}
    return torch.stack([column_of[int(d)] for d in directions], dim=1)
