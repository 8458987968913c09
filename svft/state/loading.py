"""Between an adapter's file and its layers."""

from __future__ import annotations

import warnings

import torch

from ..basis import report_mismatch
from ..errors import SvftError
from ..layer import SvftLayer
from .buffers import as_stored_type
from .settling import Stored, fit

State = dict[str, torch.Tensor]
_PREFIX = "base_model.model."
_KEYS = ("coefficients", "indices", "sigma", "shape", "fingerprint", "signature")


def basis_for_file(layers: dict[str, SvftLayer], adapter_name: str, asked: bool) -> State:
    """Return the U and V that go into an adapter's file, by key: if asked for, or if the file needs them.

    It needs them of every matrix whose W has changed since it was decomposed, since nobody could compute them again.
    """
    kept, changed = {}, []
    for name, layer in layers.items():
        basis = layer.basis_to_save(adapter_name, exact=True)
        if basis is not None:
            changed.append(layer.module_name)
        elif asked and not layer.svft_U.is_saved(adapter_name):
            basis = layer.used_basis(adapter_name)
        for side, vectors in zip("UV", basis or ()):
            kept[f"{name}.svft_{side}.{adapter_name}"] = vectors.contiguous()
    if changed and not asked:
        warnings.warn(
            f"The weights of {_listed(changed)} have changed since they were decomposed: U and V are saved with the "
            "adapter, which makes its file larger and lets it load onto any weights.",
            stacklevel=2,
        )
    return kept


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def settled_state(layers: dict[str, SvftLayer], adapter_name: str, state_dict: State) -> State:
    """Return a checkpoint's state with every matrix's coefficients in the basis of its layer, if they fit it.

    What fits another basis is left as it is: the layer looks for that basis when it has the values. Tensors that are
    missing or have other shapes are left to PEFT, which reports them.

    Raises:
        BasisMismatchError: Naming all the matrices for which there is no basis.
        SvftError: Naming a matrix whose tensors cannot be an adapter's.
    """
    state, errors, unmarked, misfits = dict(state_dict), {}, [], []
    marks: tuple[torch.Tensor | None, torch.Tensor | None] | None = None
    for name, layer in layers.items():
        stem = stem_of(name, state)
        for side in "UV":  # PEFT knows only what the model has
            if (vectors := state.pop(f"{stem}.svft_{side}", None)) is not None:
                state[f"{name}.svft_{side}.{adapter_name}"] = vectors
        with_basis = all(f"{name}.svft_{side}.{adapter_name}" in state for side in "UV")
        if not _has_shapes(layer, adapter_name, stem, state):
            misfits.append(layer.module_name)
            _show_misfit(layer, adapter_name, name, stem, state)
            continue
        stored = _stored(layer, adapter_name, stem, state, with_basis)
        if stored is None:
            continue
        if with_basis:
            keys = [f"{name}.svft_{side}.{adapter_name}" for side in "UV"]
            used = layer.named_columns(adapter_name, stored.indices)
            state |= dict(zip(keys, layer.take_used(adapter_name, used, *(state[key] for key in keys))))
        else:
            if stored.fingerprint is None and stored.signature is None:
                unmarked.append(layer.module_name)
            if layer.own_fingerprint is None and layer.is_promised(adapter_name):
                layer.singular_vectors(layer.spec[adapter_name].rank, None)  # so that W's marks are known
        fitted = fit(layer, adapter_name, stored)
        if fitted.error is not None:
            errors[layer.module_name] = fitted.error
            marks = marks or (stored.fingerprint, layer.own_fingerprint)
        if fitted.basis is None and not stored.with_basis:
            state[f"{stem}.svft_coefficients"] = fitted.values
            # The layer's own stay: the file's belong to a basis that may differ in signs.
            own = layer.marks_of_kept_basis(adapter_name)
            state |= {f"{stem}.{key}": mark for key, mark in own.items() if f"{stem}.{key}" in state}
    if marks is not None:
        report_mismatch(errors, len(layers), *marks)
    if misfits:
        warnings.warn(
            f"The adapter's file does not fit {_listed(misfits)}: it was trained on weights of other shapes, or with "
            "another pattern. Is this the base model that the adapter names?",
            stacklevel=2,
        )
    if unmarked:
        warnings.warn(
            f"The checkpoint has neither fingerprint nor signature of {_listed(unmarked)}: its coefficients are taken "
            "to belong to the singular vectors of these weights.",
            stacklevel=2,
        )
    return state


