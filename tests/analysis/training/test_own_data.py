"""A person's own file becomes a task, or one sentence says why not."""

import io
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from analysis.common.errors import OwnDataError, TaskError
from analysis.training import own_table, tasks
from analysis.training.own_data import (
    MAX_CLASSES,
    MIN_ROWS,
    RARE,
    OwnData,
    check,
    load,
    read_table,
    register,
    split_sizes,
    suggest_columns,
)
from analysis.training.specification import TrainingSpec
from analysis.training.tasks import get_task, normalize


@pytest.fixture(autouse=True)
def forget_registered_tasks(monkeypatch):
    monkeypatch.setattr(tasks, "_own_tasks", {})


def table(n: int = 300, labels=("bad", "good"), **columns) -> pd.DataFrame:
    """Return a table of `n` distinct texts whose labels take turns."""
    return pd.DataFrame({"text": [f"text {i}" for i in range(n)], "label": (list(labels) * n)[:n]} | columns)


def read(content: str | bytes, name: str = "reviews.csv") -> pd.DataFrame:
    return read_table(io.BytesIO(content.encode() if isinstance(content, str) else content), name)


def as_parquet(frame: pd.DataFrame | pyarrow.Table) -> bytes:
    file = io.BytesIO()
    parquet.write_table(frame if isinstance(frame, pyarrow.Table) else pyarrow.Table.from_pandas(frame), file)
    return file.getvalue()


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
    found = read(CONTENTS[content], "reviews")
    assert list(found.columns) == ["text", "label"]
    assert found.to_numpy().tolist() == [["first", "a"], ["second", "b"]]
    assert found.attrs["name"] == "reviews"


# Those of Windows-1252 whose bytes do not continue a UTF-8 character.
LETTERS = [char for byte in (*range(0x20, 0x7F), *range(0xC0, 0x100)) for char in bytes([byte]).decode("cp1252")]


@given(texts=st.lists(st.text(LETTERS, min_size=1), min_size=1))
def test_windows_1252_is_read_as_what_it_is_and_said(texts):
    rows = [{"text": f"é {text}", "label": "ü"} for text in texts]
    content = pd.DataFrame(rows).to_csv(index=False).encode("cp1252")
    found = read(content)
    assert found.attrs["encoding"] == own_table.WINDOWS  # a lone é before a space is no UTF-8
    assert found["text"].tolist() == [row["text"] for row in rows]
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
    found = read('text,label\n"well, ""so"" they\nsay",a\n')
    assert found["text"].tolist() == ['well, "so" they\nsay']


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
        found = read_table(io.BytesIO(content), name)
    except OwnDataError:
        return
    assert len(found) > 0


# ---- choosing columns


def test_columns_are_suggested_by_their_names():
    frame = table(
        notes=[f"a long remark about row {i}, longer than its text" for i in range(300)], flag=["x", "y"] * 150
    )
    assert suggest_columns(frame) == ("text", "label")


def test_without_telling_names_the_longest_texts_and_the_fewest_classes_are_suggested():
    frame = table(rows=[i % 40 for i in range(300)], key=[f"k{i}" for i in range(300)])
    frame = frame.rename(columns={"text": "c", "label": "d"})
    assert suggest_columns(frame) == ("c", "d")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"a": ["1", "2"], "b": [1, 2]}), "no column of texts; it has a, b"),
        (pd.DataFrame({"a": ["x", "y"], "b": [0.5, 0.7], "c": [1, 1]}), "no column of labels beside 'a'"),
    ],
)
def test_a_table_without_such_columns_is_refused(frame, message):
    with pytest.raises(OwnDataError, match=message):
        suggest_columns(frame)


# ---- checking


