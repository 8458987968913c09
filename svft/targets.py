"""Default target modules: the linear layers inside the blocks, for the families of models that PEFT knows."""

from __future__ import annotations


def _inside_blocks(*names: str) -> str:
    """Return a regular expression for modules of these names below a numbered block."""
    return rf".*\.\d+\.(.*\.)?({'|'.join(names)})"


_BERT = _inside_blocks("query", "key", "value", "dense")
_LLAMA = _inside_blocks("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_BART = _inside_blocks("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
_T5 = _inside_blocks("q", "k", "v", "o", "wi", "wi_0", "wi_1", "wo")
_BLOOM = _inside_blocks("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")
_GPT2 = _inside_blocks("c_attn", "q_attn", "c_proj", "c_fc")

TARGET_MODULES: dict[str, str] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "electra", "layoutlm", "camembert", "mpnet"), _BERT),
    "deberta": _inside_blocks("in_proj", "pos_proj", "pos_q_proj", "dense"),
    "deberta-v2": _inside_blocks("query_proj", "key_proj", "value_proj", "dense"),
    "distilbert": _inside_blocks("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"),
    **dict.fromkeys(("gpt2", "gpt_bigcode"), _GPT2),
    **dict.fromkeys(
        (
            "llama", "mistral", "mixtral", "stablelm", "gemma", "gemma2", "gemma3_text", "qwen2", "qwen3",
        ),
        _LLAMA,
    ),
    "phi": _inside_blocks("q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"),
    "phi3": _inside_blocks("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
    **dict.fromkeys(("t5", "mt5"), _T5),
    **dict.fromkeys(("bart", "opt"), _BART),
    "gptj": _inside_blocks("q_proj", "k_proj", "v_proj", "out_proj", "fc_in", "fc_out"),
    "gpt_neo": _inside_blocks("q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"),
    **dict.fromkeys(("bloom", "gpt_neox", "falcon"), _BLOOM),
    **dict.fromkeys(("vit", "dinov2", "deit"), _inside_blocks("query", "key", "value", "dense", "fc1", "fc2")),
}  # fmt: skip
