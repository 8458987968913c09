"""Names for people, for the families that PEFT knows."""

import pytest

from analysis.models.naming import KINDS, places

FAMILIES = {
    "bert": ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense", None,
             "intermediate.dense", "output.dense"],
    "llama": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
              "mlp.up_proj", "mlp.down_proj"],
    "distilbert": ["attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", None, "ffn.lin1",
                   "ffn.lin2"],
    "deberta": ["attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj",
                "attention.output.dense", None, "intermediate.dense", "output.dense"],
    "phi": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.dense", None, "mlp.fc1", "mlp.fc2"],
    "opt": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", None, "fc1", "fc2"],
    "vit": ["attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj", None, "mlp.fc1",
            "mlp.fc2"],
    "t5": ["layer.0.SelfAttention.q", "layer.0.SelfAttention.k", "layer.0.SelfAttention.v",
           "layer.0.SelfAttention.o", "layer.1.DenseReluDense.wi_0", "layer.1.DenseReluDense.wi_1",
           "layer.1.DenseReluDense.wo"],
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_the_same_kinds_in_the_same_order(family):
    tails = [(kind, tail) for kind, tail in zip(KINDS, FAMILIES[family]) if tail]
    names = [f"encoder.layer.{layer}.{tail}" for layer in (10, 2) for _, tail in reversed(tails)]
    actual = places(names)
    assert [place.layer for place in actual] == [2] * len(tails) + [10] * len(tails)
    assert [place.kind for place in actual] == [kind for kind, _ in tails] * 2
    assert actual[0].label == "Layer 2 · query"


def test_gpt2_has_fused_attention():
    names = [f"transformer.h.0.{tail}" for tail in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")]
    kinds = {place.name: place.kind for place in places(names)}
    assert list(kinds[name] for name in names) == ["query, key, value", "attention out", "MLP up", "MLP down"]


def test_an_unknown_module_is_called_by_the_end_of_its_path():
    (place,) = places(["pooler.projection"])
    assert (place.layer, place.kind, place.label) == (None, "projection", "projection")


def test_modules_that_share_a_place_are_told_apart_alike_in_all_layers():
    names = [f"{stack}.block.{layer}.layer.0.SelfAttention.q" for stack in ("encoder", "decoder") for layer in (0, 1)]
    names = names[:3]  # the decoder is shorter
    labels = [place.label for place in places(names)]
    assert labels == ["Layer 0 · query (decoder)", "Layer 0 · query (encoder)", "Layer 1 · query (encoder)"]


def test_names_are_kept_and_labels_unique():
    names = [f"model.layers.{i}.experts.{e}.{w}" for i in (0, 1) for e in (0, 1) for w in ("up_proj", "w9")]
    actual = places(names)
    assert sorted(place.name for place in actual) == sorted(names)
    assert len({place.label for place in actual}) == len(names)
