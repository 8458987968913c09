"""The page Race up to its start, without any training."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from analysis.common.errors import UserError
from analysis.training.specification import own_learning_rate
from analysis.training.tasks import TASKS, get_task
from analysis.trials.engine import Engine
from analysis.trials.study import Study
from app import trials
from app.views.race.plan import form
from svft.patterns import PATTERNS, register_pattern
from tests.app.race_page import SMALL, add, captions, lanes, methods, start, the_study, upload

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("no_workers")


# ---- the plan


def test_the_plan_is_filled_in_and_ready_to_start(race):
    test = race()
    assert not test.exception
    assert not test.error
    assert methods(test) == list(form.MAIN)
    assert test.select_slider(key="plan-budget").value == 1_382  # 0.006% of the model
    assert test.select_slider(key="plan-budget").options[0] == "36"  # one entry per matrix
    for says in ("1,382 to 13,824", "1,332 to 41,400", "r=1 · 41,472", "22,713,216"):
        assert says in lanes(test)
    assert "11 trials" in captions(test)
    assert not test.button(key="start").disabled


def test_the_plan_shows_training_examples_with_their_labels(race):
    shown = " ".join(html.value for html in race().html)
    train = TASKS["bbc_headlines"].load().train
    assert any(text in shown for text in train.inputs)
    assert "<b>business</b>" in shown


def test_the_plan_plays_training_examples_of_sounds(race):
    test = race()
    test.button_group(key="plan-task").set_value("spoken_digits").run()
    assert not test.exception
    assert len(test.get("audio")) == 3
    assert "**zero**" in [text.value for text in test.markdown]


def test_neither_the_page_nor_the_engine_needs_torch():
    imports = (
        "import analysis.trials.engine; from app.views.race import study; from app.views.race.past import studies; "
        "from app.views.race.plan import page; from app.views.race.result import page; from app.views.race.running "
        "import live"
    )
    code = f"import sys; {imports}; print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_method_that_has_no_size_near_the_budget_says_why_and_the_others_go_on(race):
    test = race()
    test.multiselect(key="plan-more-budgets").set_value([])
    test.select_slider(key="plan-budget").set_value(round(41_472 * 2**0.5)).run()
    assert "LoRA&#x27;s nearest sizes have 41,472 (r = 1) and 82,944 (r = 2) parameters" in lanes(test)
    assert "58,650" in lanes(test)
    assert "5 trials" in captions(test)
    assert not test.button(key="start").disabled


def test_another_task_keeps_the_methods_and_takes_its_own_base_and_budget(race):
    test = race()
    test.checkbox(key="plan-use-full").uncheck().run()
    test.button_group(key="plan-task").set_value("airline_tweets").run()
    assert not test.exception
    assert methods(test) == [method for method in form.MAIN if method != "full"]
    study = start(test) and the_study().study
    assert (study.task, study.examples) == ("airline_tweets", TASKS["airline_tweets"].examples)


@pytest.mark.parametrize("task", list(TASKS))
def test_every_task_has_a_plan_that_can_start(race, task):
    test = race()
    if task != "bbc_headlines":
        test.button_group(key="plan-task").set_value(task).run()
    assert not test.exception
    assert not test.error
    assert not test.button(key="start").disabled


def test_settings_reach_the_study(race):
    test = race()
    test.slider(key="plan-seeds").set_value(3)
    test.multiselect(key="plan-more-budgets").set_value([82_944])
    test.number_input(key="plan-steps").set_value(20)
    test.number_input(key="plan-batch").set_value(8)
    test.number_input(key="plan-examples").set_value(32)
    test.multiselect(key="plan-kinds").set_value(["query", "value"])
    test.run()
    start(test)
    study = the_study().study
    assert study.seeds == (0, 1, 2)
    assert study.budgets == (1_382, 82_944)
    assert (study.steps, study.batch_size, study.examples) == (20, 8, 32)
    assert len(study.target_modules) == 12
    assert all(name.endswith(("query", "value")) for name in study.target_modules)


def test_a_sweep_is_judged_on_the_validation_split(race):
    test = race()
    test.multiselect(key="plan-sweeps").set_value(["lora"]).run()
    start(test)
    study = the_study().study
    own = own_learning_rate("lora", TASKS["bbc_headlines"])
    assert study.learning_rates["lora"] == pytest.approx((0.3 * own, own, 3 * own), rel=0.02)
    assert study.final_split == "validation"


def test_without_a_method_the_page_says_so_and_nothing_can_start(race):
    test = race(plan=Study("bbc_headlines", ("plain",)).to_link())
    test.checkbox(key="plan-use-plain").uncheck().run()
    assert [error.value for error in test.error] == ["A study needs at least one method and one seed."]
    assert test.button(key="start").disabled
    test.checkbox(key="plan-use-plain").check().run()
    assert not test.error
    assert not test.button(key="start").disabled


def test_too_many_training_examples_are_a_sentence_and_nothing_is_lost(race):
    test = race()
    test.checkbox(key="plan-use-dora").check()
    test.number_input(key="plan-examples").set_value(10**6).run()
    assert "more than the train split" in test.error[0].value
    assert test.number_input(key="plan-examples").value == 10**6
    assert "dora" in methods(test)


def test_the_form_is_as_it_was_after_a_look_at_another_page(race):
    test = race()
    test.checkbox(key="plan-use-vera").check()
    test.number_input(key="plan-steps").set_value(30).run()
    test.switch_page("explore.py").run()
    test.switch_page("race.py").run()
    assert "vera" in methods(test)
    assert test.number_input(key="plan-steps").value == 30


# ---- a pattern of one's own


def test_a_pattern_from_a_file_joins_the_race(race):
    test = race()
    assert test.checkbox(key="plan-use-custom").disabled
    upload(test, "pattern-file", [[0, 0], [0, 1], [5, 3]])
    assert not test.error
    assert "custom" in methods(test)
    assert "3 entries in each matrix" in captions(test)
    start(test)
    assert the_study().study.custom_indices == ((0, 0), (0, 1), (5, 3))


@pytest.mark.parametrize("content", [b"{", {"a": 1}, [[0]], [[0, -1]], [[0, 0.5]], [], [["a", "b"]], 3])
def test_what_is_no_pattern_is_refused_with_a_sentence(race, content):
    test = upload(race(), "pattern-file", content)
    assert "This is not a pattern" in test.error[0].value
    assert methods(test) == list(form.MAIN)


def test_a_pattern_outside_of_the_matrices_is_refused_with_a_sentence(race):
    test = upload(race(), "pattern-file", [[0, 384]])
    assert "M of the smallest adapted matrix is 384×384" in test.error[0].value
    assert test.checkbox(key="plan-use-custom").disabled


# ---- links


def test_a_link_opens_its_plan(race):
    study = Study("airline_tweets", ("plain", "lora"), budgets=(82_944,), seeds=(3, 4), steps=7)
    test = race(plan=study.to_link())
    assert methods(test) == ["plain", "lora"]
    assert test.button_group(key="plan-task").value == "airline_tweets"
    start(test)
    assert the_study().study == study.resolved()


def test_the_sizes_of_a_plan_hold_until_the_budget_is_moved(race):
    test = race(plan=Study("bbc_headlines", ("plain", "lora"), sizes={"lora": (4, 8)}).to_link())
    assert "165,888 to 331,776" in lanes(test)
    test.select_slider(key="plan-budget").set_value(82_944).run()
    assert "r=2 · 82,944" in lanes(test)


@pytest.mark.parametrize("link", ["nonsense", "", Study("bbc_headlines", ("plain",)).to_link()[:-15]])
def test_a_damaged_link_is_a_sentence_above_the_default_plan(race, link):
    test = race(plan=link)
    assert not test.exception
    assert [("link to a study is damaged" in error.value) for error in test.error] == ([True] if link else [])
    assert methods(test) == list(form.MAIN)


def test_a_link_to_data_that_is_not_here_is_a_sentence(race):
    test = race(plan=Study("own-0123456789ab", ("plain",)).to_link())
    assert "someone’s own data file" in test.error[0].value
    assert methods(test) == list(form.MAIN)


# ---- the bet and the start


def test_a_study_starts_with_its_bet_and_belongs_to_the_visitor(race):
    test = race()
    winners = test.button_group(key="bet-winner")
    assert winners.value is None
    winners.set_value("banded/0").run()
    test.button_group(key="bet-margin").set_value("over 3 points").run()
    start(test)
    record = the_study()
    assert record.bet == {"winner": "SVFT banded, 1,332 entries", "margin": "over 3 points"}
    assert record.owner == test.session_state["visitor"]
    assert test.query_params["study"] == record.id
    assert get_task("bbc_headlines").title in test.title[0].value


def test_a_bet_follows_its_method_to_another_size_and_leaves_with_it(race):
    test = race()
    test.button_group(key="bet-winner").set_value("lora/0").run()
    test.select_slider(key="plan-budget").set_value(82_944).run()
    assert test.button_group(key="bet-winner").value == "lora/0"
    test.checkbox(key="plan-use-lora").uncheck().run()
    assert test.button_group(key="bet-winner").value is None
    start(test)
    assert the_study().bet is None


def test_an_engine_without_workers_says_why(race, monkeypatch):
    monkeypatch.setattr(Engine, "error", "No workers could be reached at tcp://nowhere.")
    assert "No workers could be reached" in race().error[0].value


def test_a_data_directory_that_cannot_be_written_is_a_sentence(race, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("SVFT_DATA_DIR", str(tmp_path / "file" / "studies"))
        test = race()
    assert not test.exception
    assert "set SVFT_DATA_DIR" in test.error[0].value


# ---- what a server allows


def test_a_server_that_trains_nothing_says_so_and_starts_nothing(race, monkeypatch):
    monkeypatch.setenv("SVFT_READ_ONLY", "1")
    test = race()
    assert test.button(key="start").disabled
    assert "trains nothing" in test.error[0].value
    with pytest.raises(UserError, match="trains nothing"):
        trials.start(SMALL, SMALL.plan()[0], name="", bet=None)
    assert trials.store().studies() == []


def test_the_steps_of_a_study_can_be_limited(race, monkeypatch):
    monkeypatch.setenv("SVFT_MAX_STUDY_STEPS", "1000")
    test = race()
    assert test.button(key="start").disabled
    assert "1,000 training steps in total, not 1,100" in test.error[0].value
    test.checkbox(key="plan-use-full").set_value(False).run()
    assert not test.button(key="start").disabled
    assert not test.error


def test_more_seeds_count_towards_the_limit_too(race, monkeypatch):
    record = trials.store().study(add(owner="ada", head_only=0.4, plain=0.8))
    monkeypatch.setenv("SVFT_MAX_STUDY_STEPS", "12")
    with pytest.raises(UserError, match="not 16"):
        trials.add_seeds(record, 1)


def test_a_registered_pattern_has_a_lane_and_starts(race):
    @register_pattern("corner", "The leading rows.")
    def corner(n, k, *, seed, U, V):
        return torch.arange(k)

    try:
        test = race()
        test.checkbox(key="plan-use-corner").check().run()
        assert not test.exception
        assert "SVFT corner" in {box.label for box in test.checkbox}
        start(test)
        assert "corner" in the_study().study.methods
    finally:
        del PATTERNS["corner"]
