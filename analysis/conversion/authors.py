"""Checkpoints of the paper's authors' code, as adapters of this project: the same function, to rounding.

If the layers' basis is the base's own, whole or truncated, the result is an SVFT adapter that carries this basis.
If it is not orthonormal (filled up with random vectors, or rounded to half precision), or if more than the
adapted matrices and a head was trained, no M tells the update: the result is the whole fine-tuned model, whose update
against the base is then a projected one.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch

from analysis.common.errors import AdapterError
from analysis.conversion import Steps
from analysis.conversion.authors_layer import MARK, AuthorsLayer, layer_names, read_layer
from analysis.conversion.base_model import BaseModel, load_base_model, weight_matrix
from analysis.conversion.checkpoint import Checkpoint, open_checkpoint
from analysis.conversion.patterns import Entries
from analysis.conversion.write_svft import SvftMatrix, write_svft
from analysis.models.heads import HEADS
from svft.decomposition import FLOAT64_UP_TO


def is_authors_checkpoint(path: str | Path) -> bool:
    """Whether `path`, a file or a directory, holds layer state of the authors' code; False for anything unreadable."""
    try:
        checkpoint = open_checkpoint(path)
        return any(name.endswith(f"{MARK}u") for name in checkpoint.shapes)
    except AdapterError:
        return False


def authors_steps(path: str | Path, base: str, output: str | Path) -> Steps:
    """Convert a checkpoint of the authors' code to the directory `output`.

    Args:
        path: File or directory of the checkpoint.
        base: Id or path of the base model.
        output: Where to write an SVFT adapter or, if that is impossible (see this module), the whole model.

    Yields:
        The number of layers, then for each a row:
        name: Module.
        out, in, n: Of its weight, n = min(out, in).
        kept: Number of singular directions that the layer keeps.
        basis: "whole", "truncated" or "not orthonormal".
        gate: sigmoid(gate), which is multiplied into the coefficients.
        k: Places that were trained.
        duplicates: Trained values that were added to another one at the same place.
        base_error: `AuthorsLayer.base_error`.

    Raises:
        AdapterError: If the checkpoint is damaged, or belongs to another base.
        BaseModelError: If the base cannot be loaded.
    """
    output = Path(output)
    checkpoint = open_checkpoint(path)
    keys = layer_names(checkpoint)
    if not keys:
        raise AdapterError(f"{path} holds no layer state of SVFT (no key with {MARK!r} in it).")
    yield len(keys)
    prefix = _wrapper(keys)
    adapted = {key.removeprefix(prefix): key for key in keys}
    rest = {key.removeprefix(prefix): key for key in checkpoint.shapes if MARK not in key}
    base_model = load_base_model(
        base, dict.fromkeys(adapted, ()), also={name: checkpoint.shapes[key] for name, key in rest.items()}
    )
    others = _trained_beside(checkpoint, rest, base_model)
    modules = _modules_to_save(others, base_model)
    matrices: dict[str, SvftMatrix] | None = None if modules is None else {}
    for name, key in adapted.items():
        weight = weight_matrix(base_model.model.get_submodule(name))
        layer = read_layer(checkpoint, key, limit=max(weight.shape))
        error = _check_base(layer, weight, base)
        matrix = _as_svft(layer, weight)
        if matrix is None:
            matrices = None
        elif matrices is not None:
            matrices[name] = matrix
        whole = matrix is not None and len(layer.sigma) == min(weight.shape)
        yield {
            "name": name,
            "out": weight.shape[0],
            "in": weight.shape[1],
            "n": min(weight.shape),
            "kept": layer.rank,
            "basis": "not orthonormal" if matrix is None else "whole" if whole else "truncated",
            "gate": layer.gate,
            "k": len(layer.values),
            "duplicates": layer.duplicates,
            "base_error": error,
        }
    if matrices is None or modules is None:
        _write_model(base_model, checkpoint, adapted, others, output)
    else:
        head = _head(checkpoint, rest, modules, base_model)
        write_svft(output, matrices, base=base, task_type=base_model.task_type, head=head, modules_to_save=modules)


def _wrapper(names: list[str]) -> str:
    """Return what a trainer put before every name: "module." and the like, "" for nothing."""
    prefix = ""
    while step := next((w for w in _WRAPPERS if all(name.startswith(prefix + w) for name in names)), None):
        prefix += step
    return prefix


_WRAPPERS = ("module.", "_orig_mod.", "base_model.model.")


# -- what was trained beside the layers


