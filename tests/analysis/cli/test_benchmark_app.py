"""`svft benchmark --app` prints what the app's own process measured."""

import json
import subprocess

import pytest
from typer.testing import CliRunner

from analysis.cli import app, benchmark


@pytest.fixture
def measured(monkeypatch):
    """Stand in for the process that measures; give what it was called with."""
    called = []

    def run(command, **options):
        called.append(command)
        lines = [{"what": "a turn", "value": 0.25, "unit": "s"}, {"what": "memory", "value": 1234.5, "unit": "MB"}]
        return subprocess.CompletedProcess(command, run.fails, "".join(json.dumps(line) + "\n" for line in lines))

    run.fails = 0
    called.append(run)
    monkeypatch.setattr(benchmark.subprocess, "run", run)
    return called


def test_it_prints_and_writes_what_was_measured(measured, tmp_path):
    output = tmp_path / "app.json"
    words = ["benchmark", "--app", "--clients", "3", "--seconds", "5", "--output", str(output)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert measured[1][1:] == ["-m", "app.load", "--clients", "3", "--seconds", "5"]
    assert "a turn" in result.output
    assert "1,234" in result.output
    assert json.loads(output.read_text())[0] == {"what": "a turn", "value": 0.25, "unit": "s"}


def test_it_says_that_it_failed(measured):
    measured[0].fails = 1
    result = CliRunner().invoke(app, ["benchmark", "--app"])
    assert result.exit_code != 0
    assert "could not be measured" in str(result.output) + str(result.exception)


def test_it_says_that_streamlit_is_missing(monkeypatch):
    monkeypatch.setattr(benchmark, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["benchmark", "--app"])
    assert result.exit_code != 0
    assert "needs Streamlit" in str(result.output) + str(result.exception)
