"""A live study in a real browser: its charts stay where they are, with their hover and zoom."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from analysis.trials.study import Study
from tests.app.visitor import LOOKS, Visitor, keeps_to_the_rules

pytestmark = [pytest.mark.browser, pytest.mark.enable_socket]

# As many evaluations as possible: each draws the charts anew.
STUDY = Study(
    "bbc_headlines",
    ("head_only", "plain", "random", "lora"),
    budgets=(192,),
    steps=2000,
    batch_size=2,
    examples=16,
    evaluate_every=1,
)
START, LIVE = ".st-key-start button", ".trials"
ACCURACY, LOSS = ".st-key-live-accuracy", ".st-key-live-loss"
PATIENCE = 240_000  # milliseconds: other work may share the machine

_WATCH = """() => {
  window.chartChanges = [];
  const charts = 'canvas, svg, .vega-embed, .stVegaLiteChart';
  const isChart = node => node.nodeType === 1 && (node.matches(charts) || node.querySelector(charts));
  new MutationObserver(mutations => {
    for (const mutation of mutations)
      for (const node of [...mutation.addedNodes, ...mutation.removedNodes])
        if (isChart(node)) window.chartChanges.push(node.outerHTML.slice(0, 200));
  }).observe(document.querySelector('.stMain'), { childList: true, subtree: true });
}"""


def evaluations(page):
    return int(re.match(r"(\d+) of", page.locator("[data-testid=stProgress]").inner_text())[1])


def wait_for_updates(page, updates, since):
    """Wait until each trial has been evaluated so many times more than `since`, all of them together."""
    page.wait_for_function(
        "least => parseInt(document.querySelector('[data-testid=stProgress]').innerText) >= least",
        arg=since + updates * len(STUDY.methods),
        timeout=PATIENCE,
    )


def axis(page):
    """Return a picture of the labels under the plot of the accuracy."""
    box = page.locator(f"{ACCURACY} canvas").bounding_box()
    clip = {"x": box["x"], "y": box["y"] + 205, "width": box["width"], "height": 20}
    return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("L"), int)


def settled(page):
    """Return `axis` once it is the same for a while: the turns of a wheel are answered one after another."""
    before, now = None, axis(page)
    while before is None or np.abs(now - before).max() > 0:
        page.wait_for_timeout(3000)
        before, now = now, axis(page)
    return now


@pytest.fixture(scope="module")
def running(server, browser, tiny_base):
    """The address of a study that has begun, and the cookies of its owner; it is stopped in the end."""
    plan = replace(STUDY, base=tiny_base).to_link()
    owner = Visitor(browser).open(f"{server}/race?plan={plan}", ready=START)
    owner.page.locator(START).click()
    owner.page.wait_for_selector(f"{ACCURACY} canvas", timeout=PATIENCE)
    wait_for_updates(owner.page, 2, since=0)
    yield owner.page.url, owner.context.cookies()
    owner.page.locator(".st-key-stop button").click()
    owner.page.wait_for_selector(LIVE, state="detached", timeout=PATIENCE)
    owner.close()


@pytest.fixture
def live(running, visitor):
    """Its owner, watching it."""

    def watch(*args):
        url, cookies = running
        walk = visitor(*args)
        walk.context.add_cookies(cookies)
        return walk.open(url, ready=f"{ACCURACY} canvas")

    return watch


def zoom(page):
    """Turn the wheel over the accuracy by one notch; return the axis then."""
    whole = axis(page)
    box = page.locator(f"{ACCURACY} canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
    page.mouse.wheel(0, -400)
    for _ in range(120):
        page.wait_for_timeout(500)
        if np.abs(axis(page) - whole).max() > 100:
            return settled(page)
    raise AssertionError("The wheel did not zoom.")


def hover(page):
    """Point at the first loss; return what it says."""
    tooltip = page.locator("#vg-tooltip-element.visible")
    box = page.locator(f"{LOSS} canvas").bounding_box()
    for y in range(10, 200, 6):  # somewhere above step 0 is a point
        page.mouse.move(box["x"] + 52, box["y"] + y)
        page.wait_for_timeout(100)
        if tooltip.count():
            break
    return tooltip.inner_text()


def test_charts_stay_for_five_updates_with_their_hover_and_zoom(live):
    walk = live()
    page = walk.page
    page.evaluate(_WATCH)
    zoomed, before = zoom(page), hover(page)
    assert "step" in before
    begun = evaluations(page)
    wait_for_updates(page, 5, since=begun)
    assert page.locator("#vg-tooltip-element.visible").inner_text() == before
    assert np.abs(axis(page) - zoomed).max() == 0
    assert page.evaluate("window.chartChanges") == []
    assert not walk.complaints


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_the_look_of_a_live_study(live, size, scheme):
    keeps_to_the_rules(live(size, scheme), size)
