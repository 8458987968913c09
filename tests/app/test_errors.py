"""Errors that no page has caught: a sentence on screen, and nothing else."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from analysis.common.errors import UserError
from app import errors
from tests.app.server import running_app

ROOT = Path(__file__).parents[2]
SENTENCE = r"An unexpected error occurred \(id (\w{8})\)\. The details are in the log\."

SCRIPT = """
import numpy as np
import streamlit as st

def break_down():
    np.ones(2) + np.ones(3)

@st.fragment
def part():
    if st.button("fragment"):
        break_down()

st.button("callback", on_click=break_down)
part()
if st.button("page"):
    break_down()
"""


def logged(caplog):
    return [record for record in caplog.records if record.name == "analysis.common.errors"]


def show(error):
    from app import errors

    errors.show(error)


def test_an_error_for_people_is_its_sentence(caplog):
    test = AppTest.from_function(show, args=(UserError("There is no such adapter."),)).run()
    assert [error.value for error in test.error] == ["There is no such adapter."]
    assert not logged(caplog)


def test_an_unexpected_error_is_an_id_whose_traceback_is_in_the_log(caplog):
    with pytest.raises(ValueError, match="broadcast") as caught:
        np.add(np.ones(2), np.ones(3))
    test = AppTest.from_function(show, args=(caught.value,)).run()
    shown = re.fullmatch(SENTENCE, test.error[0].value)
    assert shown
    (record,) = logged(caplog)
    assert shown[1] in record.message
    assert "ValueError: operands could not be broadcast together" in record.message


def test_the_app_shows_its_errors_this_way(monkeypatch):
    monkeypatch.setattr(st, "App", lambda script, **options: (script, options))
    assert runpy.run_path(str(ROOT / "app" / "main.py"))["app"] == ("entry.py", {"on_script_error": errors.show})


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.enable_socket
def test_no_traceback_reaches_the_screen_from_a_page_a_fragment_or_a_callback(tmp_path, visitor):
    (tmp_path / "entry.py").write_text(SCRIPT)
    (tmp_path / "main.py").write_text((ROOT / "app" / "main.py").read_text())
    log = tmp_path / "log"
    with log.open("w") as stream, running_app(tmp_path, tmp_path / "main.py", stream) as address:
        page = visitor().open(address, ready=".stButton").page
        for place in ("fragment", "page", "callback"):
            page.reload()
            page.get_by_role("button", name=place).click()
            shown = page.locator("[data-testid=stAlert]").inner_text()
            assert (id := re.search(SENTENCE, shown)), place
            assert "broadcast" not in page.locator(".stApp").inner_text()
            assert f"Unexpected error {id[1]} in the app at {address}" in log.read_text()
    assert "ValueError: operands could not be broadcast together" in log.read_text()
