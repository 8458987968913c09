"""A person's own file becomes a task, or one sentence says why not."""

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.common.errors import OwnDataError, TaskError
from analysis.training import tasks
from analysis.training.data.own_data import (
    MAX_CLASSES,
    MIN_ROWS,
    RARE,
    OwnData,
    check,
    load,
    register,
    split_sizes,
    suggest_columns,
)
from analysis.training.specification import TrainingSpec
from analysis.training.tasks import get_task, normalize
from tests.analysis.training.own_files import read, table


@pytest.fixture(autouse=True)
def forget_registered_tasks(monkeypatch):
    monkeypatch.setattr(tasks, "_own_tasks", {})


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
    code = "import sys; import analysis.training.data.own_data; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
