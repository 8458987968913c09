"""Learn in a real browser: every chapter moved and answered, a reload, a painted pattern raced, a class of two."""

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from analysis.adapters.opening import open_adapter
from analysis.adapters.shipped import shipped_adapters
from analysis.lessons import picture, reading
from analysis.lessons.family.members import MEMBERS, trained
from analysis.lessons.family.regions import REGIONS
from analysis.measures.coefficients import entries_for_energy
from analysis.measures.null import entry_null
from analysis.measures.overview import relative_norms
from analysis.models.packages import DEFAULT_BASE
from analysis.models.shapes import block_shapes
from analysis.trials.study import Study
from tests.app.visitor import is_readable

pytestmark = [pytest.mark.browser, pytest.mark.enable_socket]

CHAPTERS, START, VERDICT = ".st-key-learn-chapters", ".st-key-start button", ".st-key-race-verdict"
PATIENCE = 240_000  # milliseconds: other work may share the machine


def alt(page, figure):
    return page.locator(f".st-key-{figure} [role=figure]").get_attribute("aria-label")


def press(walk, control, keys):
    """Move a slider by keys; the figures follow."""
    walk.page.locator(f".st-key-learn-{control} :is([role=slider], input[type=range])").first.focus()
    for key in keys:
        walk.page.keyboard.press(key)
    walk.settle()


def moves(walk, figure, control, keys):
    """Assert that a figure reacts to a slider."""
    before = alt(walk.page, figure)
    press(walk, control, keys)
    walk.wait_for_change(f".st-key-{figure} [role=figure]", before)


def choose(walk, container, name):
    walk.page.locator(f".st-key-{container}").get_by_text(name, exact=True).first.click()
    walk.settle()


def type_answer(walk, question, value):
    field = walk.page.locator(f".st-key-answer-{question} input")
    field.fill(str(value))
    field.press("Enter")
    walk.settle()


def says(walk, question, *, right):
    kind = "Success" if right else "Info"
    return walk.page.locator(f".st-key-question-{question} [data-testid=stAlertContent{kind}]").inner_text()


def go_to(walk, number):
    walk.page.locator(f".st-key-chapter-{number} button").click()
    walk.settle()


def until(act, *wanted):
    """Act, again and again, until all that is wanted is on the page: a click while it is being drawn is lost."""
    for _ in range(10):
        act()
        try:
            for place in wanted:
                place.first.wait_for(timeout=10_000)
            return
        except PlaywrightTimeoutError:
            continue
    raise AssertionError(f"{wanted} never came")


def concentration_of(pattern):
    """Return which answer of chapter 5 is right about an adapter trained on headlines."""
    adapter = open_adapter(shipped_adapters()[f"BBC headlines · {pattern}"])
    norms = relative_norms(adapter)
    largest = norms.loc[norms["relative_norm"].idxmax(), "name"]
    matrix = adapter.matrix(largest)
    return reading.concentration_outcome(entries_for_energy(matrix)["fraction"], entry_null(matrix).fraction)


def stroke(page, start, end):
    """Paint from one cell (row, column) of the canvas to another."""
    box = page.locator("canvas[aria-label*=Pattern]").bounding_box()
    places = [
        (box["x"] + box["width"] * (c + 0.5) / 24, box["y"] + box["height"] * (r + 0.5) / 24) for r, c in (start, end)
    ]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=5)
    page.mouse.up()


