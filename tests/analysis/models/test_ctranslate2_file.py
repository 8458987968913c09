"""Reading CTranslate2's model.bin: a tiny one written here, and damaged ones."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.common.errors import BaseModelError
from analysis.models.packed.ctranslate2_file import CTranslate2File

WEIGHTS = {
    "encoder/conv/weight": np.arange(24, dtype="<f2").reshape(2, 4, 3),
    "encoder/norm/gamma": np.array([0.5, -1.5], "<f4"),
    "encoder/num_heads": np.array(6, "<i2"),
}
TYPES = {"<f4": 0, "|i1": 1, "<i2": 2, "<i4": 3, "<f2": 4}


def text(name: str) -> bytes:
    return struct.pack("<H", len(name) + 1) + name.encode() + b"\0"


def packed(weights: dict[str, np.ndarray], version: int = 6) -> bytes:
    parts = [struct.pack("<I", version), text("WhisperSpec"), struct.pack("<II", 3, len(weights))]
    for name, array in weights.items():
        shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        parts += [text(name), shape, struct.pack("<BI", TYPES[array.dtype.str], array.nbytes), array.tobytes()]
    return b"".join([*parts, struct.pack("<I", 1), text("b"), text("a")])  # a second name at the end


def written(directory: Path, content: bytes) -> Path:
    file = directory / "model.bin"
    file.write_bytes(content)
    return file


def test_names_shapes_types_and_numbers_are_read(tmp_path):
    file = CTranslate2File(written(tmp_path, packed(WEIGHTS)))
    assert file.kind == "WhisperSpec"
    assert file.shapes == {name: array.shape for name, array in WEIGHTS.items()}
    for name, array in WEIGHTS.items():
        assert file.read(name).dtype == array.dtype
        assert np.array_equal(file.read(name), array)


def test_a_weight_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BaseModelError, match="has no weight decoder/x"):
        CTranslate2File(written(tmp_path, packed(WEIGHTS))).read("decoder/x")


def test_a_file_of_another_version_and_none_at_all_are_refused(tmp_path):
    with pytest.raises(BaseModelError, match="does not begin with version 6"):
        CTranslate2File(written(tmp_path, packed(WEIGHTS, version=5)))
    with pytest.raises(BaseModelError, match="cannot be read as a model of CTranslate2"):
        CTranslate2File(tmp_path / "nothing.bin")


def test_a_size_that_contradicts_the_shape_is_refused(tmp_path):
    content = packed({"w": np.zeros(4, "<f4")}).replace(struct.pack("<BI", 0, 16), struct.pack("<BI", 0, 12))
    with pytest.raises(BaseModelError, match=r"w of shape \(4,\) has 12 bytes"):
        CTranslate2File(written(tmp_path, content))


END = len(packed(WEIGHTS)) - len(struct.pack("<I", 1) + text("b") + text("a"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, END - 1))
def test_a_file_that_is_cut_short_anywhere_is_refused_with_a_sentence(tmp_path, cut):
    with pytest.raises(BaseModelError, match="install its package again"):
        CTranslate2File(written(tmp_path, packed(WEIGHTS)[:cut]))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path, content, begins_well):
    head = packed({})[:21] if begins_well else b""
    with suppress(BaseModelError):
        CTranslate2File(written(tmp_path, head + content))
