"""What reaches past Streamlit's options still arrives: each failure says what an upgrade has changed."""

import pytest
import streamlit as st

from app import compat

pytestmark = [pytest.mark.browser, pytest.mark.enable_socket]

PAGES = ("/", "/explore", "/race")


def test_the_style_sheet_finds_the_parts_of_a_page(server, visitor):
    missing = dict(compat.PARTS)
    for path in PAGES:
        page = visitor().open(server + path, ready="h1, h2").page
        missing = {name: part for name, part in missing.items() if not page.locator(part).count()}
    assert not missing, f"Streamlit {st.__version__} calls these parts of a page otherwise: {missing} in app/compat.py"


def test_a_cookie_stays_in_the_browser(server, visitor):
    walk = visitor().open(f"{server}/race", ready="h1")
    names = [cookie["name"] for cookie in walk.context.cookies()]
    assert "svft-visitor" in names, f"Streamlit {st.__version__} does not run the script of app.compat.set_cookie"
