"""What README and documentation show runs: each page's Python from top to bottom; every `svft` command exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from analysis.cli import app

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
}
README = PAGES["README.md"]

# On the README's first line, which is its title: nothing is fetched.
OFFLINE = "import pytest_socket; pytest_socket.disable_socket(allow_unix_socket=True)"


def python_lines(markdown: str) -> list[str]:
    """Return the Python blocks at their own lines, so that a traceback points into the README; all else is empty."""
    lines, inside = [], False
    for line in markdown.splitlines():
        fence = line.startswith("```")
        lines.append(line if inside and not fence else "")
        inside = line.strip() == "```python" if fence else inside
    return lines


def svft_commands(markdown: str) -> list[str]:
    """Return the `svft …` commands in the bash blocks."""
    blocks = re.findall(r"^```bash\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    commands = [part.strip() for line in lines for part in re.split(r"&&|\|", line)]
    return [actual.group() for command in commands if (actual := re.search(r"(?:(?<=\s)|^)svft\s.*", command))]


@pytest.mark.slow
def test_the_python_blocks_run_one_after_the_other(tmp_path):
    lines = python_lines(README)
    assert any(lines)
    assert not lines[0]
    program = tmp_path / "README.py"
    program.write_text("\n".join([OFFLINE, *lines[1:]]), encoding="utf-8")
    # A process of its own: what a block registers is gone with it.
    ran = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


def test_there_are_commands_to_check():
    assert svft_commands(README)


@pytest.mark.parametrize("command", sorted({command for page in PAGES.values() for command in svft_commands(page)}))
def test_a_command_and_its_options_exist(command):
    check(command)


@pytest.mark.parametrize("command", ["svft no-such-command", "svft train --no-such-option 1", "svft cache surplus"])
def test_a_command_that_does_not_exist_is_found(command):
    with pytest.raises(Exception, match=r"(?i)no such|unexpected"):
        check(command)


def test_the_measured_tables_are_those_of_the_committed_studies():
    printed = CliRunner().invoke(app, ["results", "--markdown"])
    assert printed.exit_code == 0, printed.output
    assert printed.output.strip() in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_the_tables_of_the_family_are_those_of_its_study():
    file = ROOT / "analysis" / "studies" / "family" / "digits.json"
    printed = CliRunner().invoke(app, ["results", "--markdown", str(file)])
    assert printed.exit_code == 0, printed.output
    tables = [part for part in printed.output.split("\n\n") if part.startswith("| method")]
    assert len(tables) == 2  # accuracy, and what was forgotten
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert all(table in text for table in tables)


def check(command: str) -> None:
    """Parse a command line as far as names go: whether its files are here is not asked."""
    words = shlex.split(command, comments=True)[1:]
    entry, context = typer.main.get_command(app), None
    while hasattr(entry, "commands"):
        context = entry.make_context(entry.name, [], parent=context, resilient_parsing=True)
        assert words[0] in entry.commands, f"there is no such command: {words[0]}"
        entry, words = entry.commands[words[0]], words[1:]
    options, surplus, _ = entry.make_parser(entry.context_class(entry, parent=context)).parse_args(list(words))
    assert not surplus, f"unexpected: {surplus}"
    missing = [item.name for item in entry.params if item.required and item.name not in options]
    assert not missing or "help" in options


def test_the_table_of_rooms_names_files_that_are_there():
    table = README.split("## What is in it")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\S+?/)` \|(.*)$", table, re.MULTILINE)
    assert len(rows) > 10
    for room, words in rows:
        for name in re.findall(r"`([\w/]+\.py)`", words):
            assert any((place / name).is_file() for place in (ROOT / room, ROOT)), f"{room} has no {name}"
