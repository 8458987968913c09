"""A person's own file becomes a table of columns, or one sentence says why not."""

import io

import numpy as np
import pandas as pd
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.common.errors import OwnDataError
from analysis.training.data import own_table
from analysis.training.data.own_data import (
    read_table,
)
from tests.analysis.training.own_files import as_parquet, read

# ---- reading

CONTENTS = {
    "commas": "text,label\nfirst,a\nsecond,b\n",
    "semicolons": "text;label\nfirst;a\nsecond;b\n",
    "tabs": "text\tlabel\nfirst\ta\nsecond\tb",
    "Windows line ends": "text,label\r\nfirst,a\r\nsecond,b\r\n",
    "blank lines": "text,label\n\nfirst,a\n\nsecond,b\n\n",
    "a byte order mark": b"\xef\xbb\xbftext,label\nfirst,a\nsecond,b\n",
    "UTF-16": "text,label\nfirst,a\nsecond,b\n".encode("utf-16"),
    "JSON lines": '{"text": "first", "label": "a"}\n\n{"label": "b", "text": "second"}\n',
    "a JSON array": '[\n  {"text": "first", "label": "a"},\n  {"label": "b", "text": "second"}\n]\n',
    "Parquet": as_parquet(pd.DataFrame({"text": ["first", "second"], "label": ["a", "b"]})),
    "Parquet with categories": as_parquet(
        pd.DataFrame({"text": ["first", "second"], "label": pd.Categorical(["a", "b"])})
    ),
}


@pytest.mark.parametrize("content", CONTENTS)
def test_every_kind_of_file_gives_the_same_table(content):
    actual = read(CONTENTS[content], "reviews")
    assert list(actual.columns) == ["text", "label"]
    assert actual.to_numpy().tolist() == [["first", "a"], ["second", "b"]]
    assert actual.attrs["name"] == "reviews"


# Those of Windows-1252 whose bytes do not continue a UTF-8 character.
LETTERS = [char for byte in (*range(0x20, 0x7F), *range(0xC0, 0x100)) for char in bytes([byte]).decode("cp1252")]


@given(texts=st.lists(st.text(LETTERS, min_size=1), min_size=1))
def test_windows_1252_is_read_as_what_it_is_and_said(texts):
    rows = [{"text": f"é {text}", "label": "ü"} for text in texts]
    content = pd.DataFrame(rows).to_csv(index=False).encode("cp1252")
    actual = read(content)
    assert actual.attrs["encoding"] == own_table.WINDOWS  # a lone é before a space is no UTF-8
    assert actual["text"].tolist() == [row["text"] for row in rows]
    assert read("text,label\né,ü\n").attrs["encoding"] == own_table.UTF_8


@settings(max_examples=50)
@given(
    rows=st.lists(
        st.tuples(st.text("abcdef ", min_size=3), st.sampled_from(["spam", "ham"])), min_size=4, max_size=30
    ),
    names=st.sampled_from([("text", "label"), ("Comment", "y"), ("what they wrote", "opinion"), ("", "id")]),
)
def test_a_header_is_told_from_an_example(rows, names):
    frame = pd.DataFrame([(f"text {i} {text}", label) for i, (text, label) in enumerate(rows)], columns=names)
    frame.iloc[:2, 1], frame.iloc[2:4, 1] = "spam", "ham"
    with_names = read(frame.to_csv(index=False))
    without = read(frame.to_csv(index=False, header=False))
    assert with_names.attrs["header"]
    assert not without.attrs["header"]
    assert list(without.columns) == ["column 1", "column 2"]
    assert without.to_numpy().tolist() == with_names.to_numpy().tolist() == frame.to_numpy().tolist()


@pytest.mark.parametrize(
    ("first", "header"),
    [
        ("a very long first text " * 5 + ",joy", False),  # no name is so long
        ("7,joy", True),  # numbers as names of columns that hold others
        ("some words,joy", True),  # nothing speaks against it
    ],
)
def test_what_a_first_row_looks_like(first, header):
    assert read(f"{first}\nfirst,a\nsecond,b\n").attrs["header"] is header


def test_numbers_over_numbers_are_no_header():
    assert not read("it was fine,1\nit was bad,2\nit was so,2\n").attrs["header"]


def test_the_guess_about_the_header_can_be_overruled():
    content = b"some words,joy\nfirst,a\nsecond,b\n"
    assert list(read_table(io.BytesIO(content), "x.csv", header=True).columns) == ["some words", "joy"]
    assert len(read_table(io.BytesIO(content), "x.csv", header=False)) == 3
    assert read('{"text": "first", "label": "a"}').attrs["header"] is None