def _trained_beside(checkpoint: Checkpoint, rest: dict[str, str], base_model: BaseModel) -> dict[str, torch.Tensor]:
    """Return the tensors, by name in the base model, that are not the base's own.

    Raises:
        AdapterError: If the checkpoint holds numbers that the base model has no place for.
    """
    own, others = base_model.model.state_dict(), {}
    ignored = [*(base_model.model._keys_to_ignore_on_load_unexpected or []), r"inv_freq$", r"position_ids$"]
    for name, key in rest.items():
        if name not in own:
            if any(re.search(pattern, name) for pattern in ignored):
                continue
            raise AdapterError(
                f"{key} in {checkpoint.path} has no place in {base_model.name!r}: name the base it belongs to."
            )
        stored = checkpoint.read(key)
        if name in base_model.new or not _equal(stored, own[name]):
            others[name] = stored
    return others


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are equal in the narrower of their types."""
    return torch.equal(a.to(b.dtype), b) or torch.equal(a, b.to(a.dtype))


def _modules_to_save(others: dict[str, torch.Tensor], base_model: BaseModel) -> list[str] | None:
    """Return the modules that hold these tensors, and the head; None if more than a head was trained."""
    modules = {name for name, _ in base_model.model.named_children() if name in HEADS}
    for name in others:
        parts = name.split(".")
        head = next((place for place, part in enumerate(parts) if part in HEADS), None)
        if head is None and name not in base_model.new:
            return None
        modules.add(".".join(parts[: head + 1] if head is not None else parts[:-1]))
    return sorted(modules)


def _head(
    checkpoint: Checkpoint, rest: dict[str, str], modules: list[str], base_model: BaseModel
) -> dict[str, torch.Tensor]:
    """Return every tensor of these modules: the checkpoint's, or the base's if the checkpoint has none."""
    inside = tuple(f"{module}." for module in modules)
    own = {name: tensor for name, tensor in base_model.model.state_dict().items() if name.startswith(inside)}
    if absent := sorted(base_model.new.intersection(own) - set(rest)):
        raise AdapterError(
            f"Neither {checkpoint.path} nor the base {base_model.name!r} has {absent[0]}: save the whole model's "
            "state."
        )
    return {name: checkpoint.read(rest[name]) if name in rest else tensor for name, tensor in own.items()}


# -- one layer


def _check_base(layer: AuthorsLayer, weight: torch.Tensor, base: str) -> float:
    """Return the layer's `base_error`.

    Raises:
        AdapterError: If it was trained on another weight.
    """
    shape = (layer.u.shape[0], layer.v.shape[1])
    if shape != tuple(weight.shape):
        raise AdapterError(f"{layer.name} is {shape} in the checkpoint and {tuple(weight.shape)} in {base!r}.")
    error = layer.base_error(weight)
    if not error <= layer.tolerance:
        raise AdapterError(
            f"{layer.name} was trained on another weight than that of {base!r}: its singular values and vectors miss "
            f"it by {min(error, 2):.0%}. Name the base model, and its revision, that the checkpoint was trained on."
        )
    return error


def _as_svft(layer: AuthorsLayer, weight: torch.Tensor) -> SvftMatrix | None:
    """Return the layer as M in an orthonormal basis of all n directions of the weight, None if it has none."""
    W, m, n = weight.double(), len(layer.sigma), min(weight.shape)
    if m > n or not layer.is_orthonormal():
        return None
    U, sigma, V = layer.u, layer.sigma, layer.v.T
    flat, values = layer.rows * n + layer.cols, layer.values
    residual = W - (U.double() * sigma) @ V.double().T
    if m < n:
        # What was cut off W: M takes it away, with −σᵢ on the tail of its diagonal.
        tail_U, tail, tail_V = _tail(residual, U, V, n - m)
        U, sigma, V = torch.cat([U, tail_U], 1), torch.cat([sigma, tail]), torch.cat([V, tail_V], 1)
        ends = torch.arange(m, n)
        flat, values = torch.cat([flat, ends * (n + 1)]), torch.cat([values, -tail.double()])
    elif residual.norm() > layer.tolerance * W.norm():
        return None
    order = torch.argsort(sigma, descending=True, stable=True)
    place = torch.argsort(order)
    flat = place[flat // n] * n + place[flat % n]
    return SvftMatrix.of(weight, U[:, order], sigma[order], V[:, order], Entries(n, flat, values))


def _tail(
    residual: torch.Tensor, U: torch.Tensor, V: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return `count` singular triplets of what a truncation left of W, orthogonal to the kept U and V; float32."""
    wide = residual.double() if min(residual.shape) <= FLOAT64_UP_TO else residual.float()
    left, tail, right = torch.linalg.svd(wide, full_matrices=False)
    sides = []
    for kept, vectors in ((U, left), (V, right.T)):
        # If W has no full rank, some of the vectors are arbitrary: Householder's Q completes the kept ones.
        Q, R = torch.linalg.qr(torch.cat([kept.to(wide), vectors[:, :count]], 1))
        sides.append((Q * torch.where(R.diagonal() < 0, -1.0, 1.0))[:, kept.shape[1] :].float())
    return sides[0], tail[:count].float(), sides[1]


def _write_model(
    base_model: BaseModel,
    checkpoint: Checkpoint,
    adapted: dict[str, str],
    others: dict[str, torch.Tensor],
    output: Path,
) -> None:
    """Write the whole model as transformers do, with the weights that the layers compute."""
    model = base_model.model
    with torch.no_grad():
        for name, key in adapted.items():
            weight = weight_matrix(model.get_submodule(name))
            weight.copy_(read_layer(checkpoint, key, limit=max(weight.shape)).weight())
        for name, tensor in others.items():
            model.state_dict()[name].copy_(tensor)
    model.save_pretrained(str(output))
