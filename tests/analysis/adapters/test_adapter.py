"""Opening adapters: what is read, what is not, and the sentence for each damage."""

import json
import pickle

import numpy as np
import pytest
import torch
from peft import get_peft_model
from safetensors.numpy import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification

from analysis.adapters.opening import open_adapter
from analysis.adapters.paths import WEIGHTS_FILE
from analysis.common.errors import AdapterError
from analysis.measures.spectrum import new_singular_values
from analysis.training.methods import METHODS
from analysis.training.specification import TrainingSpec
from svft import SvftConfig
from svft.layer import SvftLayer
from svft.patterns import banded_indices, plain_indices
from tests.analysis.synthetic import BERT, GEMMA_2B, write_adapter

QUERY = "bert.encoder.layer.0.attention.self.query"
UP = "bert.encoder.layer.0.intermediate.dense"


def test_the_table_of_matrices_says_what_the_header_says(tmp_path):
    adapter = open_adapter(write_adapter(tmp_path, "banded", 2))
    assert adapter.base == "sentence-transformers/all-MiniLM-L6-v2"
    assert adapter.method == "SVFT banded d=2"
    assert adapter.task is None
    assert adapter.trainable == 12 * (12 * 5 - 6)
    assert adapter.head == {"base_model.model.classifier.bias": (3,), "base_model.model.classifier.weight": (3, 12)}
    assert adapter.names == adapter.matrices["name"].tolist()
    assert adapter.matrices["kind"].tolist()[:6] == [
        "query", "key", "value", "attention out", "MLP up", "MLP down",
    ]  # fmt: skip
    row = adapter.matrices.set_index("name").loc[UP]
    assert row.drop("pattern_label").to_dict() == {
        "layer": 0, "kind": "MLP up", "label": "Layer 0 · MLP up", "out": 20, "in": 12, "n": 12, "m": 12, "k": 54,
        "pattern": "banded", "off_diag": 2, "trained": 54,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "off_diag", "rank", "expected"),
    [
        ("plain", None, None, lambda: plain_indices(12)),
        ("plain", None, 5, lambda: plain_indices(12, 5)),
        ("banded", 3, None, lambda: banded_indices(12, 3)),
        ("banded", 2, 5, lambda: banded_indices(12, 2, 5)),
        ("banded", 11, None, lambda: banded_indices(12, 11)),
    ],
)
def test_positions_without_stored_indices_are_those_of_the_method(tmp_path, pattern, off_diag, rank, expected):
    adapter = open_adapter(write_adapter(tmp_path, pattern, off_diag, config={"rank": rank}))
    matrix = adapter.matrix(QUERY)
    assert (matrix.rows * 12 + matrix.cols).tolist() == expected().tolist()
    assert matrix.off_diag == (off_diag or 0)


def test_a_matrix_holds_the_numbers_of_the_file(tmp_path):
    adapter = open_adapter(write_adapter(tmp_path, "random", 2))
    stored = load_file(tmp_path / WEIGHTS_FILE)
    matrix = adapter.matrix(UP)
    stem = f"base_model.model.{UP}.svft_"
    dense = np.zeros(144)
    dense[stored[stem + "indices"]] = stored[stem + "coefficients"]
    np.testing.assert_array_equal(matrix.coefficients(), dense.reshape(12, 12))
    np.testing.assert_array_equal(matrix.sigma, stored[stem + "sigma"])
    np.testing.assert_array_equal(matrix.updated(), np.diag(matrix.sigma) + matrix.coefficients())
    assert (matrix.shape, matrix.n, matrix.m, matrix.k) == ((20, 12), 12, 12, 54)
    assert (matrix.label, matrix.kind, matrix.layer, matrix.truncated) == ("Layer 0 · MLP up", "MLP up", 0, False)


