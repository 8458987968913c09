"""Files of adapters with few columns of U and V: read without a model, they say what the model does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.numpy import load_file

from analysis.adapters.opening import open_adapter
from analysis.measures.comparison import compare_adapters
from analysis.measures.spectrum import new_singular_values
from svft import SvftConfig
from tests.svft.tiny import make_model, svft_layers, train_by_hand

FEW = {
    "one a row and column": {
        "pattern": "custom",
        "custom_indices": {key: [(0, 3), (9, 1), (7, 6)] for key in ("query", "value")},
    },
    "shared": {
        "pattern": "custom",
        "custom_indices": {key: [(4, 3), (0, 3), (0, 1)] for key in ("query", "value")},
    },
    "random": {"pattern": "random", "budget": 14},
    "plain": {"pattern": "plain", "budget": 14},
    "block": {"pattern": "block", "rank": 3},
    "banded": {"pattern": "banded", "off_diag": 1, "rank": 5},
}
every_few = pytest.mark.parametrize("options", FEW.values(), ids=FEW)
STEM = "base_model.model."


def saved(directory, dtype=torch.float32, **options) -> PeftModel:
    config = SvftConfig(target_modules=["query", "value"], **options)
    model = train_by_hand(get_peft_model(make_model(dtype=dtype), config))
    model.save_pretrained(str(directory), save_embedding_layers=False)
    return model


def updates(model: PeftModel) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(STEM): layer._delta("default").double().numpy() for name, layer in svft_layers(model).items()
    }


@every_few
@pytest.mark.parametrize("embed_basis", [False, True])
def test_m_and_the_spectrum_are_the_models(tmp_path, options, embed_basis):
    model = saved(tmp_path, embed_basis=embed_basis, **options)
    adapter, base = open_adapter(tmp_path), make_model()
    for name, update in updates(model).items():
        matrix, layer = adapter.matrix(name), model.get_base_model().get_submodule(name)
        M = np.zeros((16, 16))
        rows, cols = (part.numpy() for part in layer.coefficient_positions("default"))
        M[rows, cols] = layer.svft_coefficients["default"].detach().numpy()
        np.testing.assert_array_equal(matrix.coefficients(), M)
        W = base.get_submodule(name).weight.detach().double().numpy()
        for actual, dense in ((new_singular_values(matrix), W + update), (matrix.update_singular_values, update)):
            expected = np.linalg.svd(dense, compute_uv=False)
            np.testing.assert_allclose(actual, expected, atol=1e-5 * expected[0])


@every_few
def test_the_update_follows_from_the_file_alone(tmp_path, options):
    model = saved(tmp_path, embed_basis=True, **options)
    file, adapter = load_file(tmp_path / "adapter_model.safetensors"), open_adapter(tmp_path)
    for name, update in updates(model).items():
        U, V = (file[f"{STEM}{name}.svft_{side}"].astype(np.float64) for side in "UV")
        matrix = adapter.matrix(name)
        left, right = (list(dict.fromkeys(part.tolist())) for part in (matrix.rows, matrix.cols))
        assert (U.shape[1], V.shape[1]) == (len(left), len(right))
        if options["pattern"] == "banded":  # none of its directions is missing, so that they stand in their own order
            left = right = list(range(5))
        actual = U @ matrix.coefficients()[np.ix_(left, right)] @ V.T
        np.testing.assert_allclose(actual, update, atol=1e-5 * np.abs(update).max())


@every_few
def test_with_and_without_its_columns_it_is_the_same_adapter(tmp_path, options):
    saved(tmp_path / "bare", **options)
    saved(tmp_path / "with", embed_basis=True, **options)
    half = PeftModel.from_pretrained(make_model(dtype=torch.bfloat16), str(tmp_path / "with"))
    half.save_pretrained(str(tmp_path / "half"), save_embedding_layers=False)
    bare = open_adapter(tmp_path / "bare")
    for other in ("with", "half"):
        table = compare_adapters(bare, open_adapter(tmp_path / other))
        np.testing.assert_allclose(table["cosine"], 1, atol=1e-9)
        assert (table["basis_error"] == 0).all()
