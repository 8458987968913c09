"""What is being looked at, as one value. It lives in the URL and nowhere else: each link to the app is a `Selection`.

Pages ask for `current()` or, once the adapter is open, for `opened()`; callbacks call `change()` or `go()`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path

import streamlit as st

from analysis.adapters.adapter import Adapter
from analysis.adapters.shipped import shipped_adapters
from analysis.common.errors import UserError
from analysis.measures.brush import Brush
from analysis.models.base_weights import locate_base
from analysis.models.naming import places
from analysis.models.packages import packaged_bases
from analysis.models.packed.unpacking import takes_long
from app import data, uploads
from app.data import base_models

VIEWS = ("Coefficients", "Spectrum and rank", "Edit")
EDIT = VIEWS[2]  # of one adapter: the second slot is out of the way
RACE_TABS = ("Race", "Budgets")
NO_ADAPTER = "No adapter: "  # and a base model, as the picker of adapters names what is shown without any
_LONGEST_CODE = 40
_REQUESTED = "page-requested"
_PARAMETERS = {"class_code": "class"}  # of fields that the URL calls otherwise


@dataclass(frozen=True)
class Selection:
    """Everything that a link carries.

    Attributes:
        adapter: As the picker names it: the label of one that ships, or the path of its directory; "" is the first.
        model: The base model that Explore shows without any adapter: an id or a directory, "" for an adapter.
        vs: The adapter that it is compared with, "" for none.
        matrix: Label of an adapted matrix; one that the adapter does not have stands for its first.
        view: One of `VIEWS`, of the page Explore.
        brush: The box that was drawn in M, as `Brush.text`, "" for none; it stays with another matrix or adapter.
        tab: One of `RACE_TABS`.
        study: Id of the open study, "" for none.
        plan: The plan of a study, as its link has it.
        chapter: Of the page Learn.
        teacher: Whether Learn is shown to a teacher.
        class_code: Code of a class.
        hide: Controls of Learn that are taken away, "alpha:0.5,pairs".
        lock: Controls of Learn that are locked.
    """

    adapter: str = ""
    model: str = ""
    vs: str = ""
    matrix: str = ""
    view: str = VIEWS[0]
    brush: str = ""
    tab: str = RACE_TABS[0]
    study: str = ""
    plan: str = ""
    chapter: int = 1
    teacher: bool = False
    class_code: str = ""
    hide: str = ""
    lock: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Selection:
        """Return what a URL's parameters select; what they do not say, or say wrongly, is as on a first visit."""
        given = {field.name: query.get(_PARAMETERS.get(field.name, field.name), "") for field in fields(cls)}
        return cls(
            **{
                **given,
                "view": given["view"] if given["view"] in VIEWS else VIEWS[0],
                "brush": given["brush"] if Brush.parse(given["brush"]) else "",
                "tab": given["tab"] if given["tab"] in RACE_TABS else RACE_TABS[0],
                "chapter": int(given["chapter"]) if given["chapter"] in map(str, range(1, 100)) else 1,
                "teacher": given["teacher"] == "1",
                "class_code": given["class_code"].strip()[:_LONGEST_CODE],
            }
        )

    def to_query(self) -> dict[str, str]:
        """Return the parameters of its URL: those that differ from a first visit's."""
        return {
            _PARAMETERS.get(field.name, field.name): "1" if value is True else str(value)
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        }


@dataclass(frozen=True)
class Opened:
    """What a page about an adapter shows.

    Attributes:
        adapter: The open adapter.
        matrix: Full name of one of its matrices.
        view: The view of it.
        brush: The box that was drawn in M, None for none.
    """

    adapter: Adapter
    matrix: str
    view: str
    brush: Brush | None = None

    @property
    def pattern(self) -> str:
        """The pattern of the adapter as a whole, which gives it its colour."""
        return self.adapter.config.get("pattern", "custom")


@dataclass(frozen=True)
class OpenedBase:
    """What Explore shows of a base model alone: its name, its files, and the label of one of its matrices."""

    name: str
    directory: Path
    matrix: str


def current() -> Selection:
    """Return the selection."""
    return Selection.from_query(st.query_params)


def change(**values: str | int) -> None:
    """Change fields of the selection; the URL follows."""
    st.query_params.from_dict(replace(current(), **values).to_query())