def test_what_is_dropped_is_counted_with_its_reason():
    frame = table()
    extra = [
        ("", "good"), (None, "good"), ("  ", "bad"), ("no label", ""), ("no label", np.nan), ("?!", "bad"),
        ("  Text, 0 ", "bad"), ("twice", "bad"), ("Twice!", "good"), ("TWICE", "good"), ("torn", "bad"),
        ("torn", "good"),
    ]  # fmt: skip
    data = check(pd.concat([frame, pd.DataFrame(extra, columns=["text", "label"])]), "text", "label")
    assert data.dropped == {
        "no text": 3,
        "no label": 2,
        "no letter or digit in the text": 1,
        "a duplicate text": 4,
        "the same text with different labels, none in the majority": 1,
    }
    assert data.rows == 312 == len(data.pairs) + sum(data.dropped.values())
    pairs = dict(data.pairs)
    assert pairs["twice"] == "good"
    assert "torn" not in pairs
    assert data.counts == {"bad": 150, "good": 151}


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([1, 2, 10], ("1", "2", "10")),
        ([1.0, 2.0, np.nan], ("1", "2")),
        (["10", "9", "-1"], ("-1", "9", "10")),
        ([True, False], ("False", "True")),
        ([np.bool_(True), np.int64(3)], ("3", "True")),
        ([" b ", "a"], ("a", "b")),
        (["=1+1", "<b>x</b>"], ("<b>x</b>", "=1+1")),
    ],
)
def test_labels_may_be_names_whole_numbers_or_true_and_false(values, labels):
    frame = table()
    frame["label"] = pd.Series((values * 300)[:300], dtype=object)
    assert check(frame, "text", "label").labels == labels


@pytest.mark.parametrize("value", [0.37, {"a": 1}, [1], pd.Timestamp("2020-01-01"), float("inf")])
def test_other_labels_are_refused(value):
    frame = table()
    frame["label"] = [value] * 300
    with pytest.raises(OwnDataError, match=r"'label' holds .* which is not a label"):
        check(frame, "text", "label")


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        ("nowhere", "label", "no column 'nowhere'; it has text, label"),
        ("text", "text", "same column"),
        ("number", "label", "'number' holds numbers, not texts"),
        ("digits", "label", "'digits' holds numbers, not texts"),
        ("empty", "label", "'empty' holds nothing, not texts"),
        ("mixed", "label", "'mixed' holds values such as"),
        ("text", "text2", "300 different labels, at most 50"),
    ],
)
def test_columns_that_do_not_suit_are_refused(text, label, message):
    frame = table(
        number=range(300),
        digits=[f"{i},5" for i in range(300)],
        empty=[None] * 300,
        mixed=[["a"]] * 300,
        text2=[f"t{i}" for i in range(300)],
    )
    with pytest.raises(OwnDataError, match=message):
        check(frame, text, label)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (table(MIN_ROWS - 1), f"149 distinct labelled texts, at least {MIN_ROWS}"),
        (table(labels=["only"]), "label 'only': at least two"),
        (table(labels=["a"] * 29 + ["b"]), r"at least 20 texts; too rare: b \(10\)\."),
        (table(1000, labels=list(map(str, range(MAX_CLASSES + 1)))), "51 different labels"),
        (table(600, labels=list(map(str, range(MAX_CLASSES)))), r"too rare: 0 \(12\), 1 \(12\), 2 \(12\) and 47 more"),
    ],
)
def test_too_few_rows_or_classes_are_refused(frame, message):
    with pytest.raises(OwnDataError, match=message):
        check(frame, "text", "label")


@given(counts=st.lists(st.integers(1, 120), min_size=2, max_size=70))
@settings(max_examples=50)
def test_rare_labels_are_left_out_and_counted_or_what_is_left_is_refused(counts):
    rows = [(f"text {label} {i}", f"label {label}") for label, count in enumerate(counts) for i in range(count)]
    common = [count for count in counts if count >= 20]
    try:
        data = check(pd.DataFrame(rows, columns=["text", "label"]), "text", "label", drop_rare=True)
    except OwnDataError:
        assert len(common) < 2 or sum(common) < MIN_ROWS or len(common) > MAX_CLASSES
        return
    assert sorted(data.counts.values()) == sorted(common)
    assert data.dropped.get(RARE, 0) == sum(counts) - sum(common)


def test_the_title_is_the_name_of_the_file():
    content = table().to_csv(index=False)
    assert check(read(content, "my reviews.csv"), "text", "label").title == "my reviews.csv"