def test_top_k_on_a_rectangular_weight_is_called_what_it_is(tmp_path):
    adapter = open_adapter(write_adapter(tmp_path, "top_k", 1))
    assert (adapter.matrix(QUERY).pattern, adapter.matrix(QUERY).pattern_label) == ("top_k", "top_k d=1")
    assert (adapter.matrix(UP).pattern, adapter.matrix(UP).pattern_label) == ("random", "top_k → random (not square)")


def test_overrides_are_seen_in_single_matrices(tmp_path):
    config = {"overrides": {r"layer\.0\.attention\.self\.query": {"pattern": "plain"}}}
    write_adapter(tmp_path, "banded", 1, config=config)
    tensors = load_file(tmp_path / WEIGHTS_FILE)
    tensors[f"base_model.model.{QUERY}.svft_coefficients"] = np.ones(12, np.float32)
    save_file(tensors, tmp_path / WEIGHTS_FILE)
    adapter = open_adapter(tmp_path)
    labels = adapter.matrices.set_index("name")["pattern_label"]
    assert labels[QUERY] == "plain"
    assert set(labels.drop(QUERY)) == {"banded d=1"}
    assert adapter.matrix(QUERY).rows.tolist() == list(range(12))


def test_the_half_width_of_a_budget_is_read_from_the_number_of_entries(tmp_path):
    write_adapter(tmp_path, "banded", 3)
    config = json.loads((tmp_path / "adapter_config.json").read_text()) | {"off_diag": None, "budget": 700}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    adapter = open_adapter(tmp_path)
    assert adapter.method == "SVFT banded budget 700"
    assert adapter.matrix(QUERY).off_diag == 3


def test_a_truncated_basis_is_marked(tmp_path):
    adapter = open_adapter(write_adapter(tmp_path, "random", 1, m=6, config={"rank": 6}))
    matrix = adapter.matrix(UP)
    assert (matrix.n, matrix.m, matrix.truncated) == (12, 6, True)
    assert matrix.coefficients().shape == (6, 6)


def test_a_head_only_checkpoint_opens_without_matrices(tmp_path):
    write_adapter(tmp_path, modules={}, config={"peft_type": "LORA", "target_modules": "dummy-target-modules"})
    adapter = open_adapter(tmp_path)
    assert (adapter.method, adapter.names, adapter.trainable) == ("head only", [], 0)
    assert len(adapter.head) == 2


def test_the_task_is_that_of_the_evaluation(tmp_path):
    write_adapter(tmp_path)
    (tmp_path / "evaluation.json").write_text('{"spec": {"task": "bbc_headlines"}}')
    assert open_adapter(tmp_path).task == "bbc_headlines"


def test_an_adapter_goes_to_another_process(tmp_path):
    adapter = pickle.loads(pickle.dumps(open_adapter(write_adapter(tmp_path))))
    assert pickle.loads(pickle.dumps(adapter.matrix(QUERY))).k == 12


@pytest.fixture
def bert():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2}
    return BertForSequenceClassification(BertConfig(vocab_size=20, max_position_embeddings=8, **sizes))


@pytest.mark.parametrize(
    ("label", "options"),
    [
        ("plain", {"pattern": "plain"}),
        ("banded d=2", {"pattern": "banded", "off_diag": 2}),
        ("banded d=1", {"pattern": "banded", "off_diag": 1, "rank": 5}),
        ("random d=1", {"pattern": "random", "off_diag": 1}),
        ("random d=1", {"pattern": "random", "off_diag": 1, "rank": 5, "embed_basis": True}),
        ("top_k d=2", {"pattern": "top_k", "off_diag": 2}),
        ("custom", {"pattern": "custom", "custom_indices": {"query": [(0, 3), (2, 1)], "dense": [(4, 4)]}}),
    ],
)
def test_an_adapter_that_peft_saved_says_what_its_model_does(tmp_path, bert, label, options):
    config = SvftConfig(target_modules=["query", "dense"], exclude_modules=".*pooler.*", init_weights=False, **options)
    model = get_peft_model(bert, config)
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    adapter = open_adapter(tmp_path)
    layers = {name: layer for name, layer in model.base_model.model.named_modules() if isinstance(layer, SvftLayer)}
    assert set(adapter.names) == set(layers)
    assert adapter.matrices["pattern_label"][0] == label
    for name, layer in layers.items():
        matrix = adapter.matrix(name)
        W, update = (
            t.detach().double().numpy() for t in (layer.get_base_layer().weight, layer.get_delta_weight("default"))
        )
        assert matrix.shape == W.shape
        for actual, dense in ((new_singular_values(matrix), W + update), (matrix.update_singular_values, update)):
            expected = np.linalg.svd(dense, compute_uv=False)
            np.testing.assert_allclose(actual, expected, atol=1e-5 * expected[0])


