"""The result of a study: verdict, bet, figures, examples, tables, and what was trained."""

import base64
import io
import zipfile

import pandas as pd
import pytest
import streamlit as st
from PIL import Image

from analysis.training.tasks import get_task
from analysis.trials.bets import score_bet
from analysis.trials.files import StudyFile
from analysis.trials.results import disagreements, paired_differences, summarize
from analysis.trials.study import Study
from analysis.trials.verdict import forgetting_sentence, verdict
from app import trials
from app.views.race import results
from tests.app.jobs_here import compute_nothing
from tests.app.studies import add_study

ME = "0" * 32
METHODS = ("head_only", "plain", "banded", "random", "lora", "full")
ONE_SEED = Study("bbc_headlines", METHODS, budgets=(41_472,), steps=20, examples=16, evaluate_every=10)
SEEDS = Study("bbc_headlines", METHODS, budgets=(41_472,), seeds=(0, 1, 2), steps=20, examples=16, evaluate_every=10)
BANDED, LORA = "SVFT banded d=1", "LoRA r=1"
TRUTH = get_task("bbc_headlines").load().test.labels


@pytest.fixture(autouse=True)
def me(monkeypatch, no_workers):
    monkeypatch.setattr(type(st.context), "cookies", {"svft-visitor": ME})
    results._committed.clear()


SECTIONS = ("words", "differences", "price", "ranks", "forgetting", "film", "agreement", "table", "adapters")


@pytest.fixture
def race(race):
    """The page with some of its sections open: `SECTIONS` has all of them."""

    def visit(*sections, **query):
        return race(opened=sections, **query)

    return visit


def add(study=SEEDS, **options):
    return add_study(trials.store(), study, owner=ME, **options)


def alt(test, beginning):
    """Return the alternative text of the figure whose text begins like this."""
    (actual,) = [chart.proto.alt for chart in test.get("plotly_chart") if chart.proto.alt.startswith(beginning)]
    return actual


def headers(test):
    return [header.value for header in test.header]


def words(test):
    return "\n".join(element.value for element in (*test.markdown, *test.caption))


def table(test, column):
    """Return the table that has this column."""
    (actual,) = [element.value for element in test.dataframe if column in element.value]
    return actual


# ---- the verdict


def test_the_verdict_comes_first_in_words(race):
    id = add()
    actual = trials.store().results(id)
    written = verdict(summarize(actual, TRUTH), actual, TRUTH)
    test = race("words", study=id)
    assert not test.exception
    assert headers(test)[0] == written.headline
    assert all(detail in words(test) for detail in written.details)


def test_the_bet_is_scored(race):
    bet = {"winner": "SVFT plain", "margin": "over 3 points"}
    id = add(bet=bet)
    written = score_bet(bet, trials.store().results(id), TRUTH).sentence
    shown = words(race(study=id))
    assert "Your bet: SVFT plain, by over 3 points." in shown
    assert written in shown


def test_one_click_runs_the_seeds_that_are_needed(race):
    id = add(ONE_SEED)
    test = race(study=id)
    assert "One seed: intervals cover the test examples only." in words(test)
    assert test.button(key="add-seeds").label == "Run 1 more seed"
    test.button(key="add-seeds").click().run()
    assert not test.exception
    record = trials.store().study(id)
    assert (record.study.seeds, record.state) == ((0, 1), "queued")
    assert [element.trial.spec.seed for element in trials.store().trials(id)] == [0] * 6 + [1] * 6


def test_a_clear_verdict_of_several_seeds_asks_for_no_more(race):
    test = race(study=add())
    assert "One seed" not in words(test)
    assert not [button for button in test.button if button.key == "add-seeds"]


def test_another_visitor_reads_but_changes_nothing(race):
    test = race("adapters", study=add_study(trials.store(), ONE_SEED, owner="someone else"))
    assert headers(test)
    keys = [button.key for button in test.button]
    assert "explore-best" in keys
    assert not {"add-seeds", "adapters-delete-now"} & set(keys)


