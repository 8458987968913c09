"""`svft results` prints what a study's file says."""

import pytest
from typer.testing import CliRunner

from analysis.cli import app
from analysis.training.tasks import get_task
from analysis.trials.files import export_study, read_study
from analysis.trials.results import summarize
from analysis.trials.store import Store
from analysis.trials.study import Study
from analysis.trials.verdict import claim, claim_sentence, forgetting_sentence
from tests.app.studies import add_study

METHODS = ("head_only", "plain", "lora", "full")


@pytest.fixture
def study_file(tmp_path):
    store = Store(tmp_path / "store")
    id = add_study(store, Study("bbc_headlines", METHODS, sizes={"lora": (1,)}, seeds=(0, 1)))
    path = tmp_path / "study.json"
    path.write_text(export_study(store, id))
    store.close()
    return path


def test_every_configuration_has_its_row_and_the_claim_its_sentence(study_file):
    result = CliRunner().invoke(app, ["results", "--markdown", str(study_file)])
    assert result.exit_code == 0, result.output
    actual = read_study(study_file.read_bytes())
    truth = get_task("bbc_headlines").load().test.labels
    first, second = result.output.split("| method | drift elsewhere")
    rows = [line for line in first.splitlines() if line.startswith("| ")][2:]
    summary = summarize(actual.results, truth).sort_values("parameters")
    assert len(rows) == len(summary) == len(METHODS)
    for row, expected in zip(rows, summary.itertuples()):
        assert f"| {expected.label} | {expected.parameters:,} | {expected.accuracy:.1%} ({expected.low:.1%}" in row
    assert claim_sentence(claim(actual.results, truth)) in result.output
    forgotten = [line for line in second.splitlines() if line.startswith("| ")][1:]
    assert len(forgotten) == len(METHODS)
    for row, expected in zip(forgotten, summary.itertuples()):
        assert f"| {expected.label} | {expected.drift:.3g} ({expected.drift_low:.3g} to" in row
    assert forgetting_sentence(summary, "200 tweets to airlines") in result.output
    assert actual.command in result.output


def test_on_a_terminal_each_comparison_of_the_claim_is_listed(study_file):
    result = CliRunner().invoke(app, ["results", str(study_file)], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    assert "points above" in result.output
    assert "LoRA r=1" in result.output


def test_a_study_of_before_it_was_measured_says_so(tmp_path):
    store = Store(tmp_path / "store")
    id = add_study(store, Study("bbc_headlines", METHODS, sizes={"lora": (1,)}), forgetting=False)
    path = tmp_path / "study.json"
    path.write_text(export_study(store, id))
    store.close()
    result = CliRunner().invoke(app, ["results", str(path)])
    assert "forgotten elsewhere was not measured" in " ".join(result.output.split())
    assert "drift" not in result.output


def test_a_file_that_holds_no_study_is_one_sentence(tmp_path):
    path = tmp_path / "study.json"
    path.write_text("{}")
    result = CliRunner().invoke(app, ["results", str(path)])
    assert result.exit_code == 2
    assert "not a study file" in result.output