def test_a_head_only_checkpoint_that_peft_saved_opens(tmp_path, bert):
    METHODS["head_only"].build(bert, TrainingSpec("bbc_headlines", "head_only"), []).save_pretrained(
        tmp_path, save_embedding_layers=False
    )
    adapter = open_adapter(tmp_path)
    assert adapter.method == "head only"
    assert set(adapter.head) == {f"base_model.model.classifier.{part}" for part in ("weight", "bias")}


def test_opening_reads_no_coefficients(tmp_path):
    write_adapter(tmp_path)
    damage(tmp_path, "coefficients", lambda values: values * np.nan)
    adapter = open_adapter(tmp_path)  # a matrix is read when it is asked for
    assert adapter.matrix(UP).k == 12
    with pytest.raises(AdapterError, match=QUERY):
        adapter.matrix(QUERY)


def test_an_adapter_of_gemma_2b_has_its_published_size_and_needs_no_base(tmp_path):
    adapter = open_adapter(write_adapter(tmp_path, "banded", 16, modules=GEMMA_2B))
    assert len(adapter.names) == 126
    assert round(adapter.trainable / 1e6, 2) == 6.35
    assert adapter.matrix("model.layers.17.mlp.down_proj").k == 2048 * 33 - 16 * 17


def damage(directory, part, change):
    """Change one tensor of the first query matrix; None takes it out."""
    tensors = load_file(directory / WEIGHTS_FILE)
    key = f"base_model.model.{QUERY}.svft_{part}"
    tensors[key] = change(tensors[key])
    save_file({k: t for k, t in tensors.items() if t is not None}, directory / WEIGHTS_FILE)


@pytest.mark.parametrize(
    ("part", "change", "sentence"),
    [
        ("sigma", lambda t: None, "svft_sigma is missing"),
        ("coefficients", lambda t: None, "svft_coefficients is missing"),
        ("shape", lambda t: None, "svft_shape is missing"),
        ("indices", lambda t: None, "svft_indices is missing"),
        ("sigma", lambda t: np.ones(40, np.float32), "do not fit"),
        ("sigma", lambda t: t[:0], "do not fit"),
        ("shape", lambda t: np.ones(3, np.int32), "do not fit"),
        ("coefficients", lambda t: t[:-1], "differ in length"),
        ("coefficients", lambda t: t[:0], "svft_coefficients is empty"),
        ("coefficients", lambda t: t[None], "must be a vector"),
        ("coefficients", lambda t: t.astype(np.int32), "must be a vector of type F64 or F32"),
        ("indices", lambda t: t.astype(np.float32), "must be a vector of type I32"),
        ("coefficients", lambda t: np.where(np.arange(len(t)) == 3, np.nan, t).astype(np.float32), "NaN or infinite"),
        ("coefficients", lambda t: np.where(np.arange(len(t)) == 3, np.inf, t).astype(np.float32), "NaN or infinite"),
        ("sigma", lambda t: t * np.float32(np.nan), "svft_sigma has NaN"),
        ("sigma", lambda t: -t, "none negative"),
        ("sigma", lambda t: t[::-1].copy(), "descending"),
        ("indices", lambda t: t + np.int32(100), "reach outside M"),
        ("indices", lambda t: t - np.int32(100), "reach outside M"),
        ("indices", lambda t: np.zeros_like(t), "names an entry twice"),
    ],
)
def test_a_damaged_matrix_is_named(tmp_path, part, change, sentence):
    write_adapter(tmp_path, "random", 1)
    damage(tmp_path, part, change)
    with pytest.raises(AdapterError, match=sentence) as caught:
        open_adapter(tmp_path).matrix(QUERY)
    assert QUERY in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pattern", ["plain", "banded"])
