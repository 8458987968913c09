"""Fragments are drawn again at any time, also before their page has reached the browser.

`each_fragment_can_be_drawn_again_at_any_time` in `conftest.py` holds that for every page that a test of the app opens.
"""

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tests.app import redrawn

pytestmark = pytest.mark.usefixtures("own_fragments")


def _bare() -> None:
    import streamlit as st

    st.write("before")
    st.fragment(lambda: st.write("anew"))()
    st.write("behind")


def _placed() -> None:
    import streamlit as st

    from app.compat import fragment

    st.write("before")
    fragment(lambda: st.write("anew"))()
    st.write("behind")


def _harm(script) -> list[str]:
    with redrawn.recorded() as runs:
        AppTest.from_function(script).run()
    return [harm for run in runs for harm in redrawn.displaced(run)]


def test_a_fragment_in_a_container_of_its_own_takes_no_other_place():
    assert not _harm(_placed)


def test_streamlit_still_needs_that():
    assert _harm(_bare), f"Streamlit {st.__version__} keeps a fragment's place: app.compat.fragment can go"
