"""Learn, chapter by chapter: what is moved changes what is shown, and answers are checked."""

import pytest
import torch
from streamlit.testing.v1 import AppTest

from analysis.lessons import claims, painting, picture
from analysis.lessons.family.members import MEMBERS, trained
from analysis.lessons.family.regions import REGIONS
from analysis.models.packages import DEFAULT_BASE
from analysis.models.shapes import block_shapes
from analysis.trials.results import Answers
from analysis.trials.study import Study
from app import trials
from app.views.learn import lesson, racing
from app.views.race import results
from svft.patterns import PATTERNS, register_pattern
from tests.app.jobs_here import compute_nothing
from tests.app.studies import add_study

ME, YOU = "a" * 32, "b" * 32


def alts(test: AppTest) -> list[str]:
    return [chart.proto.alt for chart in test.get("plotly_chart")]


def done(test: AppTest) -> str:
    return next(caption.value for caption in test.caption if "chapters done" in caption.value)


def step(test: AppTest, number: int, name: str) -> AppTest:
    return test.segmented_control(key=f"learn-step{number}").set_value(name).run()


@pytest.mark.parametrize("chapter", range(1, len(lesson.CHAPTERS) + 1))
def test_every_chapter_stands_with_a_title_and_alternative_texts(learn, chapter):
    test = learn(chapter)
    assert not test.exception
    assert not test.error
    assert len(test.title) == 1
    assert all(len(alt) > 20 for alt in alts(test))
    assert test.button(key=f"chapter-{chapter}").label.startswith(f"{chapter} · ")


def test_an_unknown_chapter_is_the_first_one(learn):
    for given in ("9", "0", "x"):
        assert "ellipse" in alts(learn(given))[0]


def test_chapters_follow_each_other(learn):
    test = learn(1)
    test.button(key="next-chapter").click().run()
    assert test.query_params["chapter"] == "2"
    test.button(key="chapter-6").click().run()
    assert "U and V" in alts(test)[0]
    test.button(key="next-chapter").click().run()
    assert "one for each region" in alts(test)[0]
    assert "next-chapter" not in [button.key for button in test.button]


def test_svd_by_hand(learn):
    test = learn(1)
    assert "half-axes 2.5 and 1" in alts(test)[0]
    test.slider(key="learn-sigma2").set_value(0.0).run()
    assert "half-axes 2.5 and 0" in alts(test)[0]
    assert any("rank 1" in caption.value for caption in test.caption)
    test.number_input(key="answer-largest").set_value(45.0).run()
    assert "square root" in test.info[0].value
    test.number_input(key="answer-largest").set_value(6.708).run()
    assert "Right" in test.success[0].value
    step(test, 1, "A photograph")
    before = alts(test)
    test.slider(key="learn-pairs").set_value(20).run()
    assert alts(test) != before
    sigma = picture.load_picture("china").sigma
    needed = int((picture.kept_energy(sigma)["share"] < 0.99).sum()) + 1
    test.number_input(key="answer-pairs").set_value(float(needed - 1)).run()
    assert "more are needed" in test.info[0].value
    assert done(test).startswith("0 of")
    test.number_input(key="answer-pairs").set_value(float(needed)).run()
    assert "Right" in test.success[0].value
    assert done(test).startswith("1 of")
    assert test.button(key="chapter-1").icon == ":material/check_circle:"


def test_the_dial(learn):
    test = learn(2)
    assert "turned by" in alts(test)[0]
    test.button(key="answer-removed").click().run()
    assert "off the diagonal" in test.info[0].value
    test.slider(key="learn-m23").set_value(0.0)
    test.slider(key="learn-m33").set_value(-1.0).run()
    assert "Every vector stays" in alts(test)[0]
    test.button(key="answer-removed").click().run()
    assert "Right" in test.success[0].value
    step(test, 2, "A language model")
    before = alts(test)
    test.slider(key="learn-off").set_value(-1.0).run()
    assert alts(test) != before
    for given, kind in (("Change a singular value", "info"), ("Turn a singular vector", "success")):
        test.pills(key="answer-turned").set_value(given).run()
        assert getattr(test, kind)


def test_patterns_are_painted_and_read(learn):
    test = learn(3)
    assert [metric.value for metric in test.metric] == ["6,144", "384", "8.0"]
    test.button(key="answer-low_rank").click().run()
    assert "rank 384" in test.info[0].value
    trials.store().set_note(ME, "learn-painted", sorted(painting.row_cells(0) | painting.row_cells(1)))
    test = learn(3)
    assert [metric.value for metric in test.metric] == ["12,288", "32", "16.0"]
    test.button(key="answer-low_rank").click().run()
    assert "exceed 32" in test.success[0].value
    step(test, 3, "The lemma")
    assert "75% left" in alts(test)[0]
    assert any("| square weight | 32 | 32 |" in markdown.value for markdown in test.markdown)
    step(test, 3, "Paint Ω")
    test.button(key="preset-Clear").click().run()
    assert test.button(key="race-it").disabled
    step(test, 3, "The lemma")
    assert "empty" in test.info[0].value


