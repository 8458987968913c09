"""The dialog that opens an adapter or a base model: an upload, a directory here, or a repository on the Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from analysis.adapters.hub import fetch
from analysis.adapters.opening import open_adapter
from analysis.adapters.recognise import AUTHORS, recognise
from analysis.adapters.upload import keep, unpack, with_base
from analysis.common.errors import UserError
from analysis.common.jobs import Job
from analysis.common.settings import is_public, max_upload, roots
from analysis.conversion.targets import conversion_steps
from analysis.models.base_weights import locate_base
from analysis.models.packages import packaged_bases
from app import data, dialogs, selection, uploads
from app.data import base_models
from app.views import progress

SOURCES = {"upload": "Upload", "directory": "Directory", "hub": "Hugging Face Hub"}
KINDS = {"adapter": "An adapter", "base": "A base model"}
_ADAPTERS = (
    "SVFT, LoRA and its relatives (DoRA, rsLoRA, PiSSA, OLoRA, AdaLoRA, VeRA, LoHa, LoKr, OFT, BOFT, FourierFT, "
    "SHiRA, RandLoRA, TinyLoRA, MiCA, PSOFT, OSF, AdaMSS, FRoD), or a whole fine-tuned model: the format is detected "
    "automatically."
)
_OWN = "as its files say"
_WORK = "open-work"


@dataclass(frozen=True)
class _Work:
    """A job that has to end before something can be opened.

    Attributes:
        job: It fetches, or converts.
        what: What it does, to begin a sentence.
        path: What can be opened then; None if the first result says it.
        model: Name of the base model that it fetches; "" for an adapter.
    """

    job: Job
    what: str
    path: Path | None = None
    model: str = ""


def show() -> None:
    """Draw the dialog where it was asked for, or where something that it started has ended meanwhile."""
    if _has_ended():
        dialogs.show(dialogs.OPEN)
    if dialogs.is_shown(dialogs.OPEN):
        _dialog()


@st.dialog("Open your own", width="large", on_dismiss=dialogs.close)
def _dialog() -> None:
    """Ask what it is and where; open it, or say why it cannot be opened."""
    kind = st.segmented_control(
        "What",
        list(KINDS),
        default="base" if selection.current().model else "adapter",
        format_func=KINDS.get,
        required=True,
        key="open-kind",
        label_visibility="collapsed",
    )
    if kind == "base":
        st.caption("A model's config.json and its weights, without an adapter: see what its weights are like.")
    else:
        st.caption(_ADAPTERS)
    source = st.segmented_control(
        "Source", list(SOURCES), default="upload", format_func=SOURCES.get, required=True, key="open-source"
    )
    base = _OWN if kind == "base" else _pick_base()
    try:
        path = {"upload": _upload, "directory": _directory, "hub": _hub}[source](kind) or _finished()
        if path is not None and kind == "base":
            _show_base(str(path))
        elif path is not None:
            _open(path, None if base == _OWN else base)
    except UserError as error:
        st.error(str(error), icon=":material/error:")
    if _WORK in st.session_state:
        work = st.session_state[_WORK]
        progress.wait(work.job, work.what, key="open-work", restart=lambda: st.session_state.pop(_WORK, None))


def _pick_base() -> str:
    return st.selectbox(
        "Base model",
        [_OWN, *packaged_bases()],
        accept_new_options=True,
        key="open-base",
        help="Needed if the files name no base model, or a path on another machine. An id or a directory.",
    )


def _show_base(model: str) -> None:
    """Show a base model by itself, once it is known that it has weights to show."""
    if not base_models.base_shapes(selection.base_directory(model)):
        raise UserError(f"{selection.short_name(model)} has no linear layers inside transformer blocks to show.")
    selection.open_base(model)
    dialogs.close()
    st.rerun()


def _open(path: Path, base: str | None) -> None:
    recognised = recognise(path)
    path = recognised.path
    if recognised.kind == AUTHORS:
        locate_base(base)  # a sentence, if it is not here or not named
        output = uploads.new_directory() / path.name
        st.session_state[_WORK] = _Work(
            Job(conversion_steps, path, "svft", output, base=base), "Converting layers", output
        )
        return
    if base is not None:
        path = with_base(path, base, uploads.new_directory() / path.name)
    data.libraries()
    open_adapter(recognised if base is None else path)  # what is wrong with it is said here, and not on the page
    selection.open_adapter(path)
    dialogs.close()
    st.rerun()


def _has_ended() -> bool:
    work = st.session_state.get(_WORK)
    return work is not None and not work.job.running


def _finished() -> Path | None:
    """Return what can be opened now that the work for it has ended, None if there is nothing yet."""
    if not _has_ended():
        return None
    work = st.session_state.pop(_WORK)
    if work.job.error:
        raise UserError(work.job.error)
    if not work.job.complete:
        return None
    if work.model:
        _show_base(work.model)
    return work.path or Path(work.job.results[0]).parent


def _upload(kind: str) -> Path | None:
    most = max(1, max_upload() // 1_000_000)
    is_adapter = kind == "adapter"
    names = "adapter_config.json and adapter_model.safetensors" if is_adapter else "its config and safetensors"
    files = st.file_uploader(
        f"A zip of its directory, or {names}, up to {most:,} MB",
        accept_multiple_files=True,
        max_upload_size=most,
        key="open-files",
    )
    st.caption("Only you can see your uploads; they are deleted when you leave.")
    if not st.button("Open", type="primary", disabled=not files, key="open-upload"):
        return None
    single = files[0].name if len(files) == 1 else ""
    zipped = single.lower().endswith(".zip")
    name = re.sub(r"[^\w .-]", "_", single[:-4]).strip(" .") if zipped else ""
    directory = uploads.new_directory() / (
        name[:80] or ("uploaded adapter" if kind == "adapter" else "uploaded model")
    )
    directory.mkdir()
    return unpack(files[0], directory) if zipped else keep([(file.name, file) for file in files], directory)


def _directory(kind: str) -> Path | None:
    where = f" under {', '.join(map(str, roots())) or 'no directory: its operator named none'}" if is_public() else ""
    typed = st.text_input(f"Directory on this machine{where}", key="open-path", placeholder=f"runs/my-{kind}")
    if not st.button("Open", type="primary", disabled=not typed.strip(), key="open-directory"):
        return None
    path = Path(typed.strip()).expanduser()
    uploads.require(path)
    return path


def _hub(kind: str) -> Path | None:
    if kind == "base" and is_public():
        st.caption("On this server, base models come from an upload, or from the models that it offers.")
        return None
    left, right = st.columns([3, 1])
    repository = left.text_input("Repository", key="open-repository", placeholder="owner/name, or owner/name/folder")
    revision = right.text_input("Revision", key="open-revision", placeholder="main")
    if kind == "base":
        st.caption("It is kept on this machine, as transformers keeps its models.")
    if st.button("Fetch", type="primary", disabled="/" not in repository, key="open-fetch"):
        name, target = repository.strip().strip("/"), ""
        if kind == "adapter":
            directory = uploads.new_directory() / name.split("/")[1]  # what the picker calls it
            directory.mkdir()
            target = str(directory)
        model = name if kind == "base" else ""
        st.session_state[_WORK] = _Work(Job(fetch, name, revision.strip(), target), "Fetching", model=model)
    return None
