"""Files as people bring them: the right update, or one true sentence."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import torch
from peft import get_peft_model
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from analysis.adapters.opening import open_adapter
from analysis.cli import app
from analysis.common.errors import AdapterError
from svft import SvftConfig
from tests.analysis.adapters.peft_models import make_model, save_base
from tests.analysis.adapters.written import ADAPTER, QUERY, llama, rewrite, write_lora

PREFIX = "base_model.model."


def renamed(how):
    return lambda tensors: {how(name): tensor for name, tensor in tensors.items()}


def in_layers(wrapper):
    return lambda name: re.sub(r"(layers\.\d+)", rf"\1.{wrapper}", name)


NAMES = {
    "compiled": lambda name: f"_orig_mod.{name}",
    "compiled inside": lambda name: name.replace(PREFIX, f"{PREFIX}_orig_mod."),
    "compiled by layer": in_layers("_orig_mod"),
    "compiled linear layer": lambda name: name.replace(".lora_", "._orig_mod.lora_"),
    "FSDP and checkpointing": in_layers("_fsdp_wrapped_module._checkpoint_wrapped_module"),
    "data parallel": lambda name: f"module.{name}",
    "PEFT twice": lambda name: PREFIX + name,
    "no prefix": lambda name: name.removeprefix(PREFIX),
    "state dict": lambda name: name.replace(".weight", ".default.weight"),
    "state dict of another adapter": lambda name: name.replace(".weight", ".my-adapter.weight"),
}


@pytest.mark.parametrize("how", NAMES.values(), ids=NAMES)
def test_names_that_training_wrapped_are_those_of_the_model(lora, how):
    path = lora()
    plain = open_adapter(path)
    expected = {name: plain.dense_update(name) for name in plain.names}
    rewrite(path / ADAPTER, renamed(how))
    adapter = open_adapter(path)
    assert adapter.names == plain.names
    assert not adapter.head
    for name, update in expected.items():
        np.testing.assert_array_equal(adapter.dense_update(name), update)


def test_names_of_svft_that_training_wrapped_are_those_of_the_model(tmp_path):
    adapted = get_peft_model(llama(), SvftConfig(pattern="plain", target_modules=["q_proj"]))
    adapted.save_pretrained(str(tmp_path), save_embedding_layers=False)
    plain = open_adapter(tmp_path)
    names, sigma = plain.names, plain.matrix(QUERY).sigma
    rewrite(tmp_path / ADAPTER, renamed(in_layers("_orig_mod")))
    adapter = open_adapter(tmp_path)
    assert adapter.names == names
    np.testing.assert_array_equal(adapter.matrix(QUERY).sigma, sigma)


def two_adapters(tensors):
    return {
        name.replace(".weight", f".{own}.weight"): tensor.clone() for name, tensor in tensors.items() for own in "ab"
    }


def mlx(tensors):
    return {re.sub(r"lora_(\w).weight", lambda actual: f"lora_{actual[1].lower()}", n): t for n, t in tensors.items()}


@pytest.mark.parametrize(
    ("change", "config", "reason"),
    [
        (two_adapters, None, r"lora_A\.b\.weight, which is not part of one adapter"),
        (mlx, {"peft_type": None}, "mlx-lm"),
        (None, {"peft_type": None}, "has no peft_type"),
        (None, {"peft_type": "XLORA"}, "'XLORA', which is not read here"),
        (None, {"r": 3}, "have rank 2, and .* says r=3"),
        (None, {"lora_alpha": None}, r"has no lora_alpha \(null\)"),
    ],
)
def test_what_cannot_be_told_is_refused_for_what_it_is(lora, change, config, reason):
    with pytest.raises(AdapterError, match=reason):
        open_adapter(lora(change, config))


def test_a_type_that_is_not_read_is_named_before_its_files_are_missed(lora):
    path = lora(config={"peft_type": "XLORA"})
    (path / ADAPTER).unlink()
    with pytest.raises(AdapterError, match="XLORA"):
        open_adapter(path)


def test_an_adapter_in_shards_and_a_config_with_a_mark_in_front_open(lora):
    path = lora()
    expected = open_adapter(path).dense_update(QUERY)
    tensors = load_file(path / ADAPTER)
    places = {}
    for number, name in enumerate(tensors):
        shard = f"adapter_model-{number % 2 + 1:05}-of-00002.safetensors"
        places[name] = shard
    for shard in set(places.values()):
        save_file({name: tensors[name] for name in tensors if places[name] == shard}, path / shard)
    (path / f"{ADAPTER}.index.json").write_text(json.dumps({"weight_map": places}))
    (path / ADAPTER).unlink()
    config = path / "adapter_config.json"
    config.write_bytes(b"\xef\xbb\xbf" + config.read_bytes())
    np.testing.assert_array_equal(open_adapter(path).dense_update(QUERY), expected)


@pytest.mark.parametrize("where", ["adapter", "base"])
def test_a_pointer_of_git_lfs_is_called_one(lora, where):
    path = lora()
    file = path / ADAPTER if where == "adapter" else path.parent / "base" / "model.safetensors"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1234\n")
    with pytest.raises(AdapterError, match="pointer of Git LFS"):
        open_adapter(path)


def packed(tensors):
    return {name.replace("proj.weight", "proj.qweight"): tensor for name, tensor in tensors.items()}


def emptied(tensors):
    return {name: torch.zeros(0) for name in tensors}


@pytest.mark.parametrize(("change", "reason"), [(packed, "is quantized"), (emptied, "ZeRO-3")])
def test_a_base_without_its_weights_is_called_what_it_is(lora, change, reason):
    path = lora()
    rewrite(path.parent / "base" / "model.safetensors", change)
    with pytest.raises(AdapterError, match=reason):
        open_adapter(path)


def test_an_adapter_is_not_taken_for_a_base(lora):
    path = lora()
    with pytest.raises(AdapterError, match="is an adapter, not a base model"):
        open_adapter(path, base=str(path))


def full(path, change):
    """Return a copy of the base as a fine-tuned model, with its tensors changed."""
    shutil.copytree(path.parent / "base", path.parent / "full")
    config = path.parent / "full" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_name_or_path": str(path.parent / "base")}))
    rewrite(path.parent / "full" / "model.safetensors", change)
    return path.parent / "full"


def test_a_whole_model_with_an_unmerged_adapter_is_refused(lora):
    factor = {f"{QUERY}.lora_A.default.weight": torch.ones(2, 16)}
    with pytest.raises(AdapterError, match="not merged"):
        open_adapter(full(lora(), lambda tensors: tensors | factor))


def test_empty_tensors_of_a_whole_model_are_left_out_by_name(lora):
    name = f"{QUERY}.weight"
    adapter = open_adapter(full(lora(), lambda tensors: tensors | {name: torch.zeros(0)}))
    assert [item.name for item in adapter.left_out] == [QUERY]
    assert "ZeRO-3" in adapter.left_out[0].reason
    assert name not in adapter.head


@pytest.mark.parametrize("to", [("lora", "--rank", "2"), ("svft", "--pattern", "plain")], ids=["lora", "svft"])
def test_a_damaged_matrix_is_left_out_of_a_conversion_by_name(lora, tmp_path, to):
    def broken(tensors):
        tensors[f"{PREFIX}{QUERY}.lora_B.weight"][0, 0] = torch.nan

    output = tmp_path / "converted"
    result = CliRunner().invoke(app, ["convert", str(lora(broken)), "--to", *to, "--output", str(output), "--json"])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert len(shown["matrices"]) == 3
    assert len(shown["left_out"]) == 1
    assert QUERY in shown["left_out"][0]
    assert "NaN" in shown["left_out"][0]
    assert not any(QUERY in name for name in load_file(output / ADAPTER))


def test_a_conversion_does_not_draw_the_weights_of_its_base_at_random(lora, tmp_path):
    path = lora()
    rewrite(path.parent / "base" / "model.safetensors", renamed(lambda name: f"_orig_mod.{name}"))
    assert len(open_adapter(path).names) == 4
    arguments = ["convert", str(path), "--to", "svft", "--pattern", "plain", "--output", str(tmp_path / "converted")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "finds no weight for" in result.output.replace("\n", " ")


def test_a_head_in_a_pickle_is_carried_over(tmp_path):
    path = write_lora(tmp_path, task_type="CAUSAL_LM", modules_to_save=["lm_head"])
    tensors = load_file(path / ADAPTER)
    torch.save(tensors, path / "adapter_model.bin")
    (path / ADAPTER).unlink()
    output = tmp_path / "converted"
    arguments = ["convert", str(path), "--to", "lora", "--rank", "2", "--output", str(output), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["left_out"] == []
    head = f"{PREFIX}lm_head.weight"
    assert torch.equal(load_file(output / ADAPTER)[head], tensors[head])


@pytest.mark.parametrize(
    "to", [("lora", "--rank", "8"), ("svft", "--pattern", "plain"), ("merged",)], ids=lambda to: to[0]
)
def test_an_svft_adapter_with_the_names_of_an_earlier_version_is_converted(tmp_path, to):
    save_base(make_model("vit"), tmp_path / "base")
    adapted = get_peft_model(make_model("vit"), SvftConfig(pattern="plain", target_modules=["q_proj", "fc1"]))
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1
    adapted.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    adapted.save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)

    def earlier(name):
        for new, old in (("vit.layers.", "vit.encoder.layer."), ("attention.q_proj", "attention.attention.query"),
                         ("mlp.fc1", "intermediate.dense")):  # fmt: skip
            name = name.replace(new, old)
        return name

    rewrite(tmp_path / "adapter" / ADAPTER, renamed(earlier))
    config = tmp_path / "adapter" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"target_modules": ["query", "dense"]}))
    output = tmp_path / "converted"
    arguments = ["convert", str(tmp_path / "adapter"), "--to", *to, "--output", str(output), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["matrices"]
    assert len(rows) == 4
    assert all(row["update_norm"] == pytest.approx(0.1 * 4) for row in rows)