def test_a_walk_through_every_chapter(server, visitor):
    walk = visitor().open(f"{server}/learn")
    page = walk.page

    # 1: circle to ellipse, then a photograph.
    moves(walk, "learn-plane", "sigma2", ["ArrowRight"] * 3)
    moves(walk, "learn-plane", "u", ["ArrowLeft"] * 2)
    type_answer(walk, "largest", 5)
    assert "WᵀW" in says(walk, "largest", right=False)
    type_answer(walk, "largest", 6.708)
    assert "45" in says(walk, "largest", right=True)
    choose(walk, "learn-step1", "A photograph")
    image = page.locator(".stMain [data-testid=stImage] img").nth(1)
    before = image.get_attribute("src")
    moves(walk, "learn-kept", "pairs", ["ArrowRight"] * 4)
    assert image.get_attribute("src") != before
    table = picture.kept_energy(picture.load_picture("china").sigma)
    needed = int((table["share"] < 0.99).sum()) + 1
    type_answer(walk, "pairs", needed + 3)
    assert "fewer would do" in says(walk, "pairs", right=False)
    type_answer(walk, "pairs", needed)
    assert "Right" in says(walk, "pairs", right=True)
    page.locator(".st-key-learn-next").get_by_text("1 of 7").wait_for()

    # 2: M and the dial; the chapter is in the URL.
    page.locator(".st-key-next-chapter button").click()
    walk.settle()
    assert "chapter=2" in page.url
    moves(walk, "learn-mixing", "m23", ["ArrowLeft"] * 2)
    page.locator(".st-key-answer-removed button").click()
    walk.settle()
    assert "off the diagonal" in says(walk, "removed", right=False)
    press(walk, "m23", ["Home"] + ["ArrowRight"] * 10)
    press(walk, "m33", ["Home"])
    page.locator(".st-key-answer-removed button").click()
    walk.settle()
    assert "Right" in says(walk, "removed", right=True)
    choose(walk, "learn-step2", "A language model")
    page.wait_for_selector(".st-key-learn-bars .main-svg", state="attached", timeout=PATIENCE)
    walk.settle()
    moves(walk, "learn-bars", "off", ["ArrowLeft"] * 12)
    choose(walk, "question-turned", "Change a prediction")
    assert "bars move" in says(walk, "turned", right=False)
    choose(walk, "question-turned", "Turn a singular vector")
    assert "Right" in says(walk, "turned", right=True)

    # 3: painted with the mouse, wiped, and the lemma on it.
    go_to(walk, 3)
    facts = page.locator(".st-key-learn-facts")
    assert "6,144" in facts.inner_text()
    page.locator(".st-key-answer-low_rank button").click()
    walk.settle()
    assert "rank 384" in says(walk, "low_rank", right=False)
    page.get_by_role("button", name="Clear").click()
    walk.settle()
    stroke(page, (4, 0), (4, 23))
    walk.settle()
    assert "6,144" in facts.inner_text()
    assert "16" in facts.inner_text()
    stroke(page, (5, 0), (5, 9))
    walk.settle()
    assert f"{34 * 256:,}" in facts.inner_text()
    page.locator("canvas[aria-label*=Pattern]").focus()
    for key in ("ArrowDown", " "):  # the keyboard paints too
        page.keyboard.press(key)
    walk.settle()
    assert f"{35 * 256:,}" in facts.inner_text()
    page.locator(".st-key-answer-low_rank button").click()
    walk.settle()
    assert "Right" in says(walk, "low_rank", right=True)
    choose(walk, "learn-step3", "The lemma")
    assert "75% left" in alt(page, "learn-reach")
    choose(walk, "learn-step3", "Paint Ω")
    choose(walk, "learn-pattern", "banded")
    moves_before = facts.inner_text()
    press(walk, "off_diag", ["ArrowRight"])
    assert facts.inner_text() != moves_before

    # 4 waits for a race; 5 and 6.
    go_to(walk, 4)
    assert page.locator(".st-key-open-race button").is_visible()
    go_to(walk, 5)
    before = alt(page, "learn-entries")
    choose(walk, "learn-adapter", "banded")
    walk.wait_for_change(".st-key-learn-entries [role=figure]", before)
    right = concentration_of("banded")
    wrong = next(answer for answer in reading.OUTCOMES if answer != right)
    choose(walk, "question-concentrated", wrong)
    assert "Read the curve at 90%" in says(walk, "concentrated", right=False)
    choose(walk, "question-concentrated", right)
    assert "Right" in says(walk, "concentrated", right=True)
    go_to(walk, 6)
    moves(walk, "learn-memory", "out", ["ArrowRight"])
    type_answer(walk, "basis", 2.36)
    assert "W itself" in says(walk, "basis", right=False)
    type_answer(walk, "basis", 2.95)
    assert "Right" in says(walk, "basis", right=True)
    choose(walk, "learn-step6", "Aside: signs")
    page.wait_for_selector(".st-key-learn-signs .main-svg", state="attached", timeout=PATIENCE)
    walk.settle()
    broken = alt(page, "learn-signs")
    choose(walk, "learn-signature", "Used")
    walk.wait_for_change(".st-key-learn-signs [role=figure]", broken)
    assert not walk.complaints


