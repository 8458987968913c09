"""The app as `streamlit run app/main.py` starts it: what runs for each visitor, and what shows its errors."""

import streamlit as st

from app import errors

app = st.App("entry.py", on_script_error=errors.show)
