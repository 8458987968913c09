"""Writing an SVFT adapter directory from entries of M and the singular vectors they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from analysis.adapters.paths import WEIGHTS_FILE
from analysis.conversion.patterns import Entries, common_pattern, stored_order
from analysis.conversion.source import PREFIX
from svft import SvftConfig
from svft.basis import fingerprint, signature
from svft.state.columns import used_columns


@dataclass(frozen=True, eq=False)
class SvftMatrix:
    """One adapted matrix in a basis that travels with it.

    Attributes:
        entries: Of M.
        U: (out, n) float32, orthonormal columns.
        sigma: (n,) float32, descending.
        V: (in, n) float32.
        fingerprint: Of the base weight.
    """

    entries: Entries
    U: torch.Tensor
    sigma: torch.Tensor
    V: torch.Tensor
    fingerprint: torch.Tensor

    @classmethod
    def of(
        cls, weight: torch.Tensor, U: torch.Tensor, sigma: torch.Tensor, V: torch.Tensor, entries: Entries
    ) -> SvftMatrix:
        """Return the matrix that adapts `weight` (out, in)."""
        return cls(entries, U.float(), sigma.float(), V.float(), fingerprint(weight))


def write_svft(
    output: Path,
    matrices: Mapping[str, SvftMatrix],
    *,
    base: str,
    task_type: str | None,
    head: Mapping[str, torch.Tensor],
    modules_to_save: Sequence[str],
) -> str:
    """Write an adapter with the columns of U and V that its entries use, and return the name of its pattern.

    Args:
        output: Directory, made if it is not there.
        matrices: By module name.
        base: Id or path of the base model.
        task_type: PEFT's, or None.
        head: Tensors that are saved whole, by name in the base model.
        modules_to_save: Names of the modules that they belong to.
    """
    pattern, off_diag = common_pattern({name: matrix.entries for name, matrix in matrices.items()})
    tensors: dict[str, torch.Tensor] = {}
    custom: dict[str, list] = {}
    for name, matrix in matrices.items():
        stem, n = f"{PREFIX}{name}.svft_", matrix.entries.n
        flat = stored_order(pattern, matrix.entries)
        used = used_columns(flat // n, flat % n, n)
        tensors |= {
            f"{stem}coefficients": matrix.entries.ordered(flat).float(),
            f"{stem}sigma": matrix.sigma,
            f"{stem}shape": torch.tensor([len(matrix.U), len(matrix.V)], dtype=torch.int32),
            f"{stem}fingerprint": matrix.fingerprint,
            f"{stem}signature": signature(matrix.U.double(), matrix.V.double()).half(),
            f"{stem}U": matrix.U[:, used.left].contiguous(),
            f"{stem}V": matrix.V[:, used.right].contiguous(),
        }
        if pattern == "custom":
            tensors[f"{stem}indices"] = flat.int()
            custom[name] = torch.stack([flat // n, flat % n], dim=1).tolist()
    config = SvftConfig(
        pattern=pattern,
        off_diag=off_diag,
        custom_indices=custom or None,
        embed_basis=True,
        basis_dtype="float32",
        target_modules=sorted(matrices),
        modules_to_save=list(modules_to_save) or None,
        task_type=task_type,
        base_model_name_or_path=base,
        inference_mode=True,
    )
    tensors |= {PREFIX + name: tensor.contiguous() for name, tensor in head.items()}
    output.mkdir(parents=True, exist_ok=True)
    save_file(tensors, output / WEIGHTS_FILE, metadata={"format": "pt"})
    config.save_pretrained(str(output))
    return pattern