def test_a_member_of_the_family_lights_its_region_and_leads_to_explore(server, visitor):
    walk = visitor().open(f"{server}/learn?chapter=7", ready=".st-key-learn-family [role=figure]")
    page, shapes = walk.page, block_shapes(DEFAULT_BASE)
    figure, update = ".st-key-learn-family [role=figure]", ".st-key-learn-update [role=figure]"

    def pick(title):
        box = page.locator(".st-key-learn-member input").first
        box.click()
        box.fill(title)
        page.get_by_role("option", name=title, exact=True).first.click()

    for name in ("osf", "plain", "lora"):
        member = MEMBERS[name]
        region = " ".join(REGIONS[member.region].title).replace("- ", "")
        until(
            lambda title=member.title: pick(title),
            page.locator(f"{figure}[aria-label*='Marked is {region},']"),
            page.locator(f"{update}[aria-label*='One ΔW of {member.title},']"),
            page.locator(".st-key-learn-facts").get_by_text(f"{trained(member, shapes, 96):,}", exact=True),
            page.get_by_text(member.says, exact=True),
        )
        formulas = page.locator(".stMain annotation[encoding='application/x-tex']").all_text_contents()
        assert member.formula in [formula.strip() for formula in formulas]

    counted = page.locator(".st-key-learn-facts").inner_text()
    until(
        lambda: press(walk, "directions", ["ArrowLeft"]),
        page.locator(".st-key-learn-facts").get_by_text(f"{trained(MEMBERS['lora'], shapes, 80):,}", exact=True),
    )
    assert page.locator(".st-key-learn-facts").inner_text() != counted

    question = page.locator(".st-key-question-twins")
    for answer, reply in (("MiCA and MiLoRA", "must stay there"), ("SVF and SVFT plain", "Right:")):
        until(question.get_by_text(answer, exact=True).first.click, question.get_by_text(reply))
    page.locator(".st-key-chapter-7 [data-testid=stIconMaterial]").wait_for()
    until(
        page.locator(".st-key-learn-step7").get_by_text("All counts", exact=True).click,
        page.locator(".stMain [data-testid=stDataFrame]"),
    )
    until(page.locator(".st-key-learn-step7").get_by_text("The map", exact=True).click, page.locator(figure))
    until(
        page.locator(".st-key-family-explore button").click,
        page.locator(".st-key-adapter input"),
    )
    assert walk.selection()[0] == "BBC headlines · LoRA r=8"
    assert not walk.complaints


def test_a_reload_keeps_chapter_answers_and_the_painted_pattern(server, visitor):
    walk = visitor().open(f"{server}/learn")
    page = walk.page
    facts, question = page.locator(".st-key-learn-facts"), page.locator(".st-key-question-largest")
    until(
        lambda: type_answer(walk, "largest", 5), question.locator("[data-testid=stAlertContentInfo]")
    )  # wrong, to be seen again
    until(
        page.locator(".st-key-chapter-3 button").click,
        page.locator(".st-key-chapter-3 button[kind=primary]"),
        page.locator(".st-key-race-it button"),
    )
    until(page.get_by_role("button", name="One row").click, facts.get_by_text("16", exact=True))
    until(lambda: stroke(page, (1, 0), (1, 23)), facts.get_by_text("12,288", exact=True))
    right = page.locator(".st-key-question-low_rank [data-testid=stAlertContentSuccess]")
    until(page.locator(".st-key-answer-low_rank button").click, right)

    page.reload()
    for place in (
        page.locator(".st-key-chapter-3 button[kind=primary]"),
        page.locator(".st-key-chapter-3 [data-testid=stIconMaterial]"),
        page.locator("canvas[aria-label*='Pattern of 12,288 entries']"),
        facts.get_by_text("32", exact=True),
    ):
        place.wait_for()
    other = visitor().open(page.url, ready=".st-key-race-it button")  # the link, in another person's hands
    other.page.locator(".st-key-learn-facts").get_by_text("6,144", exact=True).wait_for()
    assert not other.page.locator(".st-key-chapter-3 [data-testid=stIconMaterial]").count()

    until(page.locator(".st-key-chapter-1 button").click, question.locator("[data-testid=stAlertContentInfo]"))
    value = "document.querySelector('.st-key-question-largest input')?.value"
    page.wait_for_function(f"Number({value}) === 5")
    clear = page.locator(".st-key-learn-clear button")
    until(page.locator(".st-key-learn-over button").first.click, clear)
    clear.click()
    page.wait_for_function(f"{value} === ''")
    until(page.locator(".st-key-chapter-3 button").click, facts.get_by_text("6,144", exact=True))
    assert not walk.complaints