def test_a_registered_pattern_is_in_the_list(learn, monkeypatch):
    monkeypatch.setitem(PATTERNS, "corner", None)  # taken out again after the test
    register_pattern("corner", "The first k entries.")(lambda n, k, *, seed, U, V: torch.arange(k))
    test = learn(3)
    choice = test.segmented_control(key="learn-pattern")
    assert choice.options == ["My own", *PATTERNS]
    choice.set_value("corner").run()
    test.slider(key="learn-off_diag").set_value(0).run()
    assert [metric.value for metric in test.metric] == ["384", "1", "0.5"]
    assert any("The first k entries." in caption.value for caption in test.caption)


def test_a_painted_pattern_is_the_plan_of_a_race(learn):
    test = learn(3)
    test.button(key="race-it").click().run()
    plan = test.session_state["plan"]
    assert plan.methods == ("head_only", "custom", "banded", "random", "chosen", "lora", "full")
    assert plan.budgets == (36 * 6_144,)
    assert len(plan.custom_indices) == 6_144
    planned, left_out = plan.plan()
    assert not left_out
    assert [trial.label for trial in planned][:2] == ["head only", "My pattern"]
    sizes = [trial.parameters for trial in planned if trial.spec.method in ("custom", "banded", "random")]
    assert max(sizes) / min(sizes) < 1.06


def test_the_race_before_and_after(learn):
    test = learn(4)
    if racing.PREPARED.task not in trials.committed():
        assert any("not in this installation" in text.value for text in test.markdown)
    id = add_study(trials.store(), racing.PREPARED, owner=ME)
    test = learn(4)
    outcome = results.of_study(trials.store().study(id), trials.store().trials(id))
    pair = outcome.verdict.pair
    assert any(outcome.verdict.headline in text.value for text in test.markdown)
    assert "LoRA r=1" in alts(test)[0]
    right = claims.outcome(Answers(outcome.trials, outcome.examples.labels).difference(*pair))
    for given in sorted(claims.OUTCOMES, key=lambda option: option == right):
        test.pills(key="answer-claim").set_value(given).run()
        assert bool(test.success) == (given == right)
    test.button(key="open-race").click().run()
    assert test.session_state["plan"].methods == racing.PREPARED.methods


def test_students_of_a_class_have_seeds_of_their_own_and_one_plot(learn):
    for seed, owner in enumerate((ME, YOU)):
        student = learn(4, owner, **{"class": "7b"})
        assert f"your seed is {seed}" in student.info[0].value
        student.button(key="open-race").click().run()
        assert student.session_state["plan"].seeds == (seed,)
    teacher = {"class": "7b", "teacher": "1"}
    empty = learn(4, "c" * 32, **teacher)
    assert [metric.value for metric in empty.metric] == ["2", "0", "0"]
    assert "No run of the class 7b" in empty.info[0].value
    store = trials.store()
    for seed, owner in enumerate((ME, YOU)):
        plan = Study(racing.PREPARED.task, racing.PREPARED.methods, racing.PREPARED.budgets, seeds=(seed,))
        store.add_to_class("7b", add_study(store, plan, owner=owner))
    store.add_to_class("7b", add_study(store, Study(racing.PREPARED.task, ("plain", "lora"), (41_472,)), owner=ME))
    full = learn(4, "c" * 32, **teacher)
    assert [metric.value for metric in full.metric] == ["2", "2", "2"]
    assert "2 so far" in alts(full)[0]


def test_what_an_adapter_learned(learn, monkeypatch):
    test = learn(5)
    before = alts(test)
    test.segmented_control(key="learn-adapter").set_value("banded").run()
    assert len(alts(test)) == 3
    assert alts(test) != before
    verdicts = []
    for given in ("Yes, in fewer", "No, as noise does", "No, in more"):
        test.pills(key="answer-concentrated").set_value(given).run()
        verdicts.append(bool(test.success))
    assert sum(verdicts) == 1
    compute_nothing(monkeypatch)
    test.button(key="learn-explore").click().run()
    assert test.query_params["adapter"] == "BBC headlines · banded"


@pytest.mark.parametrize(
    ("way", "key", "value"),
    [("beside", "vs", "BBC headlines · full fine-tuning"), ("cards", "view", "Edit"), ("explore", "vs", None)],
)
def test_an_adapter_leads_on_to_explore(learn, way, key, value, monkeypatch):
    compute_nothing(monkeypatch)
    test = learn(5)
    test.button(key=f"learn-{way}").click().run()
    assert not test.exception
    assert test.query_params["adapter"] == "BBC headlines · plain"
    assert test.session_state[key] == value


