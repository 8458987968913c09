"""SVFT → the layer state of the paper's authors' code: a mid-run checkpoint that computes the same."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from analysis.common.errors import AdapterError
from analysis.conversion import Steps
from analysis.conversion.authors_layer import BASE_TOLERANCE, MARK
from analysis.conversion.cards import write_card
from analysis.conversion.source import Source, load_source, row
from svft.cache import decompose

STATE_FILE = "model.safetensors"


def authors_state_steps(path: str | Path, output: str | Path, base: str | None = None) -> Steps:
    """Write the whole state of the adapted model to `output`, with the authors' tensors in each adapted layer.

    Their layers have a gate; it is written half open, as it starts (gate = 0), and s as 2M, so that s·sigmoid(gate) is
    M to the last bit.

    Yields:
        The number of matrices, then for each a row: name, layer, kind, label, out, in, k, base_error (of u·Σ·v against
        W, relative).

    Raises:
        AdapterError: If the adapter cannot be read, or its basis is not that of the base's weights.
        BaseModelError: If the base cannot be loaded.
        UserError: If the base is not the adapter's.
    """
    source, output = load_source(path, base), Path(output)
    yield len(source.adapter.names)
    state: dict[str, torch.Tensor] = {}
    for name in source.adapter.names:
        tensors, error = _layer_state(source, name)
        state |= {f"{name}{MARK}{part}": tensor for part, tensor in tensors.items()}
        yield row(source.adapter, name, k=len(tensors["s"]), base_error=error)
    adapted = {f"{name}.weight" for name in source.adapter.names}
    model = source.model.unload()
    state |= {name: tensor.clone() for name, tensor in model.state_dict().items() if name not in adapted}
    output.mkdir(parents=True, exist_ok=True)
    save_file({name: t.contiguous() for name, t in state.items()}, output / STATE_FILE, metadata={"format": "pt"})
    model.config.save_pretrained(str(output))
    write_card(
        output,
        "layer state of the SVFT authors’ code",
        source.adapter,
        source.base,
        "Keys `<module>.svft_layer.…`: u, v, s_pre, s, gate and their indices; all other tensors are the model’s own.",
        library="pytorch",
    )


def _layer_state(source: Source, name: str) -> tuple[dict[str, torch.Tensor], float]:
    """Return the tensors of one layer, and ‖W − uΣv‖/‖W‖."""
    layer = source.layers[name]
    W = layer.get_matrix().detach().float()
    U, V, sigma = _basis(source, name)
    error = float((W - (U * sigma) @ V.T).norm() / W.norm())
    if not error <= BASE_TOLERANCE:
        raise AdapterError(
            f"{name} misses its base weight by {error:.1%} in the adapter's basis, and the authors' layers have no "
            "weight beside it: convert the adapter to a merged model instead."
        )
    rows, cols = layer.coefficient_positions(source.adapter_name)
    every = torch.arange(len(sigma))
    return {
        "u": U,
        "v": V.T,
        "s_pre": sigma,
        "s": 2 * layer.svft_coefficients[source.adapter_name].detach(),
        "gate": torch.zeros(1),
        "s_row": rows,
        "s_col": cols,
        "s_pre_row": every,
        "s_pre_col": every.clone(),
    }, error


def _basis(source: Source, name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return U (out, n), V (in, n) and Σ (n,), all of W's directions, in float32: M's own basis."""
    layer = source.layers[name]
    if len(layer.svft_sigma[source.adapter_name]) < min(layer.out_features, layer.in_features):
        raise AdapterError(
            f"{name} was adapted in a randomized basis of its leading {len(layer.svft_sigma[source.adapter_name])} "
            "directions, and the authors' layers need all of them: convert the adapter to a merged model instead."
        )
    own = decompose(layer.get_matrix(), name=name)
    U, V, sigma = own.U.float(), own.V.float(), own.sigma.float()
    if layer.is_of_weight(source.adapter_name):
        return U, V, sigma
    # The columns that the adapter brought along, and W's own beside them, with signs that go with those.
    used = layer.used(source.adapter_name)
    left, right = (side.float() for side in layer.get_basis(source.adapter_name))
    signs = torch.ones(len(sigma))
    signs[used.right] = (V[:, used.right] * right).sum(0).sign()
    signs[used.left] = (U[:, used.left] * left).sum(0).sign()
    U, V = U * signs, V * signs
    U[:, used.left], V[:, used.right] = left, right
    return U, V, layer.svft_sigma[source.adapter_name].float()
