"""A visitor's own data on the page Race: previewed, refused, raced for, and nobody else's."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from analysis.training.data.own_data import OwnData
from app import trials
from app.views.race.plan import form
from tests.app.race_page import captions, start, the_study

pytestmark = pytest.mark.usefixtures("no_workers")


def reviews(good: int = 90, bad: int = 90) -> bytes:
    rows = [f"{n},fine film number {n},good" for n in range(good)] + [
        f"{n},dull film number {n},bad" for n in range(bad)
    ]
    return "\n".join(["id,review,opinion", *rows, "999,fine film number 1,good"]).encode()


def choose_file(test: AppTest, content: bytes) -> AppTest:
    test.button_group(key="plan-task").set_value(form.OWN).run()
    return test.file_uploader(key="own-file").set_value(("reviews.csv", content, "text/csv")).run()


def test_own_data_are_previewed_and_then_raced_for(race):
    test = choose_file(race(), reviews())
    assert (test.selectbox(key="own-text").value, test.selectbox(key="own-label").value) == ("review", "opinion")
    assert "180 of 181 rows" in captions(test)
    assert "1 dropped: a duplicate text" in captions(test)
    assert test.dataframe[0].value["Texts"].tolist() == [90, 90]
    assert "start" not in {button.key for button in test.button}
    test.button(key="own-use").click().run()
    assert not test.error
    assert "In use: reviews.csv, 180 texts in 2 classes" in captions(test)
    assert any("film number" in html.value for html in test.html)
    start(test)
    record = the_study()
    assert record.name == "reviews.csv"
    data = OwnData.from_bytes(trials.store().data(record.id))
    assert data.name == record.study.task
    assert data.labels == ("bad", "good")
    test.button(key="again").click().run()
    assert test.button_group(key="plan-task").value == form.OWN
    assert not test.button(key="start").disabled


def test_own_data_stay_when_another_task_is_looked_at(race):
    test = choose_file(race(), reviews())
    test.button(key="own-use").click().run()
    test.button_group(key="plan-task").set_value("digits").run()
    test.button_group(key="plan-task").set_value(form.OWN).run()
    assert "In use: reviews.csv" in captions(test)


def test_another_column_can_be_chosen(race):
    test = choose_file(race(), reviews())
    test.selectbox(key="own-label").set_value("id").run()
    assert "different labels" in test.error[0].value
    assert "own-use" not in {button.key for button in test.button}
    test.selectbox(key="own-label").set_value("opinion").run()
    assert not test.error


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "reviews.csv"), (b"\xff\xfe\x00", "reviews.csv"), (reviews(5, 90), "at least")]
)
def test_unusable_data_are_a_sentence(race, content, says):
    test = choose_file(race(), content)
    assert not test.exception
    assert says in test.error[0].value


@pytest.mark.parametrize("content", [b"[1]", b"PAR1", b"review,opinion\nfine"])
def test_what_is_wrong_with_a_file_is_said_at_the_uploader_and_stays(race, content):
    test = choose_file(race(), content).run()
    assert len(test.error) == 1
    assert "reviews.csv" in test.error[0].value
    assert not test.selectbox
    assert not choose_file(test, reviews()).error


def test_rare_labels_are_left_out_with_one_click(race):
    test = choose_file(race(), reviews() + b"\n" + b"\n".join(b"%d,so so number %d,mixed" % (n, n) for n in range(7)))
    assert "too rare: mixed (7)" in test.error[0].value
    button = test.button(key="own-use")
    assert button.label == "Use these 180 texts, leave out 7 rare"
    button.click().run()
    assert not test.error
    assert "180 texts in 2 classes" in captions(test)


def test_a_file_without_a_header_is_recognised_and_can_be_overruled(race):
    test = choose_file(race(), reviews().partition(b"\n")[2])
    assert test.toggle(key="own-header").value is False
    assert (test.selectbox(key="own-text").value, test.selectbox(key="own-label").value) == ("column 2", "column 3")
    assert "180 of 181 rows" in captions(test)
    test.toggle(key="own-header").set_value(True).run()
    assert not test.exception
    assert "of 180 rows" in captions(test)


def test_an_array_of_objects_and_windows_text_are_read(race):
    rows = [{"review": f"café number {n}", "opinion": "good" if n % 2 else "bad"} for n in range(160)]
    test = choose_file(race(), json.dumps(rows).encode())
    assert "160 of 160 rows" in captions(test)
    test = choose_file(test, reviews().decode().replace("fine", "très fine").encode("cp1252"))
    assert "read as Windows-1252" in captions(test)
    assert any("très fine" in html.value for html in test.html)


def test_what_a_text_holds_is_shown_as_text(race):
    content = reviews().replace(b"fine film number", b"<script>alert(1)</script> number")
    test = choose_file(race(), content)
    test.button(key="own-use").click().run()
    shown = " ".join(html.value for html in test.html if "examples" in html.value)
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown


def test_the_plan_of_somebodys_own_data_is_not_a_way_to_them(race):
    owner = choose_file(race(), reviews())
    owner.button(key="own-use").click().run()
    start(owner)
    record = the_study()
    stranger = race(plan=record.study.to_link())
    assert "someone’s own data file" in stranger.error[0].value
    stranger = race(study=record.id)
    stranger.button(key="again").click().run()
    assert "someone’s own data file" in stranger.error[0].value
