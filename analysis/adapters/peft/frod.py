"""FRoD (arXiv 2512.23485): W' = U (diag(l) + S) Vᵀ in a basis V that modules of one role share.

Its file has l, the values of S, V and where the entries of S are. U is not in it: the columns of W V⁻ᵀ, each divided
by its length, which was the start of l. PEFT computes V from the whole model again; here the one of the file counts.
Light: torch is imported when an update is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from analysis.common.errors import AdapterError
from analysis.common.tensor_files import TensorFiles

if TYPE_CHECKING:
    import torch

BASIS, PLACES = "frod_V", "frod_s_indices"
_LEAST = 1e-12  # columns of W V⁻ᵀ that are shorter count as zero, as in peft.tuners.frod


def basis_name(module: str) -> str:
    """Return what PEFT calls the basis of a module: its last two names, or its last one in a numbered list."""
    *before, last = module.split(".")
    if not before or before[-1].isdigit():
        return last
    if [*before[-2:], last] == ["attention", "output", "dense"]:
        return "attention_output"
    return f"{before[-1]}_{last}"


def check_shared(module: str, inputs: int, shared: Mapping[str, str], files: TensorFiles) -> None:
    """Raise an AdapterError if the file has no basis (in, in) for a module, from its header alone.

    Args:
        module: The module.
        inputs: Its inputs.
        shared: What modules share ("frod_V.self_query") -> its name in the file.
        files: The file.
    """
    role = basis_name(module)
    for part, shape in ((BASIS, (inputs, inputs)), (PLACES, None)):
        name = shared.get(f"{part}.{role}")
        if name is None:
            raise AdapterError(
                f"{files.files[0]} has no {part} for {module}: FRoD's basis depends on the whole model that it was "
                "trained on, so save the adapter with save_projection=True."
            )
        if shape is not None and files.tensors[name].shape != shape:
            raise AdapterError(f"{name} in {files.files[0]} is {files.tensors[name].shape}, and not {shape}.")


def dense_update(
    weight: torch.Tensor, module: str, own: Mapping[str, str], shared: Mapping[str, str], files: TensorFiles
) -> torch.Tensor:
    """Return ΔW = W' − W of one module, (out, in) float64.

    Args:
        weight: W (out, in).
        module: The module.
        own: What PEFT calls a tensor of its adapter -> its name in the file.
        shared: See `check_shared`.
        files: The file.

    Raises:
        AdapterError: If its tensors do not fit the weight.
    """
    import torch

    read: Callable[[str], torch.Tensor] = files.read
    lengths, values = (read(own[part]).double() for part in ("frod_lambda_l", "frod_lambda_s_values"))
    V, places = read(shared[f"{BASIS}.{basis_name(module)}"]).double(), _places(module, shared, files)
    in_ = weight.shape[1]
    if lengths.shape != (in_,) or places.shape != (2, len(values)) or not ((places >= 0) & (places < in_)).all():
        raise AdapterError(f"The tensors of FRoD for {module} in {files.files[0]} do not fit {in_} inputs.")
    W = weight.double()
    S = torch.diag(lengths).index_put_(tuple(places), values, accumulate=True)
    return left_vectors(W, V) @ S @ V.mT - W


def left_vectors(W: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
    """Return U (out, in) of a weight W (out, in) in a basis V (in, in), float64, rounded to float32 as PEFT does."""
    import torch

    try:
        product = torch.linalg.solve(V, W.mT).mT
    except RuntimeError:  # V is singular
        product = W @ torch.linalg.pinv(V, rtol=1e-6).mT
    lengths = torch.linalg.norm(product, dim=0)
    return torch.where(lengths > _LEAST, product / lengths.clamp_min(_LEAST), 0.0).float().double()


def _places(module: str, shared: Mapping[str, str], files: TensorFiles) -> torch.Tensor:
    return files.read_any(shared[f"{PLACES}.{basis_name(module)}"]).long()