def stem_of(name: str, state: State) -> str:
    """Return the module's name as the checkpoint spells it, with or without PEFT's prefix."""
    bare = name.removeprefix(_PREFIX)
    return bare if any(key.startswith(f"{bare}.svft_") for key in state) else _PREFIX + bare


def _has_shapes(layer: SvftLayer, adapter_name: str, stem: str, state: State) -> bool:
    """Return whether a matrix's tensors have the shapes of the layer's, and come from a weight of its shape."""
    for key in _KEYS:
        own, tensor = getattr(layer, f"svft_{key}"), state.get(f"{stem}.svft_{key}")
        if adapter_name in own and tensor is not None and tensor.shape != own[adapter_name].shape:
            return False
    trained = state.get(f"{stem}.svft_shape")
    return trained is None or trained.tolist() == [layer.out_features, layer.in_features]


def _show_misfit(layer: SvftLayer, adapter_name: str, name: str, stem: str, state: State) -> None:
    """Let PEFT see that a matrix does not fit, so that it refuses or ignores it as it was asked to.

    It compares shapes, and the coefficients of weights of other shapes may have the same. What it will not leave out
    becomes the layer's own.
    """
    coefficients = f"{stem}.svft_coefficients"
    if coefficients in state and state[coefficients].shape == layer.svft_coefficients[adapter_name].shape:
        state[coefficients] = state[coefficients].new_empty(0)
    own = layer.marks_of_kept_basis(adapter_name)
    own["svft_shape"] = torch.tensor([layer.out_features, layer.in_features], dtype=torch.int32)
    if adapter_name in layer.svft_indices:
        own["svft_indices"] = layer.svft_indices[adapter_name].clone()
    for key, mark in own.items():
        if f"{stem}.{key}" in state and state[f"{stem}.{key}"].shape == mark.shape:
            state[f"{stem}.{key}"] = mark
    for side in "UV":
        state.pop(f"{name}.svft_{side}.{adapter_name}", None)


def _stored(layer: SvftLayer, adapter_name: str, stem: str, state: State, with_basis: bool) -> Stored | None:
    """Check a matrix's tensors, give them their types in `state`, and return them, None without coefficients."""
    where = f"The adapter's file does not fit {layer.module_name}"
    loaded = {}
    for key in _KEYS:
        own, tensor = getattr(layer, f"svft_{key}"), state.get(f"{stem}.svft_{key}")
        if adapter_name not in own or tensor is None:
            continue
        if key != "coefficients":
            try:
                tensor = as_stored_type(tensor, own[adapter_name].dtype, f"svft_{key} of {layer.module_name}")
            except SvftError:
                if key != "fingerprint":
                    raise
                del state[f"{stem}.svft_{key}"]  # a mean of several: the signature has to tell
                continue
            state[f"{stem}.svft_{key}"] = tensor
        loaded[key] = tensor
    if "coefficients" not in loaded:
        return None
    if not torch.isfinite(loaded["coefficients"]).all():
        raise SvftError(f"{where}: its coefficients have NaN or infinite entries.")
    if "indices" in loaded:
        m = len(layer.svft_sigma[adapter_name])
        if loaded["indices"].min() < 0 or loaded["indices"].max() >= m * m:
            raise SvftError(f"{where}: its indices reach outside M ({m}×{m}).")
    mark, signature, indices = (loaded.get(key) for key in ("fingerprint", "signature", "indices"))
    return Stored(loaded["coefficients"], mark, signature, indices, with_basis)