def test_a_path_is_read_as_an_open_file_is(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text("text,label\nfirst,a\n", encoding="utf-8")
    assert read_table(path, path.name).equals(read("text,label\nfirst,a\n"))


def test_quoted_texts_may_hold_separators_quotes_and_line_breaks():
    actual = read('text,label\n"well, ""so"" they\nsay",a\n')
    assert actual["text"].tolist() == ['well, "so" they\nsay']


def test_what_looks_like_a_missing_value_in_a_csv_file_is_a_text():
    assert read("text,label\nNamibia,NA\nnobody,None\n")["label"].tolist() == ["NA", "None"]


def test_an_index_column_without_a_name_gets_one():
    assert list(read(",text,label\n0,first,a\n").columns) == ["column 1", "text", "label"]


def test_columns_of_lists_and_bytes_in_parquet_are_left_out():
    frame = pyarrow.table({"text": ["a"], "label": ["b"], "tokens": [["a"]], "image": [b"\x00"]})
    assert list(read(as_parquet(frame)).columns) == ["text", "label"]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "x.csv", "x.csv is empty"),
        (b" \n\n", "x.csv", "x.csv is empty"),
        (b"text,label\n", "x.csv", "x.csv has no rows"),
        (b",,\n", "x.csv", "x.csv has no rows"),
        (b"text\nfirst\n", "x.csv", r"one column only \(text\)"),
        (b"text,text\na,b\n", "x.csv", "two columns called 'text'"),
        (b"text,label\nfirst,a\nsecond, or so,b\n", "x.csv", "Line 3 of x.csv has 3 fields.*first has 2"),
        (b'text,label\n"first,a\n', "x.csv", "x.csv cannot be read as CSV near line 2"),
        (b'text,label\n"first"?,a\n', "x.csv", "near line 2"),
        (b"text,label\nfirst,a\ncaf\xe9\x81,b\n", "x.csv", "Line 3 of x.csv is neither UTF-8 nor Windows-1252"),
        ("text,label\ncafé,a\nnaïve,a\n".encode() + b"caf\xe9,b\n", "x.csv", "Line 4 of x.csv is neither UTF-8"),
        (b"\xff\xfea", "x.csv", "neither UTF-8"),
        (b"text,label\n\0,a\n", "x.csv", "not a text file"),
        (b"PK\x03\x04rest", "x.xlsx", "workbook or a compressed file: save the table as CSV"),
        (b"\x1f\x8brest", "x.csv.gz", "compressed"),
        (b"PAR1rest", "x.parquet", "x.parquet is a damaged Parquet file"),
        (b'{"text": "a", "label": "b"}\n{"text": \n', "x.jsonl", "Line 2 of x.jsonl is not a JSON object"),
        (b"[1]\n", "x.jsonl", "Element 1 of the JSON array in x.jsonl is not an object"),
        (b'[{"text": "a", "label": "b"},\n{"text": ]', "x.json", "x.json is a JSON array that is damaged near line 2"),
        (b'[{"text": "a"}]\n[{"text": "b"}]', "x.jsonl", "damaged near line 2"),
        (b"[" * 100_000, "x.json", "nested too deeply|damaged"),
        (b"[]", "x.json", "x.json has no rows"),
        (b"3\n", "x.jsonl", "Line 1 of x.jsonl is not a JSON object"),
        (b'{"text": ' + b"[" * 100_000, "x.jsonl", "Line 1 of x.jsonl is not a JSON object"),
        (b"\n".join(b'{"c%d": 1}' % i for i in range(101)), "x.jsonl", "101 columns, at most 100"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_a_sentence(content, name, message):
    with pytest.raises(OwnDataError, match=message) as caught:
        read(content, name)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large_is_refused_before_it_is_read_whole(monkeypatch):
    monkeypatch.setattr(own_table, "MAX_BYTES", 100)
    file = io.BytesIO(b"text,label\n" + b"first,a\n" * 1000)
    with pytest.raises(OwnDataError, match="larger than"):
        read_table(file, "x.csv")
    assert file.tell() == 101


def test_a_missing_path_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(OwnDataError, match=r"x\.csv cannot be read: No such file"):
        read_table(tmp_path / "x.csv", "x.csv")


def test_a_small_parquet_file_cannot_fill_the_memory():
    texts = pyarrow.DictionaryArray.from_arrays(np.zeros(500_000, np.int32), ["a" * 10_000])
    content = as_parquet(pyarrow.table({"text": texts, "label": np.zeros(500_000, np.int8)}))
    assert len(content) < 100_000  # stands for 5 GB
    with pytest.raises(OwnDataError, match="too large"):
        read(content, "x.parquet")


@settings(max_examples=200)
@given(content=st.binary(max_size=200), name=st.sampled_from(["x.csv", "x.jsonl", "x.parquet"]))
def test_any_bytes_give_a_table_or_a_sentence(content, name):
    try:
        actual = read_table(io.BytesIO(content), name)
    except OwnDataError:
        return
    assert len(actual) > 0
