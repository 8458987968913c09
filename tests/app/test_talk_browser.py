"""A model that talks, by hand: both texts beside each other, and the dial that takes the adapter away."""

import pytest

from tests.app.talking import save_talking
from tests.app.visitor import LOOKS, is_readable, keeps_to_the_rules

pytestmark = [pytest.mark.browser, pytest.mark.enable_socket]

TEXTS = ".stMain [data-testid=stText]"
_WRITTEN = f"""() => {{
  const texts = [...document.querySelectorAll('{TEXTS}')].map(text => text.innerText);
  return texts.length === 2 && texts.every(text => text.split(' ').length >= 14) && (texts[0] === texts[1]) === %s;
}}"""  # the model reads 16 tokens, two of them of the person's


@pytest.fixture(scope="module")
def talking(tmp_path_factory):
    return save_talking(tmp_path_factory.mktemp("talking"))


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_the_dial_takes_what_the_adapter_says_away(server, visitor, talking, size, scheme):
    walk = visitor(size, scheme).open(f"{server}/?adapter={talking}", ready=".st-key-wall .main-svg")
    walk.rest()
    keeps_to_the_rules(walk, size)
    page = walk.page
    page.locator(".st-key-prompt textarea").fill("w3 w4")
    page.keyboard.press("Control+Enter")
    walk.settle()
    page.locator(".st-key-write button").click()
    page.wait_for_function(_WRITTEN % "false")
    walk.rest()
    is_readable(walk)  # what the model wrote is not the page's to be short
    page.locator(".st-key-alpha :is([role=slider], input[type=range])").focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    page.wait_for_function(_WRITTEN % "true")
    assert not walk.complaints
