"""What runs for each visitor: the pages, and the selection that all of them share."""

from pathlib import Path

import streamlit as st

from analysis.common.errors import UserError
from app import selection, style

st.set_page_config(page_title="SVFT Explorer", page_icon=str(Path(__file__).parent / "icon.svg"), layout="wide")

start = st.Page("start.py", title="Start", icon=":material/home:", default=True)
explore = st.Page("explore.py", title="Explore", icon=":material/search:")
race = st.Page("race.py", title="Race", icon=":material/flag:")
learn = st.Page("learn.py", title="Learn", icon=":material/school:")
page = st.navigation([start, explore, race, learn], position="top")

style.apply()
selection.render(show_adapter=page in (start, explore), explore=page == explore, race=page == race)
if wanted := selection.requested():
    selection.follow_link({"explore": explore, "race": race}[wanted])
else:
    try:
        page.run()
    except UserError as error:
        st.error(str(error), icon=":material/error:")