def test_a_number_of_entries_that_fills_no_band_is_refused(tmp_path, pattern):
    write_adapter(tmp_path, pattern, 1)
    damage(tmp_path, "coefficients", lambda t: np.ones(len(t) + 1, np.float32))
    adapter = open_adapter(tmp_path)
    assert [item.name for item in adapter.left_out] == [QUERY]
    assert len(adapter.names) == len(BERT) - 1
    with pytest.raises(AdapterError, match="do not fit the pattern"):
        adapter.matrix(QUERY)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"peft_type": "OFT"}, "peft_type 'OFT'"),
        ({"peft_type": None}, "has no peft_type"),
        ({"pattern": None}, "pattern must be a name"),
        ({"rank": 0}, "rank must be a positive integer"),
        ({"off_diag": "two"}, "off_diag must be an integer"),
        ({"budget": 1.5}, "budget must be an integer"),
        ({"overrides": ["query"]}, "overrides must be an object"),
        ({"overrides": {"(": {}}}, "not a regular expression"),
    ],
)
def test_a_config_that_is_not_ours_is_refused(tmp_path, config, sentence):
    write_adapter(tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    with pytest.raises(AdapterError, match=sentence):
        open_adapter(tmp_path)


def test_what_is_no_adapter_gets_a_sentence(tmp_path):
    with pytest.raises(AdapterError, match="no file or directory"):
        open_adapter(tmp_path / "nowhere")
    with pytest.raises(AdapterError, match=r"has no adapter_config.json"):
        open_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(AdapterError, match="cannot be read as JSON"):
        open_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text("[]")
    with pytest.raises(AdapterError, match="must hold a JSON object"):
        open_adapter(tmp_path)


def test_missing_pickled_and_cut_weights_get_a_sentence(tmp_path):
    write_adapter(tmp_path)
    weights = tmp_path / WEIGHTS_FILE
    whole = weights.read_bytes()
    for content in (whole[:-100], whole[:50], b""):
        weights.write_bytes(content)
        with pytest.raises(AdapterError, match="damaged or cut short"):
            open_adapter(tmp_path)
    weights.unlink()
    with pytest.raises(AdapterError, match=f"has no {WEIGHTS_FILE}"):
        open_adapter(tmp_path)
    (tmp_path / "adapter_model.bin").write_bytes(b"anything")
    with pytest.raises(AdapterError, match="cannot be read as tensors alone"):
        open_adapter(tmp_path)


def test_a_name_that_is_not_adapted_is_refused(tmp_path):
    with pytest.raises(AdapterError, match="no adapted matrix 'pooler'"):
        open_adapter(write_adapter(tmp_path)).matrix("pooler")


def test_a_file_that_changed_after_opening_is_refused(tmp_path):
    adapter = open_adapter(write_adapter(tmp_path, "banded", 1))
    write_adapter(tmp_path, "banded", 1, modules=BERT | {QUERY: (8, 12)})
    with pytest.raises(AdapterError, match="has changed"):
        adapter.matrix(QUERY)


def test_code_written_for_the_first_version_goes_on(tmp_path):
    from analysis.adapter import AdapterError as OldError
    from analysis.adapter import open_adapter as old_open_adapter

    assert old_open_adapter is open_adapter
    with pytest.raises(OldError):
        old_open_adapter(tmp_path / "missing")
    with pytest.raises(ValueError, match="missing"):
        old_open_adapter(tmp_path / "missing")
