"""What can be done here with each member of the family: opened, shown, counted, raced, converted.

`python -m analysis.lessons.family.support` writes the table of docs/family.md anew.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.adapters.recognise import EVERY_KIND
from analysis.lessons.family.members import MEMBERS, Member, address
from analysis.planning.budgets import planned_methods
from analysis.training.methods import METHODS

PAGE = Path("docs/family.md")
_BEGIN, _END = "<!-- table -->", "<!-- end of table -->"
_YES, _NO = "✓", "–"


def family_support() -> pd.DataFrame:
    """Return what can be done with each member.

    Columns:
        member: Name in `MEMBERS`.
        opened: Whether its adapters are recognised and their update is told from their files.
        shown: Whether Explore shows M, or its projection: of all that opens.
        counted: Whether Budgets plans it by itself.
        raced: Whether Race and `svft trial` train it by itself.
        converted: Whether it becomes a LoRA or an SVFT adapter: all that opens does.
        stands: Title of the method that makes the same M in other units; "" without one.
        why: Why something is not so.
    """
    rows = []
    for name, member in MEMBERS.items():
        opened, own = member.kind in EVERY_KIND, name == member.method
        counted, raced = own and member.method in planned_methods(), own and member.method in METHODS
        rows.append((name, opened, opened, counted, raced, opened, _stands(name, member), member.why))
    columns = ["member", "opened", "shown", "counted", "raced", "converted", "stands", "why"]
    return pd.DataFrame(rows, columns=columns)


def markdown() -> str:
    """Return the table for people."""
    lines = ["| | opened | shown | counted | raced | converted | |", "|---|---|---|---|---|---|---|"]
    for row in family_support().itertuples():
        member = MEMBERS[str(row.member)]
        link = address(member)
        title = f"[{member.title}]({link})" if link else member.title
        as_other = f"as {row.stands}" if row.stands else _NO
        cells = [
            _tick(row.opened),
            _tick(row.shown),
            *(_YES if tick else as_other for tick in (row.counted, row.raced)),
        ]
        lines.append(f"| {' | '.join([title, *cells, _tick(row.converted), str(row.why)])} |")
    return "\n".join(lines)


def written(page: str) -> str:
    """Return the text of the page with the table as it is now."""
    before, rest = page.split(_BEGIN)
    return f"{before}{_BEGIN}\n\n{markdown()}\n\n{_END}{rest.split(_END)[1]}"


def _stands(name: str, member: Member) -> str:
    """Return the title of the method whose M a member makes in other units: of another name, not of another start."""
    if not member.method or name == member.method or member.method == "lora":
        return ""
    return METHODS[member.method].title


def _tick(given: object) -> str:
    return _YES if given else _NO


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