# ---- figures


def test_accuracy_and_recovered_performance_stand_against_parameters(race):
    test = race(study=add())
    assert "SVFT plain, 13,824 parameters" in alt(test, "Test accuracy against trained parameters")
    test.button_group(key="budget-measure").set_value("recovered").run()
    assert not test.exception
    assert "SVFT plain, 13,824 parameters" in alt(test, "Recovered performance against trained parameters")


def test_the_reference_of_the_differences_is_the_nearest_lora_until_another_is_chosen(race):
    id = add()
    test = race("differences", study=id)
    assert alt(test, f"Differences in accuracy from {LORA}")
    test.selectbox(key="forest-reference").set_value("SVFT plain").run()
    shown = alt(test, "Differences in accuracy from SVFT plain")
    for row in paired_differences(trials.store().results(id), TRUTH, "SVFT plain").itertuples():
        assert (row.label in shown) == (row.method != "head_only")


def test_the_price_is_beside_the_smallest_lora_and_says_how_it_was_measured(race):
    test = race("price", study=add())
    assert f"{LORA} = 1" in alt(test, "Time and peak memory of a training step")
    assert "Memory is counted, not sampled" in words(test)


def test_a_study_whose_cost_was_not_measured_says_so(race):
    id = add()
    trials.store().set_cost(id, pd.DataFrame({"label": []}))
    with trials.store()._writing() as connection:
        connection.execute("UPDATE studies SET cost = NULL")
    test = race("price", study=id)
    assert not test.exception
    assert "was not measured" in words(test)


def test_rank_and_the_film_of_training_are_there(race):
    test = race("ranks", "film", study=add())
    assert alt(test, "Rank of the update")
    film = alt(test, "Film of the")
    assert "at 3 evaluations, from step 0 to 20" in film
    assert "Above, the accuracy of each trial" in film


def test_the_committed_study_of_the_task_stands_behind(race, monkeypatch):
    other = add(Study("bbc_headlines", ("head_only", "plain", "lora", "full"), budgets=(124_416,), seeds=(0, 1)))
    id = add()
    file = StudyFile(trials.store().study(other).study, trials.store().results(other), None, "")
    monkeypatch.setattr(trials, "committed", lambda: {"bbc_headlines": file})
    test = race(*SECTIONS, study=id)
    assert not test.exception
    (figure,) = [chart for chart in test.get("plotly_chart") if chart.proto.alt.startswith("Test accuracy against")]
    assert "shipped study, 2 seeds" in figure.proto.spec


def test_a_committed_study_of_another_base_does_not(race, monkeypatch):
    other, id = add(ONE_SEED), add()
    study = trials.store().study(other).study
    file = StudyFile(Study(**{**study.to_dict(), "base": "someone/else"}), trials.store().results(other), None, "")
    monkeypatch.setattr(trials, "committed", lambda: {"bbc_headlines": file})
    test = race(study=id)
    assert "shipped study" not in "".join(chart.proto.spec for chart in test.get("plotly_chart"))


# ---- where two disagree


def test_the_examples_are_those_that_two_configurations_answer_differently(race):
    id = add()
    test = race("agreement", study=id)
    task = get_task("bbc_headlines")
    actual = disagreements(trials.store().results(id), TRUTH, BANDED, LORA, task.load().test.inputs)
    shown = table(test, "truth")
    assert shown["input"].tolist() == actual["input"].tolist()
    assert shown["truth"].tolist() == [task.labels[label] for label in actual["truth"]]
    assert shown["a"].tolist() == [task.labels[label] for label in actual["predicted_a"]]
    assert set(shown["seed"]) == {0, 1, 2}
    assert f"They differ on {len(actual):,} of 2,400 texts" in words(test)