def go(page: str, **values: str | int) -> None:
    """Change fields of the selection and ask for another page ("explore", "race"), from a callback."""
    change(**values)
    st.session_state[_REQUESTED] = page


def requested() -> str | None:
    """Return the page that a callback asked for, None without one; asking resets it."""
    return st.session_state.pop(_REQUESTED, None)


def adapter_name() -> str:
    """Return the selected adapter as the picker names it."""
    return current().adapter or next(iter(shipped_adapters()))


def opened() -> Opened:
    """Return the selection with its adapter open.

    Raises:
        UserError: If the adapter cannot be shown, with the reason.
    """
    adapter, chosen = _open(adapter_name()), current()
    return Opened(adapter, _matrix_name(adapter, chosen.matrix), chosen.view, Brush.parse(chosen.brush))


def opened_base() -> OpenedBase:
    """Return the base model that is shown without an adapter.

    Raises:
        UserError: If it is not here, is none, or may not be opened by this visitor.
    """
    chosen = current()
    directory = base_directory(chosen.model)
    labels = [place.label for place in places(list(base_models.base_shapes(directory)))]
    if not labels:
        raise UserError(
            f"{short_name(chosen.model)} has no linear layers inside transformer blocks, so there is none to show."
        )
    return OpenedBase(chosen.model, directory, chosen.matrix if chosen.matrix in labels else labels[0])


def base_directory(model: str) -> Path:
    """Return where the files of a base model are.

    Args:
        model: Id of a packaged model or of one in the Hub's local cache, or a directory.

    Raises:
        UserError: If it is not here, or may not be opened by this visitor.
    """
    path = Path(model).expanduser()
    if model not in packaged_bases() and os.path.isfile(path / "config.json"):
        uploads.require(path)
        return path
    with st.spinner("Unpacking the base model, once on this machine …") if takes_long(model) else nullcontext():
        return locate_base(model)


def versus() -> Adapter | None:
    """Return the adapter in the second slot, None if it is empty: nothing is compared with itself.

    Raises:
        UserError: If it cannot be shown, with the reason.
    """
    other = current().vs
    return _open(other) if other and other != adapter_name() else None


def short_name(name: str) -> str:
    """Return an adapter's name for people: its label if it ships, else that of its directory, without the path.

    A number says nothing (a study numbers its trials' adapters): what was trained stands in its place, or the
    directory above comes with it.
    """
    if name in shipped_adapters():
        return name
    if name.startswith(NO_ADAPTER):
        return NO_ADAPTER + short_name(name.removeprefix(NO_ADAPTER))
    *above, last = Path(name).parts or (name,)
    if above and last.isdecimal():
        return data.trained_title(Path(name)) or f"{above[-1]}/{last}"
    return last


def names() -> tuple[str, str]:
    """Return the names of both slots for people: what tells them apart."""
    labels = [short_name(name) for name in (adapter_name(), current().vs)]
    (task, *method), (other_task, *other_method) = (label.split(" · ", 1) for label in labels)
    return (method[0], other_method[0]) if task == other_task and method and other_method else tuple(labels)


def matrix_labels(adapter: Adapter) -> dict[str, str]:
    """Return the labels of an adapter's matrices by their names."""
    return dict(zip(adapter.matrices["name"], adapter.matrices["label"], strict=True))


def select_matrix(of: Adapter, name: str) -> None:
    """Make `name` the selected matrix, from a callback."""
    change(matrix=matrix_labels(of)[name])


def open_adapter(path: Path, **values: str) -> None:
    """Open an adapter on the page Explore, from a callback.

    Args:
        path: Its directory.
        values: Other fields of the selection to change; the second slot is emptied otherwise.
    """
    go("explore", **{"adapter": _label(path), "model": "", "vs": "", **values})


def open_base(model: str) -> None:
    """Show a base model alone on the page Explore, from a callback.

    Args:
        model: Its id or directory.
    """
    go("explore", model=model, vs="", view=VIEWS[0])


def _label(path: Path) -> str:
    names = {directory: label for label, directory in shipped_adapters().items()}
    return names.get(path, str(path))


def _open(name: str) -> Adapter:
    path = shipped_adapters().get(name)
    if path is None:
        path = Path(name).expanduser()
        uploads.require(path)
    return data.adapter(path)


def _matrix_name(adapter: Adapter, label: str) -> str:
    names = {label: name for name, label in matrix_labels(adapter).items()}
    return names.get(label, adapter.names[0] if adapter.names else "")
