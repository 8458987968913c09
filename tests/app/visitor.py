"""Who visits the app in a browser, and the rules that every page's look keeps to."""

from axe_playwright_python.sync_playwright import Axe

CHART = ".stPlotlyChart .nsewdrag, .stPlotlyChart .main-svg"
SIZES = {"desktop": (1280, 720), "wide": (1440, 900), "phone": (390, 844)}
LOOKS = (("desktop", "light"), ("phone", "dark"))
WIDGETS = ", ".join(
    f"[data-testid=st{name}]"
    for name in ("Selectbox", "TextInput", "Slider", "ButtonGroup", "Popover", "Button", "DownloadButton")
)


class Visitor:
    """One browser context with one page of the app, and what its console said."""

    def __init__(self, browser, size="desktop", scheme="light"):
        width, height = SIZES[size]
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.context.set_default_timeout(120_000)  # other tests may keep the machine busy
        self.page = self.context.new_page()
        self.complaints = []
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("crash", lambda page: self.complaints.append("The page crashed."))

    def _listen(self, message):
        # On any page but the first, Streamlit looks for its server under the page's own path before the root.
        if message.type == "error" and "_stcore/" not in message.location.get("url", ""):
            self.complaints.append(message.text)

    def open(self, url, ready=CHART):
        self.page.goto(url)
        self.page.wait_for_selector(ready, state="attached", timeout=60_000)
        self.settle()
        return self

    def settle(self):
        """Wait until the script has run and the figures stand."""
        self.page.wait_for_timeout(400)
        self.page.wait_for_selector('.stApp[data-test-script-state="notRunning"]', timeout=60_000)
        self.page.wait_for_function("!document.querySelector('.stMain [data-stale=true]')", timeout=60_000)
        self.page.wait_for_timeout(300)

    def runs(self, seconds):
        """Return how often the script runs within so many seconds, of itself."""
        self.page.evaluate(_COUNT_RUNS)
        self.page.wait_for_timeout(1000 * seconds)
        return self.page.evaluate("window.runs")

    def rest(self, times=40):
        """Wait until the script does not run of itself any more."""
        for _ in range(times):
            if not self.runs(seconds=3):
                return
        raise AssertionError("the page never comes to rest")

    def selection(self):
        return tuple(self.page.locator(f".st-key-{key} input").first.input_value() for key in ("adapter", "matrix"))

    def click_cell(self, figure, column, columns, row, rows):
        """Click into a heatmap, once it says what is under the pointer: before that, Plotly answers no click."""
        self.page.locator(f"{figure} .nsewdrag").first.scroll_into_view_if_needed()
        box = self.page.locator(f"{figure} .nsewdrag").first.bounding_box()
        x = box["x"] + box["width"] * (column + 0.5) / columns
        y = box["y"] + box["height"] * (row + 0.5) / rows
        label = self.page.locator(f"{figure} .hoverlayer .hovertext")
        for attempt in range(100):
            self.page.mouse.move(x - 4 * (attempt % 2), y)
            self.page.wait_for_timeout(200)
            if label.count():
                break
        self.page.mouse.down()
        self.page.mouse.up()

    def wait_for_matrix(self, label):
        self.page.wait_for_function(
            "label => [...document.querySelectorAll('h2')].some(title => title.innerText.startsWith(label))",
            arg=label,
            timeout=30_000,
        )

    def wait_for_change(self, figure, before):
        """Wait until a figure says something else than `before`."""
        self.page.wait_for_function(
            "([figure, before]) => document.querySelector(figure)?.ariaLabel !== before", arg=[figure, before]
        )

    def sees(self):
        """Return the address and the words of the page, and what its console said."""
        if self.page.locator(".stApp").count() == 0:  # the app's own scripts failed, or never came
            return "\n".join([self.page.url, f"no app, {self.complaints}", self.page.content()])
        pickers = {key: self.page.locator(f".st-key-{key} input").all() for key in ("adapter", "vs", "matrix")}
        values = {key: [node.input_value() for node in inputs] for key, inputs in pickers.items()}
        state = self.page.locator(".stApp").get_attribute("data-test-script-state")
        words = self.page.locator(".stApp").inner_text()
        return "\n".join([self.page.url, f"{state}, {values}, {self.complaints}", words])

    def close(self):
        self.context.close()


def keeps_to_the_rules(visitor, size: str) -> None:
    """Assert what holds for every page: it fits, few widgets and words above the fold, nothing too small or pale."""
    page, (width, height) = visitor.page, SIZES[size]
    assert len(above_the_fold(page, WIDGETS, width, height)) <= 7
    words = page.evaluate(_WORDS, height)
    assert len(words) <= 120, " ".join(words)
    is_readable(visitor)


def is_readable(visitor) -> None:
    """Assert that a page fits its window, that nothing on it is too small or pale, and that its console is silent."""
    page = visitor.page
    assert page.locator(".stMain").evaluate("element => element.scrollWidth <= element.clientWidth")
    assert min(page.evaluate(_FONT_SIZES)) >= 12
    page.wait_for_function(_AT_REST)  # what Streamlit has just drawn again fades in for 1.5 s
    violations = Axe().run(page).response["violations"]
    serious = [
        (node["id"], node["nodes"][0]["html"]) for node in violations if node["impact"] in ("serious", "critical")
    ]
    assert not serious, serious
    assert not visitor.complaints


def above_the_fold(page, selector: str, width: int, height: int) -> list[dict]:
    """Return the boxes of what can be seen without scrolling."""
    boxes = [node.bounding_box() for node in page.locator(selector).all() if node.is_visible()]
    return [box for box in boxes if box and box["y"] < height and box["x"] < width and box["height"]]


_AT_REST = "document.getAnimations().every(each => each.effect.getComputedTiming().endTime === Infinity)"
_COUNT_RUNS = """() => {
  window.runs = 0;
  const app = document.querySelector('.stApp');
  new MutationObserver(() => { window.runs += app.dataset.testScriptState === 'running'; })
    .observe(app, {attributes: true, attributeFilter: ['data-test-script-state']});
}"""

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