def test_a_painted_pattern_is_raced_and_in_the_result(server, visitor):
    walk = visitor().open(f"{server}/learn?chapter=3", ready=".st-key-race-it button")
    page = walk.page
    page.get_by_role("button", name="Clear").click()
    walk.settle()
    stroke(page, (0, 0), (3, 3))
    walk.settle()
    page.locator(".st-key-race-it button").click()
    page.wait_for_url("**/race?**", timeout=60_000)
    page.wait_for_selector(START, timeout=60_000)
    walk.settle()
    page.get_by_text("Settings", exact=True).click()
    for label, value in (("Steps", 2), ("Training examples", 16)):
        page.get_by_label(label, exact=True).fill(str(value))
        page.get_by_label(label, exact=True).press("Enter")
        walk.settle()
    for method in ("random", "full"):  # enough are left to compare it with
        page.locator(f".st-key-plan-use-{method} label").click()
        walk.settle()
    page.locator(START).click()
    page.wait_for_selector(VERDICT, timeout=PATIENCE)
    walk.settle()
    page.wait_for_function(  # the words come before the figures
        "[...document.querySelectorAll('[role=figure]')].some(figure => figure.ariaLabel?.includes('My pattern'))"
    )
    assert not walk.complaints


def test_two_browsers_in_one_class_land_in_the_teachers_plot(server, visitor, tiny_base):
    study = Study(
        "bbc_headlines",
        ("plain", "lora"),
        sizes={"lora": (1,)},
        base=tiny_base,
        steps=2,
        examples=16,
        evaluate_every=2,
    )
    teacher = visitor().open(f"{server}/learn?chapter=4&class=7b&teacher=1", ready="[data-testid=stMetric]")
    students = [visitor().open(f"{server}/race?plan={study.to_link()}&class=7b", ready=START) for _ in range(2)]
    for student in students:
        student.page.locator(START).click()
    for student in students:
        student.page.wait_for_selector(VERDICT, timeout=PATIENCE)
    # Nobody touches the teacher's screen.
    teacher.page.wait_for_function(
        "document.querySelector('.st-key-class-growth [role=figure]')?.ariaLabel.includes('2 so far')",
        timeout=PATIENCE,
    )
    metrics = "[...document.querySelectorAll('[data-testid=stMetricValue]')].map(one => one.innerText).join()"
    teacher.page.wait_for_function(f"{metrics} === '2,2,2'")
    # The student finds the run in the lesson, beside the question about it.
    student = students[1].open(f"{server}/learn?chapter=4&class=7b", ready=".st-key-learn-forest .main-svg")
    assert "your seed is 1" in student.page.locator(".stMain").inner_text()
    assert not teacher.complaints


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "dark"), ("phone", "light")])
def test_the_look_of_every_chapter(server, visitor, size, scheme):
    walk = visitor(size, scheme).open(f"{server}/learn", ready=CHAPTERS)
    for number in range(1, 8):
        go_to(walk, number)
        is_readable(walk)
