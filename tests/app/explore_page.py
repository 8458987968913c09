"""What tests do on the page Explore."""

from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

MAIN = Path(__file__).parents[2] / "app" / "entry.py"


def explore(state: dict[str, Any] | None = None, **query: str) -> AppTest:
    """Open Explore with a query, and with a state of the session that was there before."""
    test = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in query.items():
        test.query_params[key] = value
    for key, value in (state or {}).items():
        test.session_state[key] = value
    test.switch_page("explore.py")  # before the first run, which would draw Start
    return test.run()


def alternatives(test: AppTest) -> str:
    """Return the alternative texts of all figures."""
    return "\n".join(chart.proto.alt for chart in test.get("plotly_chart"))


def words(test: AppTest) -> str:
    """Return all Markdown and captions."""
    return "\n".join(element.value for element in (*test.markdown, *test.caption))