# ---- as a task


def test_the_task_is_found_by_its_name_once_it_is_registered():
    data = check(table(), "text", "label")
    with pytest.raises(TaskError, match=f"{data.name}' is not here.*Choose the same file"):
        get_task(data.name)
    task = register(data)
    assert get_task(data.name) is task
    assert register(OwnData.from_bytes(data.to_bytes())) is task  # a worker registers it at every turn
    assert (task.kind, task.labels) == ("text", ("bad", "good"))


def test_a_specification_of_it_can_be_resolved():
    data = check(table(), "text", "label")
    register(data)
    spec = TrainingSpec(data.name, "plain").resolved()
    assert spec.examples == len(get_task(data.name).load().train)


@settings(max_examples=20)
@given(n=st.integers(MIN_ROWS, 4000))
def test_splits_have_the_documented_sizes_and_hold_every_text_once(n):
    data = check(table(n), "text", "label")
    splits = data.task().load()
    assert (len(splits.test), len(splits.validation)) == split_sizes(n)
    assert 50 <= len(splits.test) <= 800
    assert 25 <= len(splits.validation) <= 400
    assert len(splits.train) >= n // 2
    texts = [text for split in (splits.train, splits.validation, splits.test) for text in split.inputs]
    assert Counter(texts) == Counter(text for text, _ in data.pairs)
    assert all(
        data.labels[label] == dict(data.pairs)[text] for text, label in zip(splits.test.inputs, splits.test.labels)
    )


def test_name_and_splits_depend_on_neither_the_order_of_the_rows_nor_the_files_name():
    frame = table()
    shuffled = frame.sample(frac=1, random_state=0)
    shuffled.attrs["name"] = "other.csv"
    first, second = check(frame, "text", "label"), check(shuffled, "text", "label")
    assert first.name == second.name
    assert first.task().load().test.inputs == second.task().load().test.inputs


def test_other_texts_or_labels_have_another_name():
    names = {check(frame, "text", "label").name for frame in (table(), table(301), table(labels=("good", "bad")))}
    assert len(names) == 3


# ---- keeping it

awkward = st.text(st.characters(codec="utf-8"), min_size=1).filter(normalize)


@settings(max_examples=50)
@given(pairs=st.lists(st.tuples(awkward, awkward), max_size=5), title=awkward)
def test_data_survive_bytes(pairs, title):
    data = OwnData(title, tuple(pairs), len(pairs), {"no text": 3})
    again = OwnData.from_bytes(data.to_bytes())
    assert again == data
    assert again.name == data.name


def test_half_characters_as_json_can_carry_them_are_replaced():
    lines = [json.dumps({"text": f"text {i} \ud800", "label": "a\udc00" if i % 2 else "b"}) for i in range(200)]
    data = check(read("\n".join(lines), "x.jsonl"), "text", "label")
    assert OwnData.from_bytes(data.to_bytes()) == data
    assert data.labels == ("a?", "b")


def test_saved_data_are_found_by_their_name(tmp_path):
    data = check(table(), "text", "label")
    path = data.save(tmp_path)
    assert path.name == f"{data.name}.jsonl"
    assert list(tmp_path.iterdir()) == [path]
    assert load(tmp_path, data.name) == data


def test_saved_data_that_are_missing_changed_or_elsewhere_are_refused(tmp_path):
    data = check(table(), "text", "label")
    with pytest.raises(OwnDataError, match="are not here"):
        load(tmp_path, data.name)
    with pytest.raises(OwnDataError, match="are not here"):
        load(tmp_path, "../own-000000000000")
    path = data.save(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"text 7", b"text seven"))
    with pytest.raises(OwnDataError, match="was changed"):
        load(tmp_path, data.name)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]\n", b'{"title": "a", "rows": 1, "dropped": {}}\n{"text": 1, "label": "a"}\n', b"\xff"]
)
def test_bytes_of_something_else_are_refused(content):
    with pytest.raises(OwnDataError, match="choose the original file again"):
        OwnData.from_bytes(content)


def test_reading_and_checking_do_not_load_torch():
    code = "import sys; import analysis.training.own_data; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
