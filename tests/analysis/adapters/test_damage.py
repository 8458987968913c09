"""Whatever strangers upload: a sentence or a correct view, and nothing else."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from safetensors.torch import load, load_file, save, save_file
from torch import nn

import svft
from analysis.adapters.opening import open_adapter
from analysis.adapters.saved_projection import save_projection
from analysis.adapters.upload import unpack
from analysis.common.errors import AdapterError
from tests.analysis.adapters.peft_models import KINDS

LINEARS = {"query": (8, 8), "up": (12, 8)}
SIDES = LINEARS | {"gate_proj": (4, 8), "up_proj": (4, 8), "down_proj": (8, 4)}


def block() -> nn.Module:
    """Return a model that is one block of two linear layers and two fused experts."""
    model, inner = nn.Module(), nn.Module()
    for name, (out, in_) in LINEARS.items():
        inner.add_module(name, nn.Linear(in_, out, bias=False))
    inner.experts = nn.Module()
    inner.experts.gate_up_proj = nn.Parameter(torch.randn(2, 8, 8))
    inner.experts.down_proj = nn.Parameter(torch.randn(2, 8, 4))
    model.layers = nn.ModuleList([inner])
    return model


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> dict[str, dict[str, bytes]]:
    """The files of one sound adapter of every sort, and of their base."""
    root = tmp_path_factory.mktemp("sound")
    torch.manual_seed(0)
    base = block()
    (root / "base").mkdir()
    (root / "base" / "config.json").write_text('{"model_type": "llama"}')
    save_file(base.state_dict(), root / "base" / "model.safetensors")
    kinds = {**KINDS, "SVFT": lambda **where: svft.SvftConfig(pattern="random", off_diag=1, **where)}
    kinds["experts"] = lambda **where: LoraConfig(
        r=2, init_lora_weights=False, target_parameters=["experts.gate_up_proj", "experts.down_proj"], **where
    )
    targets = [f"layers.0.{name}" for name in LINEARS]
    for kind, config in kinds.items():
        model = block()
        model.load_state_dict(base.state_dict())
        get_peft_model(model, config(target_modules=targets)).save_pretrained(str(root / kind))
    shutil.copytree(root / "LoRA", root / "pickled")
    weights = root / "pickled" / "adapter_model.safetensors"
    torch.save(load_file(weights), root / "pickled" / "adapter_model.bin")
    weights.unlink()
    (root / "full").mkdir()
    (root / "full" / "config.json").write_text('{"model_type": "llama"}')
    save_file({name: t + 0.01 for name, t in base.state_dict().items()}, root / "full" / "model.safetensors")
    opened = open_adapter(root / "full", base=str(root / "base"))
    save_projection(root / "projection", opened, opened.names)
    return {
        directory.name: {file.name: file.read_bytes() for file in directory.iterdir() if file.suffix != ".md"}
        for directory in root.iterdir()
    }


def weights_of(files: dict[str, bytes]) -> str:
    return next(name for name in files if name.endswith((".safetensors", ".bin")))


def is_pickled(files: dict[str, bytes]) -> bool:
    return weights_of(files).endswith(".bin")


def config_of(files: dict[str, bytes]) -> str:
    return next(name for name in files if name.endswith(".json"))


def truncated(draw, files):
    name = weights_of(files)
    return {**files, name: files[name][: draw(st.integers(0, len(files[name]) - 1))]}


def flipped(draw, files):
    name = draw(st.sampled_from([weights_of(files), weights_of(files), config_of(files)]))
    damaged = bytearray(files[name])
    header = 8 + struct.unpack("<Q", damaged[:8])[0] if name.endswith(".safetensors") else len(damaged)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, min(header, len(damaged)) - 1))
        damaged[place] ^= 1 << draw(st.integers(0, 7))
    return {**files, name: bytes(damaged)}


def retyped(draw, files):
    """One tensor gets another shape, another type, or goes; or one is added."""
    if is_pickled(files):
        return truncated(draw, files)
    tensors = load(files[weights_of(files)])
    key = draw(st.sampled_from(sorted(tensors)))
    change = draw(st.sampled_from(["flat", "double", "half", "whole", "empty", "gone", "extra", "turned", "scalar"]))
    value = tensors[key]
    if change == "gone":
        del tensors[key]
    elif change == "extra":
        tensors[
            key
            + draw(st.sampled_from([".more", ".lora_A.weight", ".base_layer.lora_A.weight", ".oft_R", "/../x", ""]))
        ] = value.clone()
    else:
        tensors[key] = {
            "flat": lambda: value.flatten(),
            "double": lambda: torch.cat([value, value]) if value.ndim else value,
            "half": lambda: value.half(),
            "whole": lambda: value.to(torch.int64),
            "empty": lambda: value.new_zeros((0, *value.shape[1:])),
            "turned": lambda: value.T.contiguous() if value.ndim == 2 else value,
            "scalar": lambda: torch.tensor(1.0),
        }[change]()
    return {**files, weights_of(files): save({name: t.clone() for name, t in tensors.items()})}


def broken_number(draw, files):
    if is_pickled(files):
        return flipped(draw, files)
    tensors = load(files[weights_of(files)])
    key = draw(st.sampled_from(sorted(tensors)))
    value = tensors[key]
    if value.is_floating_point() and value.numel():
        number = draw(st.sampled_from([np.nan, np.inf, -np.inf, 3e38, -1.0]))
        value.view(-1)[draw(st.integers(0, value.numel() - 1))] = number
    elif value.numel():
        limits = torch.iinfo(value.dtype)
        value.view(-1)[0] = draw(st.sampled_from([limits.min, limits.max, 0]))
    return {**files, weights_of(files): save(tensors)}


def rewritten_config(draw, files):
    config = json.loads(files[config_of(files)])
    key = draw(st.sampled_from([*sorted(config), "layer_replication", "megatron_config", "target_parameters"]))
    config[key] = draw(_JSON)
    return {**files, config_of(files): json.dumps(config).encode()}


def claimed(draw, files):
    """The header claims a shape or a place that the file does not have."""
    if is_pickled(files):
        return truncated(draw, files)
    name = weights_of(files)
    size = struct.unpack("<Q", files[name][:8])[0]
    header = json.loads(files[name][8 : 8 + size])
    key = draw(st.sampled_from(sorted(set(header) - {"__metadata__"})))
    huge = draw(st.sampled_from([2**31, 2**40, 2**63, -1, 10**30]))
    if draw(st.booleans()):
        header[key]["shape"] = [huge, *header[key]["shape"][1:]]
    else:
        header[key]["data_offsets"][1] = huge
    text = json.dumps(header).encode()
    lengths = [len(text), len(text), 2**63 - 1, 2**40, 0]
    return {**files, name: struct.pack("<Q", draw(st.sampled_from(lengths))) + text + files[name][8 + size :]}


def missing(draw, files):
    gone = draw(st.sampled_from(sorted(files)))
    return {name: content for name, content in files.items() if name != gone}


def untouched(draw, files):
    return files


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["(a+)+$", "../../etc", "os.system", "pissa", "SVFT", "LORA", 10**9, 2**31, "gaussian"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
DAMAGES = (truncated, flipped, retyped, broken_number, rewritten_config, claimed, missing, untouched)


@pytest.fixture(scope="module")
def place(tmp_path_factory, sound) -> Path:
    directory = tmp_path_factory.mktemp("place")
    (directory / "base").mkdir()
    for name, content in sound["base"].items():
        (directory / "base" / name).write_bytes(content)
    return directory


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_adapter_is_an_error_in_a_sentence_or_a_correct_view(sound, place, data):
    kind = data.draw(st.sampled_from(sorted(set(sound) - {"base"})))
    files = data.draw(st.sampled_from(DAMAGES))(data.draw, sound[kind])
    directory = place / "adapter"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    try:
        adapter = open_adapter(directory, base=str(place / "base"))
        for name in adapter.names:
            matrix = adapter.matrix(name)
            assert matrix.shape == SIDES[name.rsplit(".", 1)[-1]]
            assert np.isfinite(matrix.values).all()
            assert np.isfinite(matrix.update_singular_values).all()
            assert matrix.update_norm == pytest.approx(np.linalg.norm(matrix.update_singular_values), rel=1e-6)
    except AdapterError:
        pass
    assert open_sound_base(place)


def open_sound_base(place: Path) -> bool:
    """Whether the base is as it was: nothing that is opened writes to it."""
    return set(load_file(place / "base" / "model.safetensors")) == {
        *(f"layers.0.{name}.weight" for name in LINEARS),
        "layers.0.experts.gate_up_proj",
        "layers.0.experts.down_proj",
    }


def zipped(members: list[tuple[str, bytes]], attributes: int = 0) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = attributes << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    file.seek(0)
    return file


@pytest.mark.parametrize("folder", ["", "my-adapter/", "a/b/"])
def test_an_adapter_in_a_zip_opens_wherever_it_is_in_there(sound, place, tmp_path, folder):
    members = [(folder + name, content) for name, content in sound["LoRA"].items()]
    unpack(zipped([*members, ("other.py", b"print()"), (folder + "run.sh", b"")]), tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert open_adapter(tmp_path, base=str(place / "base")).kind == "LoRA"


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../adapter_config.json", "a/../../adapter_config.json", "..\\adapter_config.json", "C:x"]
)
def test_a_member_that_points_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(AdapterError, match=r"^The zip has a member .*points outside"):
        unpack(zipped([("adapter_config.json", b"{}"), (name, b"x")]), tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_link_is_refused(tmp_path):
    with pytest.raises(AdapterError, match=r"^The zip has a link"):
        unpack(zipped([("adapter_config.json", b"/etc/passwd")], attributes=0o120777), tmp_path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setenv("SVFT_MAX_UPLOAD_MB", "1")
    with pytest.raises(AdapterError, match="SVFT_MAX_UPLOAD_MB"):
        unpack(zipped([("adapter_config.json", b"{}"), ("adapter_model.safetensors", bytes(2_000_000))]), tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_bomb_that_lies_about_its_size_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setenv("SVFT_MAX_UPLOAD_MB", "1")
    content = zipped([("adapter_config.json", b"{}"), ("adapter_model.safetensors", bytes(2_000_000))]).getvalue()
    lying = content.replace(struct.pack("<I", 2_000_000), struct.pack("<I", 1000))
    with pytest.raises(AdapterError):
        unpack(io.BytesIO(lying), tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 1_000_000


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_zip_is_an_error_in_a_sentence_or_unpacks(sound, tmp_path_factory, data):
    content = bytearray(zipped(list(sound["LoRA"].items())).getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    directory = tmp_path_factory.mktemp("zip")
    try:
        unpack(io.BytesIO(bytes(content)), directory)
    except AdapterError:
        pass
    finally:
        shutil.rmtree(directory)


def test_numbers_that_ask_for_more_memory_than_the_weight_are_refused(sound, place, tmp_path):
    for name, content in sound["LoRA"].items():
        (tmp_path / name).write_bytes(content)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    for field, value in {"r": 10**9, "rank_pattern": {"query": 10**8}, "lora_alpha": float("nan")}.items():
        (tmp_path / "adapter_config.json").write_text(json.dumps(config | {field: value}))
        with pytest.raises(AdapterError, match=f"has {field}="):
            open_adapter(tmp_path, base=str(place / "base"))


def test_a_pattern_of_names_that_could_take_for_ever_is_refused(sound, place, tmp_path):
    for name, content in sound["LoRA"].items():
        (tmp_path / name).write_bytes(content)
    config = json.loads((tmp_path / "adapter_config.json").read_text()) | {"rank_pattern": {"(l+)+$": 3}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(AdapterError, match="rank_pattern"):
        open_adapter(tmp_path, base=str(place / "base"))
