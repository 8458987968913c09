"""Race: plan a study, or what a fine-tuning would cost; watch its trials, read its result."""

import streamlit as st

from app import selection, trials
from app.views.budgets import page as budgets
from app.views.race import study
from app.views.race.past import studies as past
from app.views.race.plan import page as plan
from app.views.race.result import page as result
from app.views.race.running import live

trials.remember_visitor()
record = trials.opened()
if record is None:
    if st.session_state["study"]:
        st.warning(study.NOT_HERE, icon=":material/search_off:")
    if st.session_state["tab"] == selection.RACE_TABS[1]:
        budgets.show()
    else:
        plan.show()
        past.show()
else:
    study.show_head(record)
    (live if record.state in trials.RUNNING else result).show(record)