def test_two_others_can_be_chosen(race):
    test = race("agreement", study=add())
    test.selectbox(key="agreement-a").set_value(LORA).run()
    assert not test.exception
    assert LORA not in test.selectbox(key="agreement-b").options
    assert alt(test, f"Confusion matrix of {LORA}, 5 labels")
    test.button_group(key=f"confusion-{LORA}-head only").set_value("difference").run()
    assert alt(test, f"Confusion matrix of {LORA} minus that of head only")


def test_digits_are_shown_as_pictures(race):
    study = Study("digits", ("head_only", "plain", "lora", "full"), sizes={"lora": (1,)}, steps=20, evaluate_every=10)
    test = race(*SECTIONS, study=add(study))
    assert not test.exception
    url = table(test, "truth")["input"].iloc[0]
    picture = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))
    assert picture.width == picture.height == 48
    assert "images" in words(test)


# ---- what was forgotten


def test_accuracy_stands_beside_what_was_forgotten_and_a_head_alone_forgets_nothing(race):
    id = add()
    test = race("forgetting", study=id)
    assert "head only: accuracy 4" in alt(test, "Accuracy on the task over drift on 200 tweets")
    summary = summarize(trials.store().results(id), TRUTH)
    assert summary.set_index("method").loc["head_only", ["drift", "neighbours_changed"]].tolist() == [0, 0]
    assert forgetting_sentence(summary, "200 tweets to airlines") in words(test)
    assert "full fine-tuning most (0.1" in words(test)


def test_a_study_of_before_it_was_measured_says_so_and_its_table_has_no_empty_columns(race):
    test = race("forgetting", "table", study=add(forgetting=False))
    assert not [
        element for element in test.get("plotly_chart") if element.proto.alt.startswith("Accuracy on the task over")
    ]
    assert "Not measured: an earlier version recorded this study" in words(test)
    assert {"drift", "drift_low", "retrieval"}.isdisjoint(table(test, "recovered"))


def test_sounds_are_shown_as_spectrograms_and_the_first_one_is_played(race):
    study = Study("spoken_digits", ("head_only", "plain", "lora", "full"), sizes={"lora": (1,)}, steps=20)
    test = race(*SECTIONS, study=add(study))
    assert not test.exception
    url = table(test, "truth")["input"].iloc[0]
    picture = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))
    assert picture.size == (96, 48)
    assert len(test.get("audio")) == 1
    assert "sounds" in words(test)
    assert f"**{table(test, 'truth')['truth'].iloc[0]}**, taken for" in words(test)


# ---- every number


def test_the_table_has_every_measure_of_each_configuration(race):
    id = add()
    shown = table(race("table", study=id), "recovered")
    assert shown["label"].tolist() == summarize(trials.store().results(id), TRUTH)["label"].tolist()
    measures = {
        "accuracy", "recovered", "macro_f1", "loss", "rank", "stable_rank", "effective_rank", "file_bytes",
        "seconds", "peak_bytes", "drift", "neighbours_changed", "retrieval", "retrieval_before",
    }  # fmt: skip
    assert measures <= set(shown)


def test_the_table_of_trials_has_those_without_a_result_too(race):
    id = add(unfinished={4: ("failed", "It broke."), 9: ("stopped", None)})
    test = race("table", study=id)
    test.button_group(key="table-rows").set_value("Trials").run()
    shown = table(test, "state").set_index(["label", "seed"])
    assert len(shown) == 18
    assert shown.loc[(LORA, 0), ["state", "reason"]].tolist() == ["failed", "It broke."]
    assert shown["accuracy"].isna().sum() == 2


# ---- what was trained


def test_the_best_svft_adapter_opens_in_explore(race, monkeypatch):
    compute_nothing(monkeypatch)
    id = add()
    actual = trials.store().results(id)
    means = actual[actual["method"].isin(["plain", "banded", "random"])].groupby("label")["accuracy"].mean()
    of_best = actual[actual["label"] == means.idxmax()]
    number = of_best.loc[of_best["accuracy"].idxmax(), "trial"]
    test = race(study=id)
    assert test.button(key="explore-best").label == f"Open {means.idxmax()} in Explore"
    test.button(key="explore-best").click().run()
    assert not test.exception
    assert test.query_params["adapter"] == str(trials.store().adapter_directory(id, number))


