"""One odd module does not hide the others: it is left out, by name and for the true reason."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from analysis.adapters.opening import open_adapter
from analysis.adapters.recognise import recognise
from analysis.common.errors import AdapterError
from tests.analysis.adapters.peft_models import KINDS, save_base
from tests.analysis.adapters.written import ADAPTER, QUERY, llama


def empty(tensors):
    tensors |= {name: torch.zeros(0) for name in tensors if QUERY in name}


def latent(tensors):  # LoRA-XS
    tensors[f"base_model.model.{QUERY}.default_lora_latent_mapping.weight"] = torch.eye(2)


def of_a_convolution(tensors):
    tensors[f"base_model.model.{QUERY}.lora_A.weight"] = torch.zeros(2, 16, 3)


def of_another_model(tensors):
    tensors[f"base_model.model.{QUERY}.lora_A.weight"] = torch.zeros(2, 17)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (empty, "ZeRO-3"),
        (latent, "default_lora_latent_mapping"),
        (of_a_convolution, "convolution"),
        (of_another_model, r"adapted as a weight of shape \(16, 17\)"),
    ],
)
def test_a_module_is_left_out_for_the_reason_that_was_found(lora, change, reason):
    adapter = open_adapter(lora(change))
    assert [item.name for item in adapter.left_out] == [QUERY]
    assert len(adapter.names) == 3
    with pytest.raises(AdapterError, match=reason):
        adapter.matrix(QUERY)


def test_its_share_of_the_trained_parameters_is_said(lora):
    adapter = open_adapter(lora(latent))
    query, value = 2 * (16 + 16), 2 * (16 + 8)
    assert adapter.left_out_share == pytest.approx((query + 4) / (2 * query + 4 + 2 * value))


def test_an_adapter_with_nothing_to_show_is_refused_for_the_first_reason(lora):
    with pytest.raises(AdapterError, match="ZeRO-3"):
        open_adapter(lora(lambda tensors: tensors.update({name: torch.zeros(0) for name in tensors})))
    with pytest.raises(AdapterError, match="holds no tensors"):
        open_adapter(lora(dict.clear))


def test_an_embedding_with_dora_is_left_out_and_its_neighbours_are_not(lora):
    adapter = open_adapter(lora(targets=("q_proj", "embed_tokens"), use_dora=True))
    assert [item.name for item in adapter.left_out] == ["model.embed_tokens"]
    assert "an embedding" in adapter.left_out[0].reason
    assert len(adapter.names) == 2
    assert adapter.head == {}


def test_nan_in_one_matrix_leaves_the_table_of_the_others(lora):
    def broken(tensors):
        tensors[f"base_model.model.{QUERY}.lora_B.weight"][0, 0] = np.nan

    from analysis.cli import app

    path = lora(broken)
    result = CliRunner().invoke(app, ["inspect", str(path), "--json"])
    assert result.exit_code == 0, result.output
    text = json.loads(result.stdout)
    assert [item["name"] for item in text["left_out"]] == [QUERY]
    assert "NaN" in text["left_out"][0]["reason"]
    assert 0 < text["left_out_share"] < 1
    assert len(text["measures"]) == 3
    shown = CliRunner().invoke(app, ["inspect", str(path)]).stdout
    assert "left out" in shown
    assert QUERY in shown


@pytest.mark.parametrize(
    ("start", "reason"),
    [("pissa_niter_16", "randomized SVD"), ("corda", "CorDA"), ("loftq", "LoftQ"), ("lora_ga", "LoRA-GA"),
     ("of tomorrow", "not known here")],
)  # fmt: skip
def test_a_start_that_the_files_do_not_determine_is_refused(lora, start, reason):
    with pytest.raises(AdapterError, match=reason):
        open_adapter(lora(config={"init_lora_weights": start}))


@pytest.mark.parametrize("start", ["eva", "gaussian", "orthogonal", True, False])
def test_a_start_that_leaves_the_base_as_it_is_is_read(lora, start):
    expected = open_adapter(lora()).dense_update(QUERY)
    np.testing.assert_array_equal(
        open_adapter(lora(config={"init_lora_weights": start})).dense_update(QUERY), expected
    )


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [("kasa_config", {"beta": 1.0}, "KaSA"), ("enable_lora", [True, False, True], "PEFT before 0.3"),
     ("layer_replication", [[0, 2]], "repeats layers")],
)  # fmt: skip
def test_a_config_that_changes_the_update_is_refused_for_what_it_sets(lora, field, value, reason):
    with pytest.raises(AdapterError, match=reason):
        open_adapter(lora(config={field: value}))


def test_an_mlx_adapter_is_called_one(lora):
    path = lora()
    (path / ADAPTER).rename(path / "adapters.safetensors")
    (path / "adapter_config.json").write_text('{"fine_tune_type": "lora", "lora_parameters": {"rank": 2}}')
    for given in (path, path / "adapters.safetensors"):
        with pytest.raises(AdapterError, match="mlx-lm"):
            open_adapter(given)


def test_a_quantized_base_is_called_quantized(lora):
    path = lora()
    file = path.parent / "base" / "model.safetensors"
    tensors = load_file(file)
    tensors[f"{QUERY}.qweight"] = tensors.pop(f"{QUERY}.weight").to(torch.int32)
    save_file(tensors, file)
    config = path.parent / "base" / "config.json"
    quantized = {"quantization_config": {"quant_method": "gptq"}}
    config.write_text(json.dumps(json.loads(config.read_text()) | quantized))
    adapter = open_adapter(path)
    assert [item.name for item in adapter.left_out] == [QUERY]
    assert "quantized (gptq)" in adapter.left_out[0].reason


def test_a_rank_above_both_sides_is_read(tmp_path):
    save_base(llama(), tmp_path / "base")
    for kind, config in {"LoRA": LoraConfig(r=40, target_modules=["q_proj"], init_lora_weights=False),
                         "LoKr": KINDS["LoKr"](target_modules=["q_proj"])}.items():  # fmt: skip
        config.r = 64
        adapted = get_peft_model(llama(), config)
        adapted.save_pretrained(str(tmp_path / kind))
        adapter = open_adapter(tmp_path / kind, base=str(tmp_path / "base"))
        before = llama().get_submodule(QUERY).weight.detach()
        after = adapted.merge_and_unload().get_submodule(QUERY).weight.detach()
        update = (after - before).double().numpy()
        np.testing.assert_allclose(adapter.dense_update(QUERY), update, atol=1e-5 * np.linalg.norm(update))


def test_an_optional_group_in_a_pattern_is_followed(lora):
    path = lora(rank_pattern={r"layers\.0(\.self_attn)?\.q_proj": 3}, alpha_pattern={r"(.*\.)?v_proj": 7})
    adapter = open_adapter(path)
    factors = adapter.source.update(QUERY, adapter.weights)
    assert factors.rank_bound == 3
    tensors = load_file(path / ADAPTER)
    value = QUERY.replace("q_proj", "v_proj")
    B, A = (tensors[f"base_model.model.{value}.lora_{part}.weight"].double() for part in "BA")
    np.testing.assert_allclose(adapter.dense_update(value), (7 / 2 * B @ A).numpy())


def test_the_weight_of_a_head_that_peft_saved_with_it_is_not_counted_again(lora):
    adapter = open_adapter(lora(targets=("q_proj", "lm_head")))
    plain = dict(adapter.head), adapter.trainable

    def with_copy(tensors):
        tensors["base_model.model.lm_head.base_layer.weight"] = llama().lm_head.weight.detach().clone()

    norm = adapter.matrix("lm_head").update_norm
    again = open_adapter(lora(with_copy, targets=("q_proj", "lm_head")))
    assert (dict(again.head), again.trainable) == plain
    assert again.matrix("lm_head").update_norm == norm

    def with_another(tensors):
        tensors["base_model.model.lm_head.base_layer.weight"] = llama().lm_head.weight.detach() + 1

    with pytest.raises(AdapterError, match="is not the weight of the base model"):
        open_adapter(lora(with_another, targets=("q_proj", "lm_head"))).matrix("lm_head")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_an_svft_file_that_was_cast_opens(tmp_path, dtype):
    from tests.analysis.synthetic import write_adapter

    path = write_adapter(tmp_path, "banded", 1)
    exact = open_adapter(path)
    whole = {name: exact.matrix(name).values for name in exact.names}
    tensors = load_file(path / ADAPTER)
    save_file({name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}, path / ADAPTER)
    adapter = open_adapter(path)
    for name in adapter.names:
        values = adapter.matrix(name).values
        np.testing.assert_allclose(values, whole[name], rtol=1e-2)
        assert set(values.tolist()) == set(torch.tensor(whole[name]).to(dtype).double().tolist())


def test_a_path_may_be_the_file_a_shard_or_the_folder_above(lora, tmp_path):
    path = lora()
    names = open_adapter(path).names
    assert open_adapter(path / ADAPTER).names == names
    (tmp_path / "run").mkdir()
    path.rename(tmp_path / "run" / "final")
    assert open_adapter(tmp_path / "run").names == names
    llama().save_pretrained(str(tmp_path / "sharded"), max_shard_size="4KB")
    shard = sorted((tmp_path / "sharded").glob("model-*.safetensors"))[0]
    assert set(recognise(shard).files.tensors) == set(recognise(tmp_path / "sharded").files.tensors)
    (tmp_path / "run" / "final" / "adapter_config.json").rename(tmp_path / "run" / "final" / "elsewhere.json")
    with pytest.raises(AdapterError, match="which say what"):
        open_adapter(tmp_path / "run" / "final" / ADAPTER)


def test_a_file_of_another_name_is_opened_again_by_its_own_path(lora):
    path = lora()
    names = open_adapter(path).names
    (path / ADAPTER).rename(path / "step-100.safetensors")
    adapter = open_adapter(path / "step-100.safetensors")
    assert adapter.names == names
    assert open_adapter(adapter.path).names == names
    with pytest.raises(AdapterError, match="has no adapter_model"):
        open_adapter(path)


def test_a_comparison_leaves_out_a_damaged_matrix_and_takes_a_base(lora, tmp_path):
    from analysis.cli import app

    path = lora()
    other = tmp_path / "other"
    shutil.copytree(path, other)
    tensors = load_file(other / ADAPTER)
    tensors[f"base_model.model.{QUERY}.lora_B.weight"][0, 0] = np.nan
    save_file(tensors, other / ADAPTER)
    (tmp_path / "base").rename(tmp_path / "moved")
    result = CliRunner().invoke(app, ["compare", str(path), str(other), "--json", "--base", str(tmp_path / "moved")])
    assert result.exit_code == 0, result.output
    text = json.loads(result.stdout)
    assert list(text["damaged"]) == [QUERY]
    assert [row["cosine"] for row in text["matrices"]] == pytest.approx([1.0] * 3)
    assert CliRunner().invoke(app, ["compare", str(path), str(other)]).exit_code != 0


def test_folders_that_could_all_be_meant_are_named(lora, tmp_path):
    path = lora()
    with pytest.raises(AdapterError, match=r"several adapters or models \(adapter, base\)"):
        open_adapter(tmp_path)
    assert open_adapter(path).left_out == ()


def test_a_pickled_base_and_a_pickled_adapter_are_read_as_tensors(lora):
    path = lora()
    expected = open_adapter(path).dense_update(QUERY)
    base = path.parent / "base" / "model.safetensors"
    torch.save(load_file(base), base.with_name("pytorch_model.bin"))
    base.unlink()
    torch.save(load_file(path / ADAPTER), path / "adapter_model.bin")
    (path / ADAPTER).unlink()
    np.testing.assert_array_equal(open_adapter(path).dense_update(QUERY), expected)


def test_no_header_is_parsed_twice_and_no_byte_read_twice(lora, monkeypatch):
    from analysis.common import bounded_files, tensor_files
    from svft.cache import decompose  # noqa: F401  (it opens files of its own)

    path, parsed, read = lora(), [], []
    header, body = tensor_files.read_header, tensor_files.TensorFiles._bytes
    config = bounded_files.read_json

    def counted(function, into, what):
        def call(*arguments):
            into.append(what(*arguments))
            return function(*arguments)

        return call

    monkeypatch.setattr(tensor_files, "read_header", counted(header, parsed, lambda file: file))
    for module in ("analysis.adapters.recognise", "analysis.models.base_weights"):
        monkeypatch.setattr(sys.modules[module], "read_json", counted(config, parsed, lambda file: file))
    monkeypatch.setattr(
        tensor_files.TensorFiles, "_bytes", counted(body, read, lambda files, info, index: (info.file, info.place))
    )
    adapter = open_adapter(path)
    for name in adapter.names:
        adapter.matrix(name)
    assert sorted(file.name for file in parsed) == [
        "adapter_config.json", "adapter_model.safetensors", "config.json", "model.safetensors",
    ]  # fmt: skip
    of_adapter = [item for item in read if item[0].name == ADAPTER]
    assert len(of_adapter) == len(set(of_adapter)) == 2 * len(adapter.names)
    of_base = [item for item in read if item[0].name == "model.safetensors"]
    assert len(of_base) == len(set(of_base)) == len(adapter.names)
