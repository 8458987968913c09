"""The result of a study in a real browser: how it looks, its film, and the way to Explore."""

import pytest

from analysis.trials.store import Store
from analysis.trials.study import Study
from tests.app.studies import add_study
from tests.app.visitor import LOOKS, is_readable, keeps_to_the_rules

pytestmark = [pytest.mark.browser, pytest.mark.enable_socket]

METHODS = ("head_only", "plain", "banded", "random", "lora", "full")
ME = "1" * 32
FILM = "[class*='st-key-film-']:has(.js-plotly-plot)"
STUDIES = {
    "one seed": (
        Study("bbc_headlines", METHODS, budgets=(41_472,)),
        {"bet": {"winner": "SVFT plain", "margin": "1 to 3 points"}},
    ),
    "many": (Study("bbc_headlines", (*METHODS, "top_k"), budgets=(41_472, 124_416), seeds=range(5)), {}),
    "partial": (
        Study("bbc_headlines", METHODS, budgets=(41_472,), seeds=(0, 1)),
        {"unfinished": {3: ("stopped", None), 4: ("failed", "It ran out of memory: take a smaller batch.")}},
    ),
    "pictures": (Study("digits", ("head_only", "plain", "lora", "full"), sizes={"lora": (1,)}), {}),
}


@pytest.fixture(scope="module")
def studies(server, data_directory):
    """Address of a finished study of each kind."""
    store = Store(data_directory)
    ids = {name: add_study(store, study, owner=ME, **options) for name, (study, options) in STUDIES.items()}
    store.close()
    return {name: f"{server}/race?study={id}" for name, id in ids.items()}


@pytest.fixture
def owner(studies, visitor):
    """Open a study as its owner."""

    def visit(name, *args):
        walk = visitor(*args)
        walk.context.add_cookies([{"name": "svft-visitor", "value": ME, "url": studies[name]}])
        walk.open(studies[name], ready=".st-key-race-verdict")
        return walk

    return visit


@pytest.mark.parametrize(
    ("name", "size", "scheme"), [(name, *LOOKS[place % len(LOOKS)]) for place, name in enumerate(STUDIES)]
)
def test_the_look_of_a_result(owner, name, size, scheme):
    walk = owner(name, size, scheme)
    walk.page.wait_for_selector(".st-key-open-table")
    keeps_to_the_rules(walk, size)
    for section in walk.page.locator("[class*='st-key-open-'] summary").all():
        section.click()
        walk.page.wait_for_timeout(300)
    walk.page.wait_for_selector(".st-key-race-section-table", timeout=60_000)
    walk.page.mouse.move(0, 0)  # what lies under it has another colour, and so has what is about to be drawn again
    walk.settle()
    is_readable(walk)
    assert walk.page.locator(".stMain [data-testid=stException]").count() == 0


def test_the_result_of_a_race_is_one_screen(owner):
    walk = owner("one seed", "wide")
    walk.page.wait_for_selector(".st-key-open-table")
    for part in ("race-verdict", "race-section-budget", "race-numbers"):
        place = walk.page.locator(f".st-key-{part}").first.bounding_box()
        assert place["y"] + place["height"] <= 900, part
    assert walk.page.locator(".st-key-race-section-table").count() == 0  # what is closed is not there


def shown(walk):
    """Return what the film shows: points of the first curve, and the sum of the magnitudes of M."""
    return walk.page.evaluate(
        """selector => {
          const film = document.querySelector(selector + ' .js-plotly-plot');
          const cells = [...film._fullData[0].z].flatMap(row => row.length === undefined ? [row] : [...row]);
          const sum = cells.reduce((total, z) => total + (Number.isFinite(+z) ? Math.abs(z) : 0), 0);
          return [film._fullData[1].x.length, sum];
        }""",
        FILM,
    )


def test_the_slider_takes_curves_and_m_to_a_step(owner):
    walk = owner("one seed")
    page = walk.page
    page.locator(".st-key-open-film summary").click()
    page.wait_for_selector(f"{FILM} .slider-rail-rect", timeout=60_000)
    film = page.locator(FILM).first
    film.scroll_into_view_if_needed()
    points, energy = shown(walk)
    assert points == 11
    for _ in range(20):
        rail = film.locator(".slider-rail-rect")  # anew: the film may be drawn again while its section opens
        size = rail.bounding_box()
        rail.click(position={"x": 0.3 * size["width"], "y": size["height"] / 2}, force=True)
        page.wait_for_timeout(500)
        earlier, less = shown(walk)
        if earlier != points:
            break
    assert earlier == 4
    assert 0 < less < energy
    assert not walk.complaints


def test_the_best_adapter_opens_in_explore_and_the_study_is_still_open_behind_it(owner):
    walk = owner("one seed")
    page = walk.page
    address = page.url
    page.locator(".st-key-explore-best button").first.click()
    page.wait_for_url("**/explore?**", timeout=60_000)
    walk.wait_for_matrix("Layer 0 · query · random")
    assert walk.selection()[0] == "Topic of a BBC headline · SVFT random, 41,472 entries"
    page.go_back()
    page.wait_for_selector(".st-key-race-verdict", timeout=60_000)
    assert address.split("?")[1] in page.url.split("?")[1].split("&")
    assert not walk.complaints


def test_an_adapter_is_downloaded_as_a_zip_file(owner):
    walk = owner("one seed")
    walk.page.locator(".st-key-open-adapters summary").click()
    walk.page.wait_for_selector(".st-key-adapters-download button")
    with walk.page.expect_download(timeout=60_000) as download:
        walk.page.locator(".st-key-adapters-download button").click()
    assert download.value.suggested_filename == "bbc_headlines-random-seed0.zip"
    assert download.value.path().read_bytes()[:2] == b"PK"
    assert not walk.complaints
