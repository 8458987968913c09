"""The card of a conversion's result: what it is, of what, and what was lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.adapters.adapter import Adapter
from analysis.conversion.base_model import BaseModel


def write_card(
    output: Path,
    what: str,
    adapter: Adapter,
    base: BaseModel,
    note: str,
    library: str = "peft",
    left_out: Sequence[str] = (),
) -> None:
    """Write README.md, with the front matter that the Hub reads.

    Args:
        output: Directory of the result.
        what: What it is: "LoRA of rank 8".
        adapter: What was converted.
        base: Its base model.
        note: What was lost, in a sentence or two.
        library: The one that loads it.
        left_out: A sentence for each thing that was trained and is not in the result.
    """
    labels = [label for _, label in sorted((base.model.config.id2label or {}).items())]
    lines = [
        "---",
        f"base_model: {base.name}",
        f"library_name: {library}",
        "---",
        "",
        f"# {adapter.path.name}: {what}",
        "",
        f"- Converted from: {adapter.path.name} ({adapter.method})",
        f"- Base model: `{base.name}`",
        *([f"- Labels: {', '.join(map(str, labels))}"] if adapter.head else []),
        "",
        note,
        "",
        *(["Trained, but left out:", "", *(f"- {sentence}" for sentence in left_out), ""] if left_out else []),
    ]
    (output / "README.md").write_text("\n".join(lines), encoding="utf-8")
