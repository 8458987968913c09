"""Race: plan a study, or what a fine-tuning would cost; watch its trials, read its result."""

import streamlit as st

from app import selection, trials
from app.views import pickers
from app.views.budgets import page as budgets
from app.views.race import study
from app.views.race.past import studies as past
from app.views.race.plan import page as plan
from app.views.race.result import page as result
from app.views.race.running import live

chosen, record = selection.current(), trials.opened()
if record is None:
    if not chosen.study:
        pickers.show_race_tabs()
    else:
        st.warning(study.NOT_HERE, icon=":material/search_off:")
    if chosen.tab == selection.RACE_TABS[1]:
        budgets.show()
    else:
        plan.show()
        past.show()
else:
    study.show_head(record)
    (live if record.state in trials.RUNNING else result).show(record)
