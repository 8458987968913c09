"""Each page, and what it says where an adapter cannot be shown."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from streamlit.testing.v1 import AppTest

from analysis.adapters import shipped
from analysis.training.data.spoken import LABELS
from analysis.training.evaluation import read_evaluation
from app import selection
from tests.app.jobs_here import compute_nothing

MAIN = Path(__file__).parents[2] / "app" / "entry.py"


@pytest.fixture(autouse=True)
def before_anything_is_computed(monkeypatch):
    compute_nothing(monkeypatch)


@pytest.fixture
def app():
    """Open a page of the app with a query."""

    def run(page: str = "start", **query: str) -> AppTest:
        test = AppTest.from_file(str(MAIN), default_timeout=60)
        for key, value in query.items():
            test.query_params[key] = value
        if page != "start":
            test.switch_page(f"{page}.py")  # before the first run, which would draw Start
        return test.run()

    return run


@pytest.fixture
def own(tmp_path) -> Path:
    """An adapter of one's own: a copy of a shipped one."""
    return Path(shutil.copytree(shipped.DIRECTORY / "bbc_headlines-banded", tmp_path / "own"))


def change_config(path: Path, **fields: str) -> None:
    config = json.loads((path / "adapter_config.json").read_text())
    (path / "adapter_config.json").write_text(json.dumps(config | fields))


def chosen(test: AppTest) -> dict[str, str]:
    return {picker.key: picker.value for picker in test.selectbox}


def charts(test: AppTest) -> list:
    return test.get("plotly_chart")


def test_an_adapter_of_sounds_has_a_sound_to_classify_in_place_of_a_text(app, no_model):
    test = app(adapter="Spoken digits · banded")
    assert not test.exception
    assert test.selectbox(key="text-spoken_digits").options == list(LABELS)
    assert len(test.get("audio")) == 1
    assert not test.text_input


def test_start_shows_a_shipped_adapter_at_once(app):
    test = app()
    assert not test.exception
    assert chosen(test)["adapter"] == "BBC headlines · plain"
    assert [metric.label for metric in test.metric] == ["Trained", "Recovered", "Extra memory"]
    recovered = read_evaluation(shipped.DIRECTORY / "bbc_headlines-plain").recovered
    assert [metric.value for metric in test.metric] == ["0.06%", f"{recovered:.0%}", "64 MB"]
    assert len(charts(test)) >= 3  # shapes, wall, curve


@pytest.mark.parametrize("pattern", ["plain", "banded", "random", "top_k"])
@pytest.mark.parametrize("view", [view for view in selection.VIEWS if view != selection.EDIT])
def test_explore_shows_every_pattern_in_both_views(app, pattern, view):
    test = app("explore", adapter=f"BBC headlines · {pattern}", view=view, matrix="Layer 2 · value")
    assert not test.exception
    assert not test.error
    assert len(charts(test)) >= 4
    assert "Layer 2 · value" in " ".join(header.value for header in test.header)


def test_every_figure_has_alternative_text(app):
    for page in ("start", "explore"):
        for chart in charts(app(page)):
            assert len(chart.proto.alt) > 20


def test_the_url_opens_the_same_selection(app):
    test = app("explore", adapter="BBC headlines · random", matrix="Layer 4 · MLP up", view=selection.VIEWS[1])
    assert chosen(test)["adapter"] == "BBC headlines · random"
    assert chosen(test)["matrix"].endswith("layer.4.intermediate.dense")
    assert test.button_group(key="view").value == selection.VIEWS[1]


def test_another_adapter_keeps_the_matrix(app):
    test = app("explore", matrix="Layer 3 · key")
    test.selectbox(key="adapter").set_value("BBC headlines · banded").run()
    assert not test.exception
    assert chosen(test)["matrix"].endswith("layer.3.attention.self.key")


def test_an_adapter_of_ones_own_opens_by_its_path_with_its_base(app, own):
    change_config(own, base_model_name_or_path="someone/else")
    test = app(adapter=str(own))
    assert not test.exception
    assert not test.error
    assert chosen(test)["base"] == "someone/else"


def no_config(path):
    (path / "adapter_config.json").unlink()


def no_weights(path):
    (path / "adapter_model.safetensors").unlink()


def truncated(path):
    file = path / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


def not_json(path):
    (path / "adapter_config.json").write_text("{")


def other_method(path):
    change_config(path, peft_type="LORA")


def change_coefficients(path, change):
    file = path / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(name for name in sorted(tensors) if name.endswith("layer.0.attention.self.query.svft_coefficients"))
    tensors[name] = change(tensors[name])
    save_file(tensors, file)


def nan(path):
    change_coefficients(path, lambda values: np.where(np.arange(len(values)) == 3, np.nan, values).astype(np.float32))


def infinite(path):
    change_coefficients(path, lambda values: np.where(np.arange(len(values)) == 3, np.inf, values).astype(np.float32))


def too_short(path):
    change_coefficients(path, lambda values: values[:-1].copy())


@pytest.mark.filterwarnings("ignore:The adapter's file does not fit")
@pytest.mark.parametrize(
    "damage", [no_config, no_weights, truncated, not_json, other_method, nan, infinite, too_short]
)
def test_a_bad_adapter_gets_a_sentence_on_both_pages_and_the_app_goes_on(app, own, damage):
    damage(own)
    test = app(adapter=str(own))
    for page in ("start.py", "explore.py"):
        if page != "start.py":
            test.switch_page(page).run()
        assert not test.exception
        left_out = [expander.label for expander in test.expander if "left out" in expander.label]
        sentences = [element.value for element in (*test.error, *test.warning)] + left_out
        assert sentences
        assert len(sentences) == len(set(sentences))  # each is said once
        assert "Traceback" not in str(sentences)
    test.selectbox(key="adapter").set_value("BBC headlines · plain").run()
    assert not test.exception
    assert not test.error


@pytest.mark.parametrize("path", ["/no/such/directory", "."])
def test_a_directory_that_is_no_adapter_gets_a_sentence(app, path):
    test = app(adapter=path)
    assert not test.exception
    assert len(test.error) == 1


def test_a_link_with_unknown_values_opens_the_defaults(app):
    test = app("explore", matrix="Layer 99 · value", view="nonsense")
    assert not test.exception
    assert chosen(test)["matrix"].endswith("layer.0.attention.self.query")


@pytest.mark.parametrize(("method", "partial"), [("full fine-tuning", True), ("LoRA r=8", False), ("plain", False)])
def test_a_part_of_an_adapter_is_called_one(app, method, partial):
    test = app("explore", adapter=f"BBC headlines · {method}")
    captions = " ".join(caption.value for caption in test.caption)
    assert ("Only 2 matrices were saved with this adapter, 3% of the trained parameters." in captions) == partial
