"""Executes notebooks in a fresh kernel that reaches nothing but this machine.

`python -m tests.notebooks.execute` writes the outputs into the files: figures for front ends that can draw them, and
as pictures for pages that run no scripts, such as a repository's.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIGURE, PICTURE = "application/vnd.plotly.v1+json", "image/png"

_OFFLINE = "import pytest_socket; pytest_socket.socket_allow_hosts(['127.0.0.1'], allow_unix_socket=True)"


def execute(path: Path, renderer: str = "plotly_mimetype") -> NotebookNode:
    """Return the notebook in `path` with fresh outputs.

    Args:
        path: Of the notebook's file, which stays as it is.
        renderer: Of Plotly, as in `plotly.io.renderers`.

    Raises:
        nbclient.exceptions.CellExecutionError: Where a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(_OFFLINE))
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        "HF_HUB_OFFLINE": "1",
        "PLOTLY_RENDERER": renderer,
    }
    with tempfile.TemporaryDirectory() as directory:
        client = NotebookClient(
            notebook,
            resources={"metadata": {"path": directory}},
            coalesce_streams=True,
            record_timing=False,
            startup_timeout=600,
        )
        client.execute(env=environment)
    del notebook.cells[0]
    return notebook


def write(path: Path) -> None:
    """Put fresh outputs into the notebook's file."""
    notebook = execute(path, "plotly_mimetype+png")
    tidy(notebook)
    nbformat.write(notebook, path)


def tidy(notebook: NotebookNode) -> None:
    """Number the cells from 1, give each picture its alternative text, and drop what libraries write to stderr."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        cell.execution_count = number
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
            if FIGURE in output.get("data", {}):
                output.metadata[PICTURE] = {"alt": output.data[FIGURE]["layout"]["meta"]["alt"]}


if __name__ == "__main__":
    for chosen in [Path(name) for name in sys.argv[1:]] or NOTEBOOKS:
        write(chosen)
        print(chosen)
