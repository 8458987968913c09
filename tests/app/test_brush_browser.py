"""A box is dragged over M with the mouse, over the strip and over the square; everything follows, and it stays."""

import re

import pytest

from tests.app.visitor import is_readable

pytestmark = [pytest.mark.browser, pytest.mark.enable_socket]

FIGURE = "[class*='st-key-coefficients-']"


def drag(walk, figure, start, stop):
    """Drag the mouse over a figure's plot, from and to parts of its width and height."""
    walk.settle()
    plot = walk.page.locator(f"{figure} .nsewdrag").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    places = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in (start, stop)]
    mouse = walk.page.mouse
    mouse.move(*places[0])
    mouse.down()
    mouse.move(*places[1], steps=8)
    mouse.up()


def brushed(walk, before=""):
    """Return first and last of both ranges of the box in the address, once there is another one than before."""
    walk.page.wait_for_url(lambda url: "brush=" in url and url != before)
    walk.settle()
    return tuple(map(int, re.search(r"brush=i(\d+)\.\.(\d+)_[jo](-?\d+)\.\.(-?\d+)", walk.page.url).groups()))


def exact(walk):
    return walk.page.locator(".st-key-cells [role=figure]").get_attribute("aria-label")


def test_a_box_over_the_strip(server, visitor):
    walk = visitor().open(f"{server}/explore?adapter=BBC+headlines+·+banded&matrix=Layer+2+·+value")
    page = walk.page
    drag(walk, FIGURE, (0.25, 0.3), (0.35, 0.7))  # of five offsets: the second to the fourth
    first, last, low, high = brushed(walk)
    assert (low, high) == (-1, 1)
    assert abs(first - 0.25 * 384) <= 2
    assert abs(last - 0.35 * 384) <= 2
    assert f"in rows {first}–{last}" in exact(walk)
    assert f"Rows {first}–{last}, offsets −1 to 1 hold" in page.locator(".st-key-brush").inner_text()

    # A second one, elsewhere: the picture has not moved, and takes it.
    once = page.url
    drag(walk, FIGURE, (0.5, 0.05), (0.6, 0.15))
    first, last, low, high = brushed(walk, once)
    assert (low, high) == (-2, -2)
    assert abs(first - 0.5 * 384) <= 2
    assert f"rows {first}" in exact(walk)

    # It opens in the view Edit, and is taken back there.
    page.locator(".st-key-brush-edit button").click()
    page.wait_for_selector("[class*='st-key-edit-box-'] .main-svg", state="attached")
    walk.settle()
    assert f"Rows {first}–{last}, offsets −2 to −2 hold" in page.locator(".st-key-edit").inner_text()
    page.locator(".st-key-brush-clear button").click()
    page.wait_for_url(lambda url: "brush=" not in url)
    assert not walk.complaints


def test_a_box_over_the_square(server, visitor):
    walk = visitor().open(f"{server}/explore?adapter=BBC+headlines+·+random&matrix=Layer+2+·+value")
    drag(walk, FIGURE, (0.2, 0.6), (0.4, 0.7))
    actual = brushed(walk)
    for end, place in zip(actual, (0.6, 0.7, 0.2, 0.4), strict=True):
        assert abs(end - place * 384) <= 2
    first, last, left, right = actual
    assert f"Rows {first}–{last}, columns {left}–{right} hold" in walk.page.locator(".st-key-brush").inner_text()
    assert f"rows {first}–{last}" in exact(walk)
    walk.page.reload()
    walk.page.wait_for_selector(".st-key-brush-clear", timeout=60_000)
    walk.settle()
    assert f"Rows {first}–{last}, columns {left}–{right} hold" in walk.page.locator(".st-key-brush").inner_text()
    is_readable(walk)
