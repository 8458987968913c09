"""What an edit makes: the new spectrum of the matrix, the model to try, the adapter to keep."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import streamlit as st

from analysis.adapters.adapter import Adapter
from analysis.common.settings import is_public
from analysis.figures.prediction_bars import prediction_bars
from analysis.figures.spectrum import spectrum as spectrum_figure
from analysis.measures.edits import Edit
from analysis.measures.spectrum import spectrum
from analysis.running.edit_effects import save_edited
from analysis.trials.store import data_directory
from app import data, figures, selection
from app.compat import fragment
from app.selection import Opened
from app.views import classified, dial


def show(chosen: Opened, edit: Edit, what: str, right: np.ndarray | None) -> None:
    """Draw the edited matrix's spectrum, the try-it box, and, once the edit was evaluated, how to keep it.

    Args:
        chosen: The selection.
        edit: The edit.
        what: It in words.
        right: Right or wrong on the test split, None before the edit is evaluated.
    """
    matrix = data.matrix(chosen.adapter, chosen.matrix)
    title = f"{matrix.label} after the edit"
    if matrix.m <= data.QUICK:
        table = data.edited_table(spectrum, chosen.adapter, chosen.matrix, edit.to_json())
        figure = spectrum_figure(table, pattern=matrix.pattern, theme=figures.theme())
        st.subheader(title, anchor=False, help=f"${figures.words(figure)['formula']}$")
        figures.draw(figure, key="edited-spectrum", height=290)
        st.caption(figures.words(figure)["caption"])  # saved and opened, the adapter has the table as CSV
    else:
        st.subheader(title, anchor=False)
        st.caption("Save the edited adapter and open it to see the spectrum of a matrix this large.")
    _try(chosen, edit)
    if right is not None:
        _keep(chosen.adapter, edit, what, right)


@fragment
def _try(chosen: Opened, edit: Edit) -> None:
    """Draw what the model predicts for a text or a sound, as trained and edited."""
    adapter = chosen.adapter
    if not st.toggle("Try it", key="try-edit"):  # the model takes seconds to load
        return
    given = classified.choose(adapter, "edit-text")
    predictor = dial.wait(data.predictor(adapter))
    if error := predictor.exception():
        st.warning(str(error), icon=":material/error:")
    elif given is not None:
        look = {"pattern": chosen.pattern, "theme": figures.theme()}
        for place, name, edited in zip(st.columns(2), ("As trained", "Edited"), (None, (adapter, edit)), strict=True):
            with place:
                st.caption(name)
                prediction = predictor.result().predict(given, edit=edited)
                figures.draw(prediction_bars(prediction, **look), key=f"edit-bars-{name}", height=dial.HEIGHT)
        dial.say_unread(predictor.result(), given)


def _keep(adapter: Adapter, edit: Edit, what: str, right: np.ndarray) -> None:
    """Offer the edited adapter as a file, and on a server of one's own as the open one."""
    name = f"{adapter.path.name}-{re.sub(r'[^a-z0-9]+', '-', what.lower()).strip('-')}"
    with st.popover("Save it as an adapter", icon=":material/save:", key="keep-edit"):
        st.download_button(
            "Download",
            lambda: _zipped(adapter, edit, what, right, name),
            file_name=f"{name}.zip",
            mime="application/zip",
            icon=":material/download:",
            on_click="ignore",
            key="download-edit",
        )
        if not is_public():
            target = data_directory() / "edited" / name

            def keep() -> None:
                try:
                    selection.open_adapter(save_edited(adapter, edit, what, right, target), view=selection.VIEWS[0])
                except OSError as error:
                    st.session_state["keep-error"] = (
                        f"The adapter cannot be written to {target} ({error}): download it instead."
                    )

            st.button("Save and open", on_click=keep, icon=":material/save:", help=f"Writes `{target}`.", key="keep")
    if error := st.session_state.pop("keep-error", None):
        st.error(error, icon=":material/error:")


def _zipped(adapter: Adapter, edit: Edit, what: str, right: np.ndarray, name: str) -> bytes:
    """Return the edited adapter's directory as a zip."""
    packed = io.BytesIO()
    with TemporaryDirectory() as place, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(save_edited(adapter, edit, what, right, Path(place) / name).iterdir()):
            archive.write(file, f"{name}/{file.name}")
    return packed.getvalue()
