"""Tiny models of 49 families with random weights: what people bring, small enough for a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

_SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_TEXT = _SIZES | {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_GROUPED = _TEXT | {"num_key_value_heads": 2, "max_position_embeddings": 64}
_IMAGES = _SIZES | {"image_size": 16, "patch_size": 8}
_GPT2 = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": 1,
         "eos_token_id": 2, "pad_token_id": 0}  # fmt: skip
_SEQ2SEQ = {
    "vocab_size": 64, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "forced_eos_token_id": 2,
}  # fmt: skip
_SPEECH = _SIZES | {
    "vocab_size": 32, "conv_dim": (16, 16), "conv_kernel": (4, 4), "conv_stride": (2, 2),
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
_TWO_HALVES = {"text_config": _TEXT | {"max_position_embeddings": 16}, "vision_config": _IMAGES}

# Family -> class, and the values of its configuration.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    # encoders of text
    "bert": ("BertForSequenceClassification", _TEXT),
    "roberta": ("RobertaForSequenceClassification", _TEXT),
    "xlm-roberta": ("XLMRobertaForSequenceClassification", _TEXT),
    "distilbert": (
        "DistilBertForSequenceClassification",
        {"vocab_size": 64, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    ),
    "albert": ("AlbertForSequenceClassification", _TEXT | {"embedding_size": 16}),
    "electra": ("ElectraForSequenceClassification", _TEXT | {"embedding_size": 16}),
    "deberta-v2": (
        "DebertaV2ForSequenceClassification",
        _TEXT | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8},
    ),
    "mpnet": ("MPNetForSequenceClassification", _TEXT),
    "modernbert": ("ModernBertForSequenceClassification", _TEXT | {"cls_token_id": 1, "sep_token_id": 2}),
    # decoders of text
    "gpt2": ("GPT2ForSequenceClassification", _GPT2),
    "gpt_neo": (
        "GPTNeoForCausalLM",
        {"vocab_size": 64, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "intermediate_size": 48,
         "attention_types": [[["global", "local"], 1]], "max_position_embeddings": 64, "bos_token_id": 1,
         "eos_token_id": 2},
    ),
    "gpt_neox": ("GPTNeoXForSequenceClassification", _TEXT),
    "gptj": ("GPTJForCausalLM", _GPT2 | {"rotary_dim": 4}),
    "llama": ("LlamaForCausalLM", _GROUPED),
    "mistral": ("MistralForCausalLM", _GROUPED),
    "mixtral": ("MixtralForCausalLM", _GROUPED | {"num_local_experts": 4}),
    "qwen2": ("Qwen2ForCausalLM", _GROUPED),
    "qwen3": ("Qwen3ForCausalLM", _GROUPED | {"head_dim": 8}),
    "qwen3_moe": (
        "Qwen3MoeForCausalLM",
        _GROUPED | {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    ),
    "gpt_oss": ("GptOssForCausalLM", _GROUPED | {"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "gemma2": ("Gemma2ForCausalLM", _GROUPED | {"head_dim": 8}),
    "gemma3_text": ("Gemma3ForCausalLM", _GROUPED | {"head_dim": 8}),
    "phi3": ("Phi3ForCausalLM", _GROUPED | {"original_max_position_embeddings": 64}),
    "opt": (
        "OPTForCausalLM",
        {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 48,
         "word_embed_proj_dim": 32, "max_position_embeddings": 64},
    ),
    "bloom": ("BloomForCausalLM", {"vocab_size": 64, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "falcon": (
        "FalconForCausalLM",
        {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "bos_token_id": 1,
         "eos_token_id": 2},
    ),
    "mpt": ("MptForCausalLM", {"vocab_size": 64, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 32}),
    "starcoder2": ("Starcoder2ForCausalLM", _GROUPED),
    "granite": ("GraniteForCausalLM", _GROUPED),
    "mamba": ("MambaForCausalLM", {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
    # encoders and decoders
    "t5": (
        "T5ForConditionalGeneration",
        {"vocab_size": 64, "d_model": 32, "d_ff": 48, "num_layers": 2, "num_heads": 4, "d_kv": 8},
    ),
    "bart": ("BartForConditionalGeneration", _SEQ2SEQ | {"max_position_embeddings": 64}),
    "pegasus": ("PegasusForConditionalGeneration", _SEQ2SEQ | {"max_position_embeddings": 64}),
    "whisper": (
        "WhisperForConditionalGeneration",
        _SEQ2SEQ | {"max_source_positions": 20, "max_target_positions": 20, "num_mel_bins": 8},
    ),
    # images
    "vit": ("ViTForImageClassification", _IMAGES),
    "deit": ("DeiTForImageClassification", _IMAGES),
    "beit": ("BeitForImageClassification", _IMAGES),
    "dinov2": (
        "Dinov2ForImageClassification",
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "mlp_ratio": 2, "image_size": 16,
         "patch_size": 8},
    ),
    "swin": (
        "SwinForImageClassification",
        {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4],
         "window_size": 4},
    ),
    "convnext": ("ConvNextForImageClassification", {"hidden_sizes": [16, 32], "depths": [1, 1], "num_stages": 2}),
    "imagegpt": ("ImageGPTForImageClassification", _GPT2),
    # texts and images
    "clip": ("CLIPModel", _TWO_HALVES | {"projection_dim": 16}),
    "siglip": ("SiglipModel", _TWO_HALVES),
    "llava": (
        "LlavaForConditionalGeneration",
        {"text_config": _GROUPED | {"model_type": "llama"}, "vision_config": _IMAGES | {"model_type":
         "clip_vision_model"}, "image_token_id": 60},
    ),
    "gemma3": (
        "Gemma3ForConditionalGeneration",
        {"text_config": _GROUPED | {"head_dim": 8}, "vision_config": _IMAGES | {"model_type": "siglip_vision_model"},
         "mm_tokens_per_image": 4, "image_token_id": 60, "boi_token_id": 61, "eoi_token_id": 62},
    ),
    "qwen2_vl": (
        "Qwen2VLForConditionalGeneration",
        {"text_config": _GROUPED | {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2],
         "rope_theta": 1e4}}, "vision_config": {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4,
         "mlp_ratio": 2, "patch_size": 14}, "image_token_id": 60, "video_token_id": 61, "vision_start_token_id": 58,
         "vision_end_token_id": 59},
    ),
    "vision-encoder-decoder": (
        "VisionEncoderDecoderModel",
        {"encoder": _IMAGES | {"model_type": "vit"}, "decoder": _GPT2 | {"model_type": "gpt2",
         "add_cross_attention": True, "is_decoder": True}},
    ),
    # speech
    "wav2vec2": ("Wav2Vec2ForCTC", _SPEECH),
    "hubert": ("HubertForCTC", _SPEECH),
}  # fmt: skip


def maker(family: str) -> Callable[[], PreTrainedModel]:
    """Return what builds the same model of a family each time, without a weight that is zero."""
    name, values = FAMILIES[family]
    model_class = getattr(transformers, name)

    def make() -> PreTrainedModel:
        torch.manual_seed(0)
        model = model_class(model_class.config_class(**values)).eval()
        return noisy(model, 0.02, seed=9)

    return make


def noisy(model: PreTrainedModel, scale: float, seed: int) -> PreTrainedModel:
    """Return the model with noise on every parameter, as if it were trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)
    return model