@pytest.mark.parametrize("label", ["SVFT banded d=1", "LoRA r=1"])
def test_an_adapter_of_any_kind_opens_in_explore(race, monkeypatch, label):
    compute_nothing(monkeypatch)
    id = add(ONE_SEED)
    (number,) = [trial.number for trial in trials.store().trials(id) if trial.trial.label == label]
    test = race("adapters", study=id)
    test.selectbox(key="adapters-trial").set_value(number).run()
    test.button(key="adapters-open").click().run()
    assert test.query_params["adapter"] == str(trials.store().adapter_directory(id, number))


def test_a_head_alone_has_no_matrix_to_explore(race):
    id = add(ONE_SEED)
    test = race("adapters", study=id)
    test.selectbox(key="adapters-trial").set_value(0).run()
    assert test.button(key="adapters-open").disabled


def test_an_adapter_is_deleted_without_its_results(race):
    id = add(ONE_SEED)
    test = race("adapters", study=id)
    test.selectbox(key="adapters-trial").set_value(1).run()
    test.button(key="adapters-delete-now").click().run()
    assert not test.exception
    assert not trials.store().adapter_directory(id, 1).exists()
    assert len(trials.store().results(id)) == 6
    assert "SVFT plain" not in test.selectbox(key="adapters-trial").options


def test_an_adapter_is_packed_as_a_zip_file(tmp_path):
    from app.views.race.result.adapters import pack

    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "adapter_config.json").write_text("{}")
    with zipfile.ZipFile(io.BytesIO(pack(tmp_path))) as archive:
        assert archive.read("inside/adapter_config.json") == b"{}"


# ---- what is missing


def test_trials_without_a_result_are_named_with_their_reason(race):
    test = race(study=add(ONE_SEED, unfinished={2: ("failed", "It ran out of memory."), 3: ("stopped", None)}))
    assert not test.exception
    shown = words(test)
    assert "No result for SVFT banded d=1 (seed 0): it ran out of memory." in shown
    assert "No result for SVFT random, 41,472 entries (seed 0): stopped after step 10 of 20." in shown


def test_a_study_of_which_nothing_finished_still_shows_its_training(race):
    test = race(study=add(ONE_SEED, unfinished={number: ("stopped", None) for number in range(6)}))
    assert not test.exception
    assert headers(test)[0] == "No trial has finished."
    assert "at 2 evaluations" in alt(test, "Film of the")


@pytest.mark.parametrize("methods", [("full",), ("head_only", "full"), ("plain",), ("head_only", "lora")])
def test_any_study_has_a_result(race, methods):
    study = Study("bbc_headlines", methods, sizes={"lora": (1,)}, steps=20, evaluate_every=10)
    bet = {"winner": "SVFT plain", "margin": "over 3 points"}
    test = race(*SECTIONS, study=add(study, bet=bet))
    assert not test.exception
    assert not test.error
    assert headers(test)


def test_results_that_came_without_points_have_no_film(race):
    id = add(ONE_SEED)
    actual = trials.store().results(id)
    study = trials.store().study(id).study
    other = trials.store().add_study(study, study.plan()[0], engine="", owner=ME)
    trials.store().add_outcomes(other, actual, None)
    trials.store().set_study_state(other, "done")
    test = race(*SECTIONS, study=other)
    assert not test.exception
    assert headers(test)[0] == headers(race(study=id))[0]
    assert not [chart for chart in test.get("plotly_chart") if chart.proto.alt.startswith("Film")]
    assert not [box for box in test.selectbox if box.key == "adapters-trial"]
