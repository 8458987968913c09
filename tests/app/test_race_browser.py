"""Race in a real browser: a study from its plan to its winner in Explore, and how the page looks."""

from dataclasses import replace

import pytest

from analysis.trials.study import Study
from tests.app.visitor import LOOKS, SIZES, above_the_fold, keeps_to_the_rules

pytestmark = [pytest.mark.browser, pytest.mark.enable_socket]

SMALL = Study(
    "bbc_headlines", ("head_only", "plain", "lora"), budgets=(41_472,), steps=4, examples=16, evaluate_every=2
)
START, HEAD = ".st-key-start button", ".st-key-race-study-head"
PATIENCE = 240_000  # milliseconds: other work may share the machine


def past_study(page, name):
    return page.locator("[class*='st-key-past-']", has=page.get_by_role("button", name=name, exact=True))


def test_a_study_from_the_bet_to_its_winner_in_explore(server, visitor):
    walk = visitor().open(f"{server}/race?plan={SMALL.to_link()}", ready=START)
    page = walk.page

    # A bet, and off they go: the URL names the study.
    page.locator(".st-key-bet-winner").get_by_text("plain").click()
    page.get_by_text("over 3 points").click()
    walk.settle()
    page.locator(START).click()
    page.wait_for_url("**/race?study=*", timeout=60_000)
    page.wait_for_selector(HEAD, timeout=60_000)

    # Points arrive; reloaded in the middle, the study goes on, and is still the visitor's to stop.
    page.wait_for_selector("[data-testid=stVegaLiteChart] canvas", timeout=PATIENCE)
    link = page.url
    page.reload()
    page.wait_for_selector(HEAD, timeout=60_000)
    assert page.url == link
    page.wait_for_selector(".st-key-stop button", timeout=60_000)

    # The verdict, and the bet is scored.
    page.wait_for_selector(".st-key-race-verdict", timeout=PATIENCE)
    walk.settle()
    assert "SVFT plain" in page.locator(".st-key-race-verdict h2").inner_text()
    assert "Your bet: SVFT plain, by over 3 points." in page.locator(".st-key-race-verdict").inner_text()

    # It is among the past studies; it gets another name, and the plan has its settings.
    page.get_by_role("button", name="New study").click()
    page.wait_for_selector(START, timeout=60_000)
    walk.settle()
    assert not page.get_by_role("checkbox", name="SVFT banded").is_checked()
    row = past_study(page, "Topic of a BBC headline")
    assert "best:" in row.inner_text()
    row.get_by_role("button", name="⋯").click()
    page.get_by_label("Name").fill("The small one")
    page.get_by_label("Name").press("Enter")
    past_study(page, "The small one").wait_for(timeout=60_000)
    page.keyboard.press("Escape")

    # Another visitor does not see it among theirs, but can open its link.
    other = visitor().open(f"{server}/race", ready=START)
    assert other.page.get_by_text("The small one").count() == 0
    other.open(link, ready=HEAD)
    assert other.page.locator("h1").inner_text() == "The small one"

    # The winner opens in Explore, and back on Race its study is still open.
    walk.settle()
    page.get_by_role("button", name="The small one").click()
    page.wait_for_selector(".st-key-race-verdict", timeout=60_000)
    walk.settle()
    page.get_by_role("button", name="Open SVFT plain in Explore").click()
    page.wait_for_url("**/explore?**", timeout=60_000)
    walk.wait_for_matrix("Layer 0 · query · plain")
    page.get_by_role("link", name="Race").click()
    page.wait_for_selector(".st-key-race-verdict", timeout=60_000)

    # Gone, unless that is taken back.
    page.locator(HEAD).get_by_role("button", name="⋯").click()
    page.get_by_role("button", name="Delete", exact=True).last.click()
    page.wait_for_selector(START, timeout=60_000)
    walk.settle()
    assert past_study(page, "The small one").count() == 0
    page.get_by_role("button", name="Undo").click()
    past_study(page, "The small one").wait_for(timeout=60_000)
    assert not walk.complaints
    assert not other.complaints


def test_a_study_can_be_stopped_and_continued(server, visitor, tiny_base):
    study = replace(SMALL, base=tiny_base, budgets=(192,), steps=20)
    walk = visitor().open(f"{server}/race?plan={study.to_link()}", ready=START)
    page = walk.page
    page.locator(START).click()
    for button in (".st-key-stop button", ".st-key-resume button"):
        page.wait_for_selector(button, timeout=60_000)
        walk.settle()  # the head's buttons move where one takes another's place
        page.locator(button).click()
    page.wait_for_selector(".st-key-stop button", timeout=60_000)
    page.wait_for_selector(".st-key-race-verdict", timeout=PATIENCE)
    assert not walk.complaints


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_the_look_of_the_plan(server, visitor, size, scheme):
    walk = visitor(size, scheme).open(f"{server}/race", ready=START)
    assert above_the_fold(walk.page, START, *SIZES[size])
    assert above_the_fold(walk.page, ".st-key-plan-budget", *SIZES[size])
    keeps_to_the_rules(walk, size)


def test_start_stays_in_reach_however_much_is_open(server, visitor):
    walk = visitor("phone").open(f"{server}/race", ready=START)
    walk.page.get_by_text("More methods").click()
    walk.page.get_by_text("Settings", exact=True).click()
    walk.page.locator(".stMain").evaluate("main => main.scrollTo(0, main.scrollHeight)")
    walk.settle()
    assert above_the_fold(walk.page, START, *SIZES["phone"])
