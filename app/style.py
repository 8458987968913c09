"""Layout that Streamlit's options do not reach."""

import streamlit as st

_CSS = """
<style>
.stMainBlockContainer { padding: 3.9rem 2rem 1.5rem; }
.stMainBlockContainer [data-testid="stVerticalBlock"] { gap: .6rem; }
.stMainBlockContainer [data-testid="stHeading"] { padding: 0; }
.stMainBlockContainer [data-testid="stHeading"] :is(h1, h2, h3) { padding: .1rem 0; }

/* The selection: one row, two columns on a phone. */
.st-key-selection { display: grid; grid-template-columns: 1fr 1.2fr 1fr auto; gap: .75rem; align-items: start; }
.st-key-view-picker-unseen, .st-key-unseen-link { display: none; }

/* Streamlit's captions are too pale to be read by everyone (WCAG AA asks for a contrast of 4.5). */
.stMainBlockContainer [data-testid="stCaptionContainer"] { opacity: 1; }
.stMainBlockContainer [data-testid="stCaptionContainer"] :is(p, span) {
  color: color-mix(in srgb, var(--text-color, currentColor) 80%, transparent); opacity: 1;
}

/* "⋯" stands at the right end of a figure's sentence, and needs no arrow. */
[class*="st-key-foot-"] { flex-wrap: nowrap; }
[class*="st-key-more-"] button { min-height: 0; padding: 0 .4rem; line-height: 1; }
[class*="st-key-more-"] button [data-testid="stIconMaterial"] { display: none; }

.st-key-facts [data-testid="stMetricLabel"] p { white-space: nowrap; }

@media (max-width: 1100px) {
  .st-key-facts [data-testid="stHorizontalBlock"] { gap: .25rem; }
  .st-key-facts [data-testid="stColumn"] { min-width: 0; }
  .st-key-facts [data-testid="stMetricValue"] { font-size: 1.35rem; }
  .st-key-facts [data-testid="stMetricDelta"] { font-size: .75rem; padding: 0 .25rem; }
  .st-key-facts [data-testid="stMetricLabel"] button { display: none; }
}
@media (max-width: 700px) {
  .stMainBlockContainer { padding: 3.7rem 1rem 1.5rem; }
  .st-key-selection { grid-template-columns: 1fr 1fr; gap: .5rem; }
  .st-key-view [role="radio"] { padding: .25rem .4rem; font-size: .75rem; }
  .st-key-view [role="radio"] p { font-size: .75rem; }
}
</style>
"""


def apply() -> None:
    """Apply the style sheet; once a run, from the entry script."""
    st.html(_CSS)
