"""The app in a real browser: a walk through it, and how it looks."""

import io
import re
import time

import numpy as np
import pytest
from PIL import Image

from analysis.figures.theme import THEMES
from tests.app.visitor import LOOKS, SIZES, above_the_fold, keeps_to_the_rules

pytestmark = [pytest.mark.browser, pytest.mark.enable_socket]


def test_a_walk_through_the_app(server, visitor, browser):
    walk = visitor().open(server)
    page = walk.page
    assert walk.selection() == ("BBC headlines · plain", "Layer 0 · query")

    # The dial: the dot rides the curve.
    curve = page.locator(".st-key-curve [role=figure]")
    assert "the dial stands at 1" in curve.get_attribute("aria-label")
    page.locator(".st-key-alpha :is([role=slider], input[type=range])").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "document.querySelector('.st-key-curve [role=figure]').ariaLabel.includes('the dial stands at 1.5')"
    )

    # The wall: a click on the row of Layer 2 · value opens it in Explore.
    walk.settle()
    walk.click_cell(".st-key-wall", 200, 384, 14, 36)
    page.wait_for_url("**/explore?**", timeout=30_000)
    walk.wait_for_matrix("Layer 2 · value · plain")
    walk.settle()
    assert walk.selection() == ("BBC headlines · plain", "Layer 2 · value")

    # The map: another cell.
    walk.click_cell("[class*='st-key-map-']", 1, 6, 4, 6)
    walk.wait_for_matrix("Layer 4 · key · plain")
    walk.settle()
    assert walk.selection() == ("BBC headlines · plain", "Layer 4 · key")
    walk.click_cell("[class*='st-key-map-']", 5, 6, 1, 6)
    walk.wait_for_matrix("Layer 1 · MLP down · plain")
    walk.settle()

    # Back, by one click on the map.
    page.go_back()
    walk.wait_for_matrix("Layer 4 · key · plain")
    walk.settle()
    assert walk.selection() == ("BBC headlines · plain", "Layer 4 · key")

    # Another adapter, and the other view.
    page.locator(".st-key-adapter input").click()
    page.get_by_role("option", name="BBC headlines · banded").click()
    walk.wait_for_matrix("Layer 4 · key · banded")
    page.get_by_role("radio", name="Spectrum and rank").or_(page.get_by_text("Spectrum and rank")).first.click()
    page.wait_for_selector(".st-key-spectrum .main-svg", state="attached")
    walk.settle()
    expected = ("BBC headlines · banded", "Layer 4 · key")
    assert walk.selection() == expected

    # A reload and another browser find the same.
    link = page.url
    page.reload()
    page.wait_for_selector(".st-key-spectrum .main-svg", state="attached", timeout=60_000)
    walk.settle()
    assert walk.selection() == expected
    other = visitor().open(link)
    other.page.wait_for_selector(".st-key-spectrum .main-svg", state="attached", timeout=60_000)
    assert other.selection() == expected
    assert not walk.complaints
    assert not other.complaints


def test_a_bad_adapter_shows_a_sentence_and_no_traceback(server, visitor):
    walk = visitor()
    walk.page.goto(f"{server}/?adapter=/no/such/directory")
    walk.page.wait_for_selector("[data-testid=stAlert]", timeout=60_000)
    text = walk.page.locator(".stMain").inner_text()
    assert "/no/such/directory" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/explore",
        "/explore?view=Spectrum+and+rank&adapter=BBC+headlines+·+banded",
        "/explore?vs=BBC+headlines+·+banded",
        "/explore?view=Edit",
    ],
)
def test_the_look(server, visitor, path, size, scheme):
    walk = visitor(size, scheme).open(server + path)
    walk.page.wait_for_selector("[data-testid=stProgress]", state="detached")
    width, height = SIZES[size]
    if path == "/" and size == "desktop":
        assert walk.page.locator(".stMain").evaluate("element => element.scrollHeight") <= height
    assert above_the_fold(walk.page, ".stPlotlyChart .main-svg", width, height)
    keeps_to_the_rules(walk, size)


@pytest.mark.parametrize(
    ("pattern", "scheme"), [("plain", "light"), ("banded", "dark"), ("random", "light"), ("top_k", "dark")]
)
def test_a_tenth_of_the_plot_of_the_coefficients_is_coloured(server, visitor, pattern, scheme):
    walk = visitor("desktop", scheme).open(f"{server}/explore?adapter=BBC+headlines+·+{pattern}")
    plot = walk.page.locator("[class*='st-key-coefficients-'] .nsewdrag").first.bounding_box()
    image = Image.open(io.BytesIO(walk.page.screenshot(clip=plot))).convert("RGB")
    theme = THEMES[scheme]
    grounds = np.array([_rgb(color) for color in (theme.background, theme.absent, theme.grid)])
    distance = np.abs(np.asarray(image)[:, :, None].astype(int) - grounds).max(-1).min(-1)
    assert (distance > 24).mean() >= 0.1


def _rgb(color: str) -> list[int]:
    return [int(part, 16) for part in re.findall("..", color.lstrip("#"))]


def test_each_click_on_the_map_redraws_the_matrix(server, visitor):
    walk = visitor().open(f"{server}/explore")
    taken = []
    for row, label in enumerate(["Layer 0 · value", "Layer 1 · value", "Layer 2 · value"]):
        walk.click_cell("[class*='st-key-map-']", 2, 6, row, 6)
        began = time.perf_counter()
        walk.wait_for_matrix(label)
        taken.append(time.perf_counter() - began)
        walk.settle()
    print(f"map click to redrawn strip: {', '.join(f'{seconds:.2f} s' for seconds in taken)}")
