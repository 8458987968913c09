"""A base model alone, by hand: the look of the page, and a click on its map."""

import pytest

from tests.app.visitor import LOOKS, keeps_to_the_rules

pytestmark = [pytest.mark.browser, pytest.mark.enable_socket]

PAGE = "explore?model=svft-explorer/digits-vit"


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_a_click_on_the_map_shows_that_weight(server, visitor, size, scheme):
    walk = visitor(size, scheme).open(f"{server}/{PAGE}", ready=".st-key-base-decay .main-svg")
    walk.rest()
    keeps_to_the_rules(walk, size)
    walk.click_cell('[class*="st-key-base-map"]', column=2, columns=6, row=3, rows=4)
    walk.page.wait_for_function(
        "[...document.querySelectorAll('h3')].some(title => title.innerText.startsWith('Layer 3 · value'))"
    )
    assert "matrix=Layer+3" in walk.page.url
