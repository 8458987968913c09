import itertools
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.tasks import N_TEST, N_VALIDATION, TASKS, TaskError, clean_tweet, get_task, normalize

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def _all(splits):
    return (splits.train, splits.validation, splits.test)


@every_task
def test_no_text_is_in_two_splits(task):
    texts = [{normalize(text) for text in split.inputs} for split in _all(task.load())]
    assert not any(a & b for a, b in itertools.combinations(texts, 2))


@every_task
def test_splits_have_fixed_sizes_and_every_label(task):
    splits = task.load()
    assert (len(splits.test), len(splits.validation)) == (N_TEST, N_VALIDATION)
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
    }
    assert task.load().test.inputs[0] == expected[task.name]


@every_task
def test_data_is_read_once_and_cannot_be_changed(task):
    assert task.load() is task.load()
    with pytest.raises(ValueError, match="read-only"):
        task.load().test.labels[0] = 0


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


def test_reading_imports_neither_of_the_data_packages():
    for task in TASKS.values():
        task.load()
        assert task.package not in sys.modules


def test_tweets_are_cleaned_and_their_quotes_repaired():
    assert clean_tweet("@united it äó»s http://t.co/x &amp; äóìlateäóù _ôÖ_ @JetBlue") == 'it \'s & "late"'


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_cleaning_leaves_ascii_without_handles_links_and_double_spaces(text):
    cleaned = clean_tweet(text)
    assert cleaned.isascii()
    assert cleaned == " ".join(cleaned.split())


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_normalizing_twice_changes_nothing_more(text):
    assert normalize(normalize(text)) == normalize(text)


def test_an_unknown_task_is_refused_with_the_names_that_exist():
    with pytest.raises(TaskError, match=r"'nothing'.*bbc_headlines, airline_tweets"):
        get_task("nothing")


def test_missing_data_is_refused_with_the_package_to_install(monkeypatch):
    from dataclasses import replace

    with pytest.raises(TaskError, match="install the package no_such_package"):
        replace(TASKS["bbc_headlines"], package="no_such_package").load()
