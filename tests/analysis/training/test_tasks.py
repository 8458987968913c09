import itertools
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.common.errors import TaskError
from analysis.training.tasks import TASKS, by_majority, clean_tweet, get_task, normalize, sort_key

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def _all(splits):
    return (splits.train, splits.validation, splits.test)


@every_task
def test_no_input_is_in_two_splits(task):
    digests = [{sort_key(item)[0] for item in split.inputs} for split in _all(task.load())]
    assert not any(a & b for a, b in itertools.combinations(digests, 2))


def test_texts_that_differ_in_case_and_marks_only_are_the_same():
    assert sort_key("Well, so?")[0] == sort_key("well so")[0] != sort_key("well")[0]


@every_task
def test_splits_have_fixed_sizes_and_every_label(task):
    splits = task.load()
    assert (len(splits.test), len(splits.validation)) == (task.n_test, task.n_validation)
    assert len(splits.train) >= task.examples
    for split in _all(splits):
        assert len(split.inputs) == len(split.labels)
        assert set(split.labels) == set(range(len(task.labels)))


@every_task
def test_splits_are_the_same_in_every_run(task):
    # The first test texts, written down: whoever changes the cleaning changes what all accuracies mean.
    expected = {
        "bbc_headlines": "Kluft impressed by Sotherton form",
        "airline_tweets": "can you speed up your flight from AZ to Omaha? I need to see muh boy",
        "digits": [16, 14, 12, 15, 0, 0, 0, 0],  # its third row of pixels
        "spoken_digits": [1575, 3969, 3452, -1987, -415, 662],  # samples from its middle
    }
    first = task.load().test.inputs[0]
    shown = {"text": lambda: first, "image": lambda: first[2].tolist(), "audio": lambda: first[4800:4806].tolist()}
    assert shown[task.kind]() == expected[task.name]


@every_task
def test_data_is_read_once_and_cannot_be_changed(task):
    assert task.load() is task.load()
    with pytest.raises(ValueError, match="read-only"):
        task.load().test.labels[0] = 0
    if task.kind != "text":
        with pytest.raises(ValueError, match="read-only"):
            task.load().test.inputs[0] = 0


def test_bbc_has_its_2096_distinct_headlines_of_5_topics():
    splits = TASKS["bbc_headlines"].load()
    texts = [text for split in _all(splits) for text in split.inputs]
    assert len(texts) == len(set(texts)) == 2096
    assert any("£" in text for text in texts)
    assert not any("\ufffd" in text for text in texts)


def test_airline_tweets_are_the_airline_part_alone_without_handles_links_and_duplicates():
    splits = TASKS["airline_tweets"].load()
    texts = [text for split in _all(splits) for text in split.inputs]
    assert len(texts) == 14147
    assert all(text.isascii() for text in texts)
    assert not any("http://" in text or "https://" in text or "&amp;" in text for text in texts)
    assert max(Counter(map(normalize, texts)).values()) == 1
    # The other parts of the corpus are about self-driving cars, Coachella and Apple.
    subjects = ("driverless", "self-driving", "coachella")
    assert not any(subject in text.lower() for text in texts for subject in subjects)
    labels = np.bincount(np.concatenate([split.labels for split in _all(splits)]))
    assert labels.argmax() == 0  # people write to airlines to complain


def test_reading_imports_none_of_the_data_packages_nor_torch():
    code = (
        "import sys; from analysis.training.tasks import TASKS; [task.load() for task in TASKS.values()];"
        "packages = {task.package for task in TASKS.values()} - {'analysis'};"
        "assert not {'torch', *packages} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_majority_labels_a_repeated_text_and_a_tie_leaves_it_out():
    pairs = [("A b", "x"), ("c", "y"), ("a, b", "z"), ("a b!", "z"), ("d", "x"), ("D", "y")]
    assert by_majority(pairs) == ([("A b", "z"), ("c", "y")], 1)


def test_tweets_are_cleaned_and_their_quotes_repaired():
    assert clean_tweet("@united it äó»s http://t.co/x &amp; äóìlateäóù _ôÖ_ @JetBlue") == 'it \'s & "late"'


@settings(max_examples=50)
@given(st.text())
def test_cleaning_leaves_ascii_without_handles_links_and_double_spaces(text):
    cleaned = clean_tweet(text)
    assert cleaned.isascii()
    assert cleaned == " ".join(cleaned.split())


@settings(max_examples=50)
@given(st.text())
def test_normalizing_twice_changes_nothing_more(text):
    assert normalize(normalize(text)) == normalize(text)


def test_an_unknown_task_is_refused_with_the_names_that_exist():
    with pytest.raises(TaskError, match=f"'nothing'.*{', '.join(TASKS)}"):
        get_task("nothing")


@every_task
def test_missing_data_is_refused_with_the_package_to_install(task, tmp_path, monkeypatch):
    with pytest.raises(TaskError, match="no_such_package is not installed"):
        replace(task, package="no_such_package").load()
    monkeypatch.setattr(
        "analysis.training.tasks.package_directory", lambda package: tmp_path
    )  # a damaged installation
    with pytest.raises(TaskError, match=f"{task.package} is not installed"):
        replace(task, title="another").load()
