"""The app in a real browser: a walk through it, and how it looks."""

import io
import re
import time

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from analysis.figures.theme import THEMES

pytestmark = [pytest.mark.browser, pytest.mark.enable_socket]

SIZES = {"desktop": (1280, 720), "phone": (390, 844)}
WIDGETS = ", ".join(
    f"[data-testid=st{name}]"
    for name in ("Selectbox", "TextInput", "Slider", "ButtonGroup", "Popover", "Button", "DownloadButton")
)


class Visitor:
    """One browser context with one page of the app, and what its console said."""

    def __init__(self, browser, size="desktop", scheme="light"):
        width, height = SIZES[size]
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.complaints = []
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _listen(self, message):
        # On any page but the first, Streamlit looks for its server under the page's own path before the root.
        if message.type == "error" and "_stcore/" not in message.location.get("url", ""):
            self.complaints.append(message.text)

    def open(self, url):
        self.page.goto(url)
        self.page.wait_for_selector(
            ".stPlotlyChart .nsewdrag, .stPlotlyChart .main-svg", state="attached", timeout=60_000
        )
        self.settle()
        return self

    def settle(self):
        """Wait until the script has run and the figures stand."""
        self.page.wait_for_timeout(400)
        self.page.wait_for_selector('.stApp[data-test-script-state="notRunning"]', timeout=60_000)
        self.page.wait_for_function("!document.querySelector('.stMain [data-stale=true]')", timeout=60_000)
        self.page.wait_for_timeout(300)

    def selection(self):
        return tuple(self.page.locator(f".st-key-{key} input").first.input_value() for key in ("adapter", "matrix"))

    def click_cell(self, figure, column, columns, row, rows):
        """Click into a heatmap; Plotly answers a click only where the pointer has hovered."""
        self.page.locator(f"{figure} .nsewdrag").first.scroll_into_view_if_needed()
        box = self.page.locator(f"{figure} .nsewdrag").first.bounding_box()
        x = box["x"] + box["width"] * (column + 0.5) / columns
        y = box["y"] + box["height"] * (row + 0.5) / rows
        self.page.mouse.move(x - 4, y)
        self.page.wait_for_timeout(150)
        self.page.mouse.move(x, y)
        self.page.wait_for_timeout(250)
        self.page.mouse.down()
        self.page.mouse.up()

    def wait_for_matrix(self, label):
        self.page.wait_for_function(
            "label => [...document.querySelectorAll('h2')].some(title => title.innerText.startsWith(label))",
            arg=label,
            timeout=30_000,
        )

    def close(self):
        self.context.close()


@pytest.fixture
def visitor(browser):
    visitors = []

    def visit(*args, **options):
        visitors.append(Visitor(browser, *args, **options))
        return visitors[-1]

    yield visit
    for one in visitors:
        one.close()


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("path", ["/", "/explore", "/explore?view=Spectrum+and+rank&adapter=BBC+headlines+·+banded"])
def test_the_look(server, visitor, path, size, scheme):
    walk = visitor(size, scheme).open(server + path)
    page, (width, height) = walk.page, SIZES[size]
    main = page.locator(".stMain")
    assert main.evaluate("element => element.scrollWidth <= element.clientWidth")
    if path == "/" and size == "desktop":
        assert main.evaluate("element => element.scrollHeight") <= height

    def above_the_fold(selector):
        boxes = [one.bounding_box() for one in page.locator(selector).all() if one.is_visible()]
        return [box for box in boxes if box and box["y"] < height and box["x"] < width and box["height"]]

    assert above_the_fold(".stPlotlyChart .main-svg")
    assert len(above_the_fold(WIDGETS)) <= 6
    assert len(page.evaluate(_WORDS, height)) <= 120
    assert min(page.evaluate(_FONT_SIZES)) >= 12
    violations = Axe().run(page).response["violations"]
    assert [rule["id"] for rule in violations if rule["impact"] in ("serious", "critical")] == []
    assert not walk.complaints


# Words of the page above the fold; the numbers and ticks within figures are not words.
_WORDS = """height => {
  const words = [], walker = document.createTreeWalker(document.querySelector('.stMain'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (element.closest('svg, style, script, [data-testid=stIconMaterial], .katex-mathml')) continue;
    const box = element.getBoundingClientRect();
    if (!element.checkVisibility() || box.top >= height || box.height === 0) continue;
    words.push(...walker.currentNode.textContent.split(/\\s+/).filter(word => /[\\p{L}]/u.test(word)));
  }
  return words;
}"""

_FONT_SIZES = """() => [
    ...document.querySelectorAll('.stMain :is(p, label, button, h1, h2, h3, td, th, input), .stMain svg text')
  ]
  .filter(element => element.checkVisibility() && element.textContent.trim())
  .map(element => parseFloat(getComputedStyle(element).fontSize))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("pattern", ["plain", "banded", "random", "top_k"])
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
