"""The second slot of Explore: two adapters beside each other."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from analysis.adapters.shipped import DIRECTORY
from analysis.measures.comparison import differences
from analysis.measures.likeness import matrix_verdict
from analysis.measures.summary import MEASURES, summarize
from app import data, selection
from app.views.compare.pictures import scale_sentence
from app.views.compare.tables import measure_line
from tests.analysis.synthetic import BERT, write_adapter
from tests.app.explore_page import alternatives, explore
from tests.app.jobs_here import compute_nothing

pytestmark = pytest.mark.usefixtures("no_model")
COMPARISON_JOB = data._comparison_job


@pytest.fixture(autouse=True)
def before_anything_is_computed(monkeypatch):
    compute_nothing(monkeypatch)


@pytest.fixture
def comparing(before_anything_is_computed, monkeypatch):
    """The comparison of two adapters alone is computed."""
    monkeypatch.setattr(data, "_comparison_job", COMPARISON_JOB)


def finish(a: str, b: str) -> None:
    """Wait until two shipped adapters have been compared."""
    job = data.comparison_job(*(data.adapter(DIRECTORY / name) for name in (a, b)))
    assert job.wait(900)
    assert job.complete


def open_sections(test: AppTest, *keys: str) -> AppTest:
    for key in keys:
        test.session_state[f"open-{key}"] = True
    test.run()
    assert not test.exception
    return test


def scales(test: AppTest) -> list[float]:
    """Return where the colour scales of both pictures of M end."""
    specs = [json.loads(chart.proto.spec) for chart in test.get("plotly_chart")]
    return [spec["layout"]["meta"]["limit"] for spec in specs if "limit" in spec["layout"]["meta"]]


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


def test_unlike_kinds_stand_in_one_figure_and_m_of_each_is_opened(comparing):
    test = explore(adapter="BBC headlines · plain", vs="BBC headlines · random", matrix="Layer 2 · value")
    finish("bbc_headlines-plain", "bbc_headlines-random")
    test.run()
    assert not test.exception
    assert not test.error
    drawn = alternatives(test)
    assert "Map of the cosine of two updates, 6 layers by 6 kinds" in drawn
    assert "Three panels of the share of energy of M in plain and in random" in drawn
    assert "Strip of the" not in drawn  # what is closed is not drawn
    opened = alternatives(open_sections(test, "pictures"))
    assert "Strip of the 384 trained entries" in opened
    assert "1,914 entries of M" in opened


def test_two_of_one_kind_are_drawn_and_their_profiles_are_opened():
    test = explore(adapter="BBC headlines · plain", vs="BBC headlines · banded", matrix="Layer 2 · value")
    assert alternatives(test).count("Strip of the") == 2
    assert "Three panels" not in alternatives(test)
    assert "Three panels" in alternatives(open_sections(test, "profiles"))


def test_the_spectra_stand_beside_each_other():
    vs, matrix = "BBC headlines · random", "Layer 2 · value"
    test = explore(adapter="BBC headlines · plain", vs=vs, matrix=matrix, view=selection.VIEWS[1])
    assert "Singular values of the update in plain and in random" in alternatives(test)
    assert "Cumulative energy" not in alternatives(test)
    assert "Cumulative energy" in alternatives(open_sections(test, "two-energies"))


def test_the_verdict_comes_first():
    test = explore(adapter="BBC headlines · plain", vs="BBC headlines · banded", matrix="Layer 2 · value")
    name = test.selectbox(key="matrix").value
    row = data.compared(*(data.adapter(DIRECTORY / f"bbc_headlines-{p}") for p in ("plain", "banded")), name)
    assert matrix_verdict(row, ("plain", "banded")) in [element.value for element in test.markdown]


def test_every_measure_is_written_out_beside_the_other_and_all_shared_matrices_are_listed(comparing):
    test = explore(adapter="BBC headlines · plain", vs="BBC headlines · banded", matrix="Layer 2 · value")
    finish("bbc_headlines-plain", "bbc_headlines-banded")
    assert not test.dataframe
    open_sections(test, "measures", "compared")
    (matrices,) = (frame.value for frame in test.dataframe)
    name = test.selectbox(key="matrix").value
    of = [summarize(data.adapter(DIRECTORY / f"bbc_headlines-{p}").matrix(name)) for p in ("plain", "banded")]
    written = next(element.value for element in test.markdown if element.value.startswith("| Measure |"))
    for row in differences(*of).itertuples(index=False):
        assert measure_line(*row) in written
    assert len(matrices) == 36
    assert matrices["cosine"].notna().all()


def test_a_measure_is_written_with_the_digits_that_it_has():
    assert measure_line("relative_norm", 0.1, 0.25, 0.15) == (
        "| Size of the update beside W, ‖ΔW‖/‖W‖ | 10.00% | 25.00% | +15.00 points |"
    )
    assert measure_line("k", 1914, 384, -1530).endswith("| 1,914 | 384 | −1,530 |")
    assert measure_line("moved", float("nan"), 3, float("nan")).endswith("| – | 3 | – |")
    assert measure_line("turned", 3, 3, 0).endswith("| 3 | 3 | 0 |")


def test_every_measure_of_a_matrix_has_words():
    adapter = data.adapter(DIRECTORY / "bbc_headlines-plain")
    row = summarize(adapter.matrix(adapter.names[0]))
    assert set(differences(row, row)["measure"]) == set(MEASURES)


def test_both_are_drawn_on_one_scale_or_each_on_its_own():
    test = explore(adapter="BBC headlines · banded", vs="BBC headlines · plain", matrix="Layer 2 · value")
    control = test.button_group(key="scale-common")
    assert control.value == "One colour scale"
    common = scales(test)
    assert common[0] == common[1]
    control.set_value("Own scales").run()
    own = scales(test)
    assert own[0] != own[1]
    assert max(own) == common[0]


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
    assert "has no update of this matrix" in test.info[0].value
    assert "Compared on the 2 matrices that both adapt" in " ".join(caption.value for caption in test.caption)


def test_a_box_is_outlined_in_both():
    test = explore(
        adapter="BBC headlines · banded", vs="BBC headlines · plain", matrix="Layer 2 · value", brush="i10..50_o0..0"
    )
    assert any(element.value.startswith("Rows 10–50, offsets 0 to 0 hold ") for element in test.caption)
    specs = [json.loads(chart.proto.spec) for chart in test.get("plotly_chart")]
    outlines = [shape for spec in specs for shape in spec["layout"].get("shapes", []) if shape.get("x0") == 9.5]
    assert len(outlines) == 2


def test_what_would_fade_on_one_scale_begins_with_two_and_the_sentence_compares_entries():
    test = explore(vs="BBC headlines · full fine-tuning", matrix="Layer 3 · value")
    open_sections(test, "pictures")
    assert test.button_group(key="scale-own").value == "Own scales"
    pair = [data.adapter(DIRECTORY / f"bbc_headlines-{p}") for p in ("plain", "full")]
    name = test.selectbox(key="matrix").value
    largest = tuple(abs(of.matrix(name).values).max() for of in pair)
    names = ("plain", "full fine-tuning")
    shown = [element.value for element in test.caption]
    assert scale_sentence(largest, names, common=False) in shown
    assert not any("the rest is not drawn" in element for element in shown)  # W is square: all of ΔW is in M
    test.button_group(key="scale-own").set_value("One colour scale").run()
    assert any("on one scale full fine-tuning fades" in element.value for element in test.caption)


def test_the_sentence_on_scale():
    assert scale_sentence((0.5, 0.4), ("a", "b"), common=True) == "The largest |Mᵢⱼ| is 0.5 in a and 0.4 in b."
    assert scale_sentence((0.5, 0.01), ("a", "b"), common=True).endswith(
        "0.01 in b, 50 times less: on one scale b fades."
    )
    assert "50 times as much: on one scale a fades" in scale_sentence((0.01, 0.5), ("a", "b"), common=True)
    assert scale_sentence((0.0, 0.5), ("a", "b"), common=True).endswith("0 in a and 0.5 in b.")
