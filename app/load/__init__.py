"""Visitors without a browser: they speak Streamlit's protocol with a running app, to load it and to measure it."""
