"""The app's own layout, on the names that it gives to its containers."""

from string import Template

import streamlit as st

from app import compat, figures

_CSS = Template("""
<style>
$main { padding: 3.9rem 2rem 1.5rem; }
$main $block { gap: .6rem; }
$main $heading { padding: 0; }
$main $heading :is(h1, h2, h3) { padding: .1rem 0; }
/* Captions as Streamlit draws them are too pale to be read by everyone (WCAG AA asks for a contrast of 4.5). */
$main $caption { opacity: 1; }
$main $caption :is(p, span) {
  color: color-mix(in srgb, var(--text-color, currentColor) 80%, transparent); opacity: 1;
}

/* The links to the pages stand in the bar at the top, and stay there. */
$header { background: var(--ground); }
$wrapper:has(> .st-key-pages) { position: fixed; inset: .9rem auto auto 1rem; z-index: 1000000; width: auto; }
.st-key-pages { gap: .25rem; flex-wrap: nowrap; }
$wrapper:has(> .st-key-cookie) { display: none; }

/* What a first visit may be for: in the bar too, if it is wide enough. */
.st-key-want { gap: .1rem .5rem; flex-wrap: wrap; }
@media (min-width: 1100px) {
  $wrapper:has(> .st-key-want) { position: fixed; inset: .9rem 4.5rem auto auto; z-index: 1000000; width: auto; }
}

/* The selection: one row, two columns on a phone. */
.st-key-selection { display: flex; flex-flow: row nowrap; gap: .75rem; align-items: start; }
.st-key-selection > * { flex: 1 1 0; min-width: 0; }
.st-key-selection > :is(:has(> .st-key-view), .st-key-view, .st-key-open) { flex: none; width: max-content; }
.st-key-selection > .st-key-open { align-self: end; }

/* "⋯" stands at the right end of a figure's sentence, and needs no arrow. */
[class*="st-key-foot-"] { flex-wrap: nowrap; }
[class*="st-key-more-"] button { min-height: 0; padding: 0 .4rem; line-height: 1; }
[class*="st-key-more-"] button $icon { display: none; }

.st-key-facts $metric_label p { white-space: nowrap; }

/* Race: lanes of methods under the slider of budgets; a dot stands where the slider would for its size. */
:is([class*="st-key-race-"], .st-key-compare, .st-key-edit, $main:has(.st-key-learn-chapters))
$heading $words {
  margin-bottom: 0;
}
[class*="st-key-race-section-"] { margin-top: .75rem; }
/* What is drawn anew every second does not fade meanwhile. */
.st-key-live $stale { opacity: 1; }
$main .st-key-lanes $block { gap: 0; }
.st-key-lanes { padding-top: .75rem; }
$main $primary_button:enabled { color: var(--ground); }
/* Streamlit's own colour under the pointer leaves too little contrast in the dark. */
$main $primary_button:enabled:is(:hover, :active, :focus) { background-color: var(--primary); }
[class*="st-key-lane-"] { min-height: 2.25rem; }
.lane { position: relative; height: 1.5rem; line-height: 1.5rem; font-size: .875rem; margin: 0 .4rem; }
.lane::before {
  content: ""; position: absolute; inset: 50% 0 auto;
  border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent);
}
.lane i { position: absolute; top: 50%; width: .8rem; height: .8rem; border-radius: 50%; translate: -50% -50%; }
.lane span { position: absolute; background: var(--ground); margin: 0 .7rem; padding: 0 .3rem; white-space: nowrap; }
.lane small { font-size: inherit; }
.lane.out { height: auto; line-height: 1.2; font-size: .8rem; }
.lane.out::before { content: none; }
$main [class*="st-key-past-"] { gap: .5rem; min-height: 1.75rem; }
[class*="st-key-past-"] button { min-height: 1.75rem; padding-block: 0; }
[class*="st-key-open-"] button > div, .st-key-measured button > div { justify-content: flex-start; }
$main .st-key-measured { gap: 0; }
/* Five measures: numbers stay on one line, the words beside them wrap. */
.st-key-five table { width: 100%; }
.st-key-five td:nth-child(2) { white-space: nowrap; }

/* Learn. */
$main .st-key-learn-chapters { gap: .4rem; }
.st-key-learn-chapters button { min-height: 2.1rem; padding: .1rem .75rem; }
.st-key-learn-facts $metric { min-width: 9rem; }
ul.examples { list-style: none; margin: 0; padding: 0; font-size: .875rem; }
ul.examples li { display: flex; gap: .75rem; justify-content: space-between; padding: .15rem 0; margin: 0; }
ul.examples q { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
ul.examples.image { display: grid; grid-template-columns: repeat(5, auto); gap: .5rem; }
ul.examples.image li { align-items: center; justify-content: start; gap: .4rem; }

@media (max-width: 1100px) {
  .st-key-facts $row { gap: .25rem; }
  .st-key-facts $column { min-width: 0; }
  .st-key-facts $metric_value { font-size: 1.35rem; }
  .st-key-facts $metric_delta { font-size: .75rem; padding: 0 .25rem; }
  .st-key-facts $metric_label button { display: none; }
}
@media (max-width: 1000px) {
  /* Names stay whole: what has no room stands below. */
  .st-key-selection { flex-wrap: wrap; }
  .st-key-selection > * { min-width: 11rem; }
}
@media (max-width: 700px) {
  /* The one obvious button stays in reach. */
  .st-key-start-bar {
    position: fixed; inset: auto 0 0; z-index: 100; padding: .6rem 1rem .3rem; gap: 0 !important;
    background: var(--ground); border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent);
  }
  [class*="st-key-lane-"] > :first-child { flex-basis: 8.5rem !important; }
  .lane small { display: none; }
  .st-key-measures :is(td, th):nth-child(4) { display: none; }
  .st-key-race-study-head > :first-child { flex-basis: 100%; }
  [class*="st-key-past-"] { flex-wrap: wrap; border-top: 1px solid color-mix(in srgb, currentColor 12%, transparent); }
  [class*="st-key-past-"] $caption { min-width: 16rem; }
  $main:has(.st-key-start-bar) { padding-bottom: 7rem; }
  $main { padding: 3.7rem 1rem 1.5rem; }
  .st-key-selection { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; }
  .st-key-selection > * { min-width: 0; }
  .st-key-view $option { padding: .25rem .4rem; font-size: .75rem; }
  .st-key-view $option p { font-size: .75rem; }
}
</style>
""")


def apply() -> None:
    """Apply the style sheet; once per run, from the entry script."""
    theme = figures.theme()
    primary = st.get_option(f"theme.{theme.name}.primaryColor")
    colors = f"<style>:root {{ --ground: {theme.background}; --primary: {primary}; }}</style>"
    st.html(colors + _CSS.substitute(compat.PARTS))
