"""Default target modules: the linear layers inside the blocks, for the families of models that PEFT knows."""

from __future__ import annotations

_BERT = ("query", "key", "value", "dense")
_LLAMA = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_BART = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
_T5 = ("q", "k", "v", "o", "wi", "wi_0", "wi_1", "wo")
_BLOOM = ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")
_VIT = ("q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2")

# Names of the linear layers inside the blocks, by the model's `model_type`.
TARGET_NAMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "electra", "layoutlm", "camembert"), _BERT),
    "mpnet": ("q", "k", "v", "o", "dense"),
    "deberta": ("in_proj", "pos_proj", "pos_q_proj", "dense"),
    "deberta-v2": ("query_proj", "key_proj", "value_proj", "dense"),
    "distilbert": ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"),
    **dict.fromkeys(("gpt2", "gpt_bigcode"), ("c_attn", "q_attn", "c_proj", "c_fc")),
    **dict.fromkeys(
        (
            "llama", "llama4_text", "mistral", "mixtral", "stablelm", "gemma", "gemma2", "gemma3_text", "qwen2",
            "qwen3",
        ),
        _LLAMA,
    ),
    "llama4": (*_LLAMA, "fc1", "fc2"),
    "phi": ("q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"),
    "phi3": ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
    **dict.fromkeys(("t5", "mt5"), _T5),
    **dict.fromkeys(("bart", "opt"), _BART),
    "blip-2": ("qkv", "projection", *_BERT, *_BART),
    "gptj": ("q_proj", "k_proj", "v_proj", "out_proj", "fc_in", "fc_out"),
    "gpt_neo": ("q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"),
    "codegen": ("qkv_proj", "out_proj", "fc_in", "fc_out"),
    "mpt": ("Wqkv", "out_proj", "up_proj", "down_proj"),
    "rwkv": ("key", "value", "receptance", "output"),
    **dict.fromkeys(("bloom", "gpt_neox", "falcon"), _BLOOM),
    **dict.fromkeys(("vit", "dinov2", "deit"), _VIT),
}  # fmt: skip


def inside_blocks(names: tuple[str, ...]) -> str:
    """Return a regular expression for modules of these names below a numbered block."""
    return rf".*\.\d+\.(.*\.)?({'|'.join(names)})"


# What PEFT looks up if a configuration names no target modules.
TARGET_MODULES: dict[str, str] = {family: inside_blocks(names) for family, names in TARGET_NAMES.items()}
