"""Each notebook runs from top to bottom in a fresh kernel, offline, and its committed outputs are what it says."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from tests.notebooks.execute import FIGURE, NOTEBOOKS, PICTURE, execute

pytestmark = pytest.mark.enable_socket  # the kernel is another process of this machine

LARGEST = 1_000_000  # bytes of a file
VARIES = "varies"  # the tag of cells that train, and show more digits than machines agree on

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == [
        "01_svft_from_scratch",
        "02_read_an_adapter",
        "03_patterns_against_budgets",
    ]


@pytest.mark.slow
@every_notebook
def test_it_runs_and_says_what_is_committed(path):
    committed, fresh = code_cells(nbformat.read(path, as_version=4)), code_cells(execute(path))
    for before, after in zip(committed, fresh, strict=True):
        assert kinds(before) == kinds(after)
        if VARIES not in before.metadata.get("tags", []):
            assert printed(before) == printed(after)


@pytest.mark.slow
def test_one_that_reaches_out_fails(tmp_path):
    reaching = nbformat.v4.new_code_cell("import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)")
    nbformat.write(nbformat.v4.new_notebook(cells=[reaching]), tmp_path / "reaching.ipynb")
    with pytest.raises(CellExecutionError, match="SocketConnectBlockedError"):
        execute(tmp_path / "reaching.ipynb")


@every_notebook
def test_its_outputs_are_committed_whole_and_small(path):
    assert path.stat().st_size < LARGEST
    cells = code_cells(nbformat.read(path, as_version=4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    all_outputs = [output for cell in cells for output in cell.outputs]
    assert all_outputs
    for output in all_outputs:
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        data = output.get("data", {})
        if FIGURE in data:  # has a picture, for pages that run no scripts
            assert data[PICTURE]
            assert output.metadata[PICTURE]["alt"]


@every_notebook
def test_it_knows_no_machine(path):
    assert not re.search(r"/(root|home|opt|tmp|work|usr)/", path.read_text(encoding="utf-8"))


@every_notebook
def test_it_says_how_to_use_it_with_ones_own(path):
    words = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    assert any(re.search(r"\*With your own (model|adapter):\*", text) for text in words)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(cell):
    """Return a cell's outputs but for what libraries write to stderr."""
    return [output for output in cell.outputs if output.get("name") != "stderr"]


def kinds(cell) -> list[set[str]]:
    """Return what each output is made of, whether or not figures have their pictures."""
    return [{output.output_type, *output.get("data", {})} - {PICTURE} for output in outputs(cell)]


def printed(cell) -> list[str]:
    """Return the text in a cell's outputs."""
    return [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs(cell)]
