"""The pickers of the selection: base model, adapter, what it is compared with, matrix, view; and Race's tabs."""

from __future__ import annotations

import streamlit as st

from analysis.adapters.adapter import Adapter
from analysis.adapters.shipped import shipped_adapters
from analysis.common.errors import UserError
from analysis.models.naming import places
from analysis.models.packages import packaged_bases
from app import data, dialogs, selection
from app.data import base_models

UNKNOWN = "unknown"  # base of an adapter that names none


def show(*, explore: bool) -> None:
    """Draw the pickers of a page about an adapter. If it cannot be opened they stay, and the page says why.

    Args:
        explore: Whether the page has views of it, and a second slot to compare it with another.
    """
    chosen, name = selection.current(), selection.adapter_name()
    if explore and chosen.model:
        _show_base(chosen.model)
        return
    opened = _opened()
    base_of = {label: data.base_of(path) for label, path in shipped_adapters().items()}
    base = (opened.adapter.base or UNKNOWN) if opened else next(iter(base_of.values()))
    of_base = [label for label, other in base_of.items() if other == base]
    with st.container(key="selection"):
        _pick_base(base_of, base)
        _pick_adapter(list(base_of), name, base)
        _open_button()
        if explore and chosen.view != selection.EDIT:
            _pick_second(of_base or list(base_of), name, chosen.vs)
        if opened:
            _pick_matrix(opened.adapter, opened.matrix)
        if explore:
            _pick_view(chosen.view)


def _show_base(model: str) -> None:
    """Draw the pickers of the page about a base model alone."""
    with st.container(key="selection"):
        _pick_adapter(list(shipped_adapters()), f"{selection.NO_ADAPTER}{model}", model)
        _open_button()
        try:
            opened = selection.opened_base()
        except UserError:
            return
        labels = [place.label for place in places(list(base_models.base_shapes(opened.directory)))]
        st.session_state["matrix"] = opened.matrix
        st.selectbox("Matrix", labels, key="matrix", on_change=_take, args=("matrix",))


def _open_button() -> None:
    st.button(
        "Open your own",
        icon=":material/upload_file:",
        key="open",
        help="An adapter or a base model of your own: upload it, or name a directory or a repository.",
        on_click=dialogs.show,
        args=(dialogs.OPEN,),
    )


def show_race_tabs() -> None:
    """Draw the tabs of the page Race."""
    st.session_state["tab"] = selection.current().tab
    st.tabs(selection.RACE_TABS, key="tab", on_change=_take, args=("tab",))


def _opened() -> selection.Opened | None:
    try:
        return selection.opened()
    except UserError:
        return None


def _pick_base(base_of: dict[str, str], base: str) -> None:
    """Offer the bases that adapters are of, beside one that no adapter here is of."""
    if base in base_of.values():
        return
    every = list(dict.fromkeys([*base_of.values(), base]))

    def take_first_adapter() -> None:
        if of_base := [label for label, other in base_of.items() if other == st.session_state["base"]]:
            selection.change(adapter=of_base[0])

    st.session_state["base"] = base
    st.selectbox("Base model", every, format_func=selection.short_name, key="base", on_change=take_first_adapter)


def _pick_adapter(adapters: list[str], name: str, base: str) -> None:
    """Offer adapters, and the bases that are here alone."""

    def take() -> None:
        chosen = st.session_state["adapter"] or ""
        if chosen.startswith(selection.NO_ADAPTER):
            selection.open_base(chosen.removeprefix(selection.NO_ADAPTER))
        else:
            selection.change(adapter=chosen, model="")

    bare = [
        f"{selection.NO_ADAPTER}{model}"
        for model in dict.fromkeys([*packaged_bases(), *([base] if base != UNKNOWN else [])])
    ]
    st.session_state["adapter"] = name
    st.selectbox(
        "Adapter",
        list(dict.fromkeys([*adapters, name, *bare])),
        format_func=selection.short_name,
        key="adapter",
        on_change=take,
        accept_new_options=True,
        help="Choose one, or type the path of its directory; or a base model without any.",
    )


def _pick_second(of_base: list[str], name: str, second: str) -> None:
    """Offer what an adapter can be compared with: of its own task first, and there full fine-tuning first."""
    task = name.split(" · ")[0]
    others = [label for label in of_base if label != name]
    others.sort(key=lambda label: (label.split(" · ")[0] != task, "full" not in label))
    second = second if second != name else ""  # nothing is compared with itself
    st.session_state["vs"] = second or None
    st.selectbox(
        "vs",
        list(dict.fromkeys([*others, *filter(None, [second])])),
        index=None,
        format_func=selection.short_name,
        key="vs",
        on_change=_take,
        args=("vs",),
        accept_new_options=True,
        placeholder=f"Compare with {others[0].split(' · ')[-1]} …" if others else "Compare with …",
        help="A second adapter of the same base: the same matrix of both, side by side.",
    )


def _pick_matrix(adapter: Adapter, name: str) -> None:
    labels = selection.matrix_labels(adapter)
    st.session_state["matrix"] = name
    st.selectbox(
        "Matrix",
        adapter.names,
        format_func=lambda name: labels.get(name, name),
        key="matrix",
        on_change=lambda: selection.select_matrix(adapter, st.session_state["matrix"]),
        help=f"`{name}`",
    )


def _pick_view(view: str) -> None:
    st.session_state["view"] = view
    st.segmented_control("View", selection.VIEWS, key="view", on_change=_take, args=("view",), required=True)


def _take(field: str) -> None:
    """Take what a widget says into the field of its name, from a callback."""
    selection.change(**{field: st.session_state[field] or ""})
