"""The second slot of Explore: two adapters beside each other."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis.adapters.shipped import DIRECTORY
from analysis.measures.comparison import differences
from analysis.measures.summary import summarize
from app import data, selection
from tests.analysis.synthetic import BERT, write_adapter

pytestmark = pytest.mark.usefixtures("no_model")

MAIN = Path(__file__).parents[2] / "app" / "entry.py"


def explore(**query: str) -> AppTest:
    test = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in query.items():
        test.query_params[key] = value
    test.run()
    test.switch_page("explore.py")
    return test.run()


def finish(a: str, b: str) -> None:
    """Wait until two shipped adapters have been compared."""
    job = data.comparison_job(*(data.adapter(DIRECTORY / name) for name in (a, b)))
    assert job.wait(900)
    assert job.complete


def alternatives(test: AppTest) -> str:
    return "\n".join(chart.proto.alt for chart in test.get("plotly_chart"))


def test_an_empty_slot_shows_one_adapter():
    test = explore()
    assert test.selectbox(key="vs").value is None
    assert "Strip of the 384 trained entries" in alternatives(test)
    assert "Exact cells" in [header.value for header in test.subheader]


def test_the_slot_offers_the_other_adapters_those_of_the_same_task_first():
    options = explore(adapter="BBC headlines · banded").selectbox(key="vs").options
    assert "BBC headlines · banded" not in options
    tasks = [option.split(" · ")[0] for option in options]
    assert tasks == sorted(tasks, key=lambda task: task != "BBC headlines")


@pytest.mark.parametrize("view", selection.VIEWS[:2])
def test_two_adapters_stand_beside_each_other(view):
    test = explore(adapter="BBC headlines · plain", vs="BBC headlines · random", matrix="Layer 2 · value", view=view)
    finish("bbc_headlines-plain", "bbc_headlines-random")
    test.run()
    assert not test.exception
    assert not test.error
    drawn = alternatives(test)
    assert "Map of the cosine of two updates, 6 layers by 6 kinds" in drawn
    if view == "Coefficients":
        assert "Strip of the 384 trained entries" in drawn
        assert "1,914 entries of M" in drawn
    else:
        assert "Singular values of the update in plain and in random" in drawn
        assert "Cumulative energy" in drawn


def test_the_table_lists_every_measure_of_both_and_all_shared_matrices():
    test = explore(adapter="BBC headlines · plain", vs="BBC headlines · banded", matrix="Layer 2 · value")
    finish("bbc_headlines-plain", "bbc_headlines-banded")
    measures, matrices = (frame.value for frame in test.run().dataframe)
    name = test.selectbox(key="matrix").value
    of = [summarize(data.adapter(DIRECTORY / f"bbc_headlines-{p}").matrix(name)) for p in ("plain", "banded")]
    expected = differences(*of)
    assert measures["difference"].tolist() == pytest.approx(expected["difference"].tolist(), nan_ok=True)
    assert len(matrices) == 36
    assert matrices["cosine"].notna().all()


def test_an_adapter_is_not_compared_with_itself():
    test = explore(adapter="BBC headlines · plain", vs="BBC headlines · banded")
    test.selectbox(key="adapter").set_value("BBC headlines · banded").run()
    assert not test.exception
    assert test.selectbox(key="vs").value is None


def test_a_second_adapter_that_cannot_be_read_leaves_the_first_in_sight():
    test = explore(adapter="BBC headlines · plain", vs="/no/such/directory")
    assert not test.exception
    assert "/no/such/directory" in test.error[0].value
    assert "Strip of the 384 trained entries" in alternatives(test)


def test_other_targets_are_said_and_a_matrix_of_one_alone_gets_a_sentence(tmp_path):
    a = write_adapter(tmp_path / "a")
    few = {name: shape for name, shape in BERT.items() if "query" in name}
    b = write_adapter(tmp_path / "b", "banded", 1, modules=few)
    test = explore(adapter=str(a), vs=str(b), matrix="Layer 0 · key")
    assert not test.exception
    assert "does not adapt this matrix" in test.info[0].value
    assert "Compared on the 2 matrices that both adapt" in " ".join(caption.value for caption in test.caption)


def test_a_matrix_that_fades_on_the_common_scale_is_said_to():
    test = explore(vs="BBC headlines · full fine-tuning", matrix="Layer 3 · value")
    assert any("times that of full fine-tuning, which fades on one scale" in one.value for one in test.caption)
    assert not any("the rest is not drawn" in one.value for one in test.caption)  # W is square: all of ΔW is in M
