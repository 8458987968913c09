"""What is being looked at: base, adapter, matrix and view, and the open study. It lives in the URL.

The widgets are bound to query parameters and rendered once, in the entry script: a bound widget that a page does not
render loses its parameter. Pages ask for `current()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import Page

from analysis.adapters.adapter import Adapter
from analysis.adapters.shipped import shipped_adapters
from analysis.common.errors import UserError
from app import data, dialogs, uploads
from app.views import opening

# Once the link is there and the run that drew it has ended; the link goes with the page.
_FOLLOW = """
{
  const wait = setInterval(() => {
    const link = document.querySelector('.st-key-unseen-link a');
    if (!link) return;
    clearInterval(wait);
    setTimeout(() => link.click(), 30);
  }, 20);
}
"""

OPEN = "Open an adapter …"  # an entry of the picker, which asks for one
VIEWS = ("Coefficients", "Spectrum and rank", "Edit")
EDIT = VIEWS[2]  # of one adapter: the second slot is out of the way
RACE_TABS = ("Race", "Budgets")
# What the URL carries without a widget to see: the open study, and of Learn the chapter, whether it is shown to a
# teacher, the code of a class, and the controls that are hidden or locked.
_UNSEEN = ("study", "chapter", "teacher", "class", "hide", "lock")


@dataclass(frozen=True)
class Selection:
    """The open adapter, the full name of one of its matrices, and the view of it."""

    adapter: Adapter
    matrix: str
    view: str

    @property
    def pattern(self) -> str:
        """The pattern of the adapter as a whole, which gives it its colour."""
        return self.adapter.config.get("pattern", "custom")


def render(show_adapter: bool, explore: bool, race: bool) -> None:
    """Draw the pickers. Where the adapter cannot be opened, they stay and a page says why.

    What a page does not show is drawn unseen, so that its parameter stays in the URL.

    Args:
        show_adapter: Whether the page is about an adapter.
        explore: Whether the page has views of it, and a second slot to compare it with another.
        race: Whether the page is Race, which has tabs until a study is open.
    """
    if opened := st.session_state.pop("open-requested", None):
        st.session_state["adapter"] = opened
    shipped = shipped_adapters()
    bases = {label: data.base_of(path) for label, path in shipped.items()}
    chosen = st.session_state.get("adapter") or st.query_params.get("adapter") or next(iter(shipped))
    adapter = _open(chosen)
    known = isinstance(adapter, Adapter)
    base = (adapter.base or "unknown") if known else st.session_state.get("base", next(iter(bases.values())))
    st.session_state["base"] = base
    known_bases = list(dict.fromkeys([*bases.values(), base]))
    with st.container(key="selection" if show_adapter else "selection-unseen"):
        with st.container(key="base-picker" if len(known_bases) > 1 else "base-picker-unseen"):
            st.selectbox(
                "Base model",
                known_bases,
                format_func=lambda base: base.rsplit("/", 1)[-1],
                key="base",
                bind="query-params",
                on_change=_first_adapter_of_base,
                args=(bases,),
                help=f"`{base}`",
            )
        of_base = [label for label, other in bases.items() if other == base] or list(bases)
        st.selectbox(
            "Adapter",
            list(dict.fromkeys([*of_base, chosen, OPEN])),
            key="adapter",
            bind="query-params",
            on_change=_remember_request,
            args=(chosen,),
            accept_new_options=True,
            help="Choose one, open one of your own, or type the path of its directory.",
        )
        others = _others(of_base, chosen)
        view = st.session_state.get("view") or st.query_params.get("view")
        with st.container(key="vs-picker" if explore and view != EDIT else "vs-picker-unseen"):
            st.selectbox(
                "vs",
                others,
                index=None,
                key="vs",
                bind="query-params",
                accept_new_options=True,
                placeholder=f"Compare with {others[0].split(' · ')[-1]} …" if others else "Compare with …",
                help="A second adapter of the same base: the same matrix of both, side by side.",
            )
        if known:
            labels = dict(zip(adapter.matrices["name"], adapter.matrices["label"], strict=True))
            chosen_matrix = st.session_state.get("matrix")
            st.selectbox(
                "Matrix",
                adapter.names,
                format_func=lambda name: labels.get(name, name),
                key="matrix",
                bind="query-params",
                help=f"`{chosen_matrix if chosen_matrix in labels else adapter.names[0]}`",
            )
        with st.container(key="view-picker" if explore else "view-picker-unseen"):
            st.segmented_control("View", VIEWS, default=VIEWS[0], key="view", bind="query-params", required=True)
    with st.container(key="study-unseen"):
        for name in _UNSEEN:
            st.text_input(name.title(), key=name, bind="query-params")
    with st.container(key="race-tab-picker" if race and not st.session_state["study"] else "race-tab-unseen"):
        st.tabs(RACE_TABS, key="tab", bind="query-params", on_change="rerun")
    opening.show()


def current() -> Selection:
    """Return the selection.

    Raises:
        UserError: Where the adapter cannot be shown, with the reason.
    """
    adapter = _open(st.session_state["adapter"])
    if isinstance(adapter, UserError):
        raise adapter
    return Selection(adapter, st.session_state["matrix"], st.session_state["view"])


def versus() -> Adapter | None:
    """Return the adapter in the second slot, None where it is empty.

    Raises:
        UserError: Where it cannot be shown, with the reason.
    """
    chosen = st.session_state.get("vs")
    if not chosen:
        return None
    adapter = _open(chosen)
    if isinstance(adapter, UserError):
        raise adapter
    return adapter


def names() -> tuple[str, str]:
    """Return the names of both slots for people: what tells them apart."""
    labels = [
        label if label in shipped_adapters() else Path(label).name
        for label in (st.session_state["adapter"], st.session_state["vs"])
    ]
    (task, *method), (other_task, *other_method) = (label.split(" · ", 1) for label in labels)
    return (method[0], other_method[0]) if task == other_task and method and other_method else tuple(labels)


def select_matrix(name: str, *, explore: bool = False) -> None:
    """Make `name` the selected matrix, from a callback; with `explore`, on the page Explore."""
    st.session_state["matrix"] = name
    if explore:
        request("explore")


def open_adapter(path: Path, *, view: str | None = None, vs: str | None = None) -> None:
    """Open an adapter on the page Explore, from a callback.

    Args:
        path: Its directory.
        view: One of `VIEWS`; None keeps the one that is open.
        vs: What it is compared with, as the second slot names it.
    """
    names = {directory: label for label, directory in shipped_adapters().items()}
    st.session_state.update(adapter=names.get(path, str(path)), vs=vs)
    if view is not None:
        st.session_state["view"] = view
    request("explore")


def request(page: str) -> None:
    """Ask for another page ("explore", "race"), from a callback."""
    st.session_state["page-requested"] = page
    if page == "race":
        open_race_tab(RACE_TABS[0])


def open_race_tab(tab: str) -> None:
    """Show a tab of the page Race, from a callback."""
    st.session_state["tab"] = tab


def requested() -> str | None:
    """Return the page that a click asked for, None without one; asking resets it."""
    return st.session_state.pop("page-requested", None)


def follow_link(page: Page) -> None:
    """Go to `page` as a click on a link to it would, with the selection as it is in the URL.

    `st.switch_page` clears the URL first, and refuses to where a parameter is bound to a widget (Streamlit 1.67).
    """
    with st.container(key="unseen-link"):
        st.page_link(page)
    st.html(f"<script>{_FOLLOW}</script>", unsafe_allow_javascript=True)


def _open(chosen: str) -> Adapter | UserError:
    path = shipped_adapters().get(chosen)
    try:
        if path is None:
            path = Path(chosen).expanduser()
            uploads.require(path)
        return data.adapter(path)
    except UserError as error:
        return error


def _remember_request(before: str) -> None:
    """Ask for an adapter where that entry was chosen, and keep the one that is open meanwhile."""
    if st.session_state["adapter"] == OPEN:
        st.session_state["adapter"] = before
        dialogs.show(dialogs.OPEN)


def _others(of_base: list[str], chosen: str) -> list[str]:
    """Return what an adapter can be compared with: of its own task first, and there full fine-tuning first."""
    vs = st.session_state.get("vs") or st.query_params.get("vs")
    if vs == chosen:  # nothing is compared with itself
        st.session_state["vs"] = vs = None
    task = chosen.split(" · ")[0]
    others = [label for label in of_base if label != chosen]
    others.sort(key=lambda label: (label.split(" · ")[0] != task, "full" not in label))
    return list(dict.fromkeys([*others, *([vs] if vs else [])]))


def _first_adapter_of_base(bases: dict[str, str]) -> None:
    of_base = [label for label, base in bases.items() if base == st.session_state["base"]]
    if of_base:
        st.session_state["adapter"] = of_base[0]