def test_what_it_costs(learn):
    test = learn(6)
    assert "2.95 MB" in alts(test)[0]
    test.slider(key="learn-out").set_value(384).run()
    assert "2.95 MB" not in alts(test)[0]
    assert "4096" not in alts(test)[1]
    test.number_input(key="answer-basis").set_value(2.36).run()
    assert "W itself" in test.info[0].value
    test.number_input(key="answer-basis").set_value(2.95).run()
    assert "Right" in test.success[0].value
    step(test, 6, "Aside: signs")
    broken, error = alts(test), test.metric[1].value
    assert error != "0%"
    test.segmented_control(key="learn-signature").set_value("Used").run()
    assert test.metric[1].value == "0%"
    assert alts(test) != broken
    test.segmented_control(key="learn-of").set_value("plain")
    test.segmented_control(key="learn-signature").set_value("Ignored").run()
    assert test.metric[1].value == "0%"
    test.pills(key="answer-immune").set_value("banded").run()
    assert "off the diagonal" in test.info[0].value
    test.pills(key="answer-immune").set_value("plain").run()
    assert test.success


def test_a_teacher_sees_answers_and_notes(learn):
    student, teacher = learn(1), learn(1, teacher="1")
    assert not any("Answer:" in caption.value for caption in student.caption)
    assert any("Answer: σ₁ = √45" in caption.value for caption in teacher.caption)
    assert any("For the teacher · about 8 minutes" in text.value for text in teacher.markdown)


def test_links_lock_and_hide_controls(learn):
    test = learn(1, lock="sigma1:3.0,u", hide="sigma2:0.5,nothing")
    assert test.slider(key="learn-sigma1").disabled
    assert test.slider(key="learn-u").disabled
    assert not test.slider(key="learn-v").disabled
    assert "learn-sigma2" not in [slider.key for slider in test.slider]
    assert "half-axes 3 and 0.5" in alts(test)[0]
    wild = learn(1, lock="sigma1:nan,v:99999,step1:none")
    assert not wild.exception
    assert wild.slider(key="learn-v").value == 180


@pytest.mark.parametrize("weight", ["Tall", "Square", "Wide"])
def test_every_member_of_the_family_has_its_region_and_its_counts(learn, weight):
    test = learn(7, lock=f"weight:{weight},directions:64")
    shapes = block_shapes(DEFAULT_BASE)
    for name in MEMBERS if weight == "Tall" else ("psoft", "osf", "frod"):
        member = MEMBERS[name]
        test.selectbox(key="learn-member").set_value(name).run()
        assert not test.exception
        region, update = alts(test)
        assert f"Marked is {' '.join(REGIONS[member.region].title).replace('- ', '')}," in region
        assert f"One ΔW of {member.title}," in update
        assert test.metric[0].value == f"{trained(member, shapes, 64):,}"
        assert test.metric[2].value == ("turn" if member.turns else "stay")
        assert member.says in [markdown.value for markdown in test.markdown]


def test_a_link_opens_one_member_and_what_is_no_member_is_the_first(learn):
    assert learn(7, lock="member:osf").selectbox(key="learn-member").value == "osf"
    assert learn(7, lock="member:none").selectbox(key="learn-member").value == next(iter(MEMBERS))


def test_twins_of_the_family_and_the_table_of_counts(learn):
    test = learn(7)
    test.pills(key="answer-twins").set_value("MiCA and MiLoRA").run()
    assert "must stay there" in test.info[-1].value
    test.pills(key="answer-twins").set_value("SVF and SVFT plain").run()
    assert "zᵢ − 1" in test.success[-1].value
    assert test.button(key="chapter-7").icon == ":material/check_circle:"
    step(test, 7, "All counts")
    table = test.dataframe[0].value
    assert len(table) == len(MEMBERS)
    assert table["count"].is_monotonic_increasing
    before = table.set_index("title")["count"]["LoRA-XS"]
    test.slider(key="learn-directions").set_value(32).run()
    assert test.dataframe[0].value.set_index("title")["count"]["LoRA-XS"] == before // 9


def test_ways_on_from_the_family(learn, monkeypatch):
    compute_nothing(monkeypatch)
    test = learn(7)
    assert [b.label for b in test.button if b.key.startswith("family-")] == ["Open in Explore", "Measured before"]
    test.button(key="family-measured").click().run()
    assert test.query_params["study"]
    test = learn(7)
    test.selectbox(key="learn-member").set_value("lora_xs").run()
    assert [b.label for b in test.button if b.key.startswith("family-")] == ["Race it"]
    test.button(key="family-race").click().run()
    assert "block" in test.session_state["plan"].methods
    assert [lane.help for lane in test.checkbox if lane.key == "plan-use-block"] == [
        "The same updates as LoRA-XS, in other units."
    ]
    test = learn(7)
    test.selectbox(key="learn-member").set_value("lora").run()
    test.button(key="family-explore").click().run()
    assert test.query_params["adapter"] == "BBC headlines · LoRA r=8"
