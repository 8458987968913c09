"""What runs for each visitor: the pages, the links between them, and the pickers of what they show."""

from pathlib import Path

import streamlit as st

from analysis.common.errors import UserError
from app import data, selection, style, uploads
from app.views import opening, pickers

ICONS = {"start": "home", "explore": "search", "race": "flag", "learn": "school"}

st.set_page_config(page_title="SVFT Explorer", page_icon=str(Path(__file__).parent / "icon.svg"), layout="wide")

pages = {
    name: st.Page(f"{name}.py", title=name.title(), icon=f":material/{icon}:", default=name == "start")
    for name, icon in ICONS.items()
}
page = st.navigation(list(pages.values()), position="hidden")  # its own links would lose the selection
style.apply()
uploads.remember_visitor()
with st.container(horizontal=True, key="pages"):
    for each in pages.values():
        st.page_link(each, query_params=selection.current().to_query())

if wanted := selection.requested():
    st.switch_page(pages[wanted], query_params=selection.current().to_query())
if page in (pages["start"], pages["explore"]):
    pickers.show(explore=page == pages["explore"])
opening.show()
try:
    if page not in (pages["start"], pages["explore"]) and not data.has_libraries():
        with st.spinner("Loading torch and transformers …"):
            data.libraries()
    page.run()
except UserError as error:
    st.error(str(error), icon=":material/error:")
