"""The rooms of the house: imports run one way, without a circle."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Rooms from the ground up. Rooms on one floor do not import each other.
FLOORS = (
    ("svft", "analysis.common"),
    ("analysis.models",),
    ("analysis.adapters",),
    ("analysis.measures",),
    ("analysis.training",),
    ("analysis.conversion", "analysis.planning", "analysis.running"),
    ("analysis.trials",),
    ("analysis.lessons",),
    ("analysis.figures",),
    ("analysis.cli", "analysis.adapter", "app"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for room in ("svft", "analysis", "app") for path in (ROOT / room).rglob("*.py")}


def room_of(module: str) -> str | None:
    return next((room for room in FLOOR if module == room or module.startswith(f"{room}.")), None)


def imports_of(module: str) -> set[str]:
    """Return the modules of this project that a module imports, anywhere in it."""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    imported = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*parents, *([node.module] if node.module else [])])
            names = {f"{source}.{alias.name}" for alias in node.names}
            imported |= {name if name in MODULES else source for name in names}
    return {name for name in imported if name in MODULES}


def test_imports_run_down():
    up = {}
    for module in MODULES:
        room = room_of(module)
        above = {
            name
            for name in imports_of(module)
            if room_of(name) != room and (room is None or FLOOR.get(room_of(name), -1) >= FLOOR[room])
        }
        if above:
            up[module] = above
    assert not up, "these modules import what is not below them"


def test_there_is_no_circle():
    # A package's own imports only pass names on; what it passes on stands in its modules.
    list(TopologicalSorter({module: imports_of(module) - {module} for module in MODULES}).static_order())


def test_only_the_app_imports_streamlit():
    assert not [
        module
        for module, path in MODULES.items()
        if not module.startswith("app") and re.search(r"^\s*(import|from) streamlit", path.read_text(), re.MULTILINE)
    ]


def test_no_folder_is_crowded():
    folders = {path.parent for name, path in MODULES.items() if not name.startswith("analysis.figures")}
    for folder in folders:
        modules = [path for path in folder.glob("*.py") if not path.name.startswith("__")]
        assert len(modules) <= 15, f"{folder.relative_to(ROOT)} holds {len(modules)} modules"
