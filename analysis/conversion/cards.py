"""The card of a conversion's result: what it is, of what, and what was lost."""

from __future__ import annotations

from pathlib import Path

from analysis.conversion.source import Source


def write_card(output: Path, what: str, source: Source, said: str, library: str = "peft") -> None:
    """Write README.md, with the front matter that the Hub reads.

    Args:
        output: Directory of the result.
        what: What it is: "LoRA of rank 8".
        source: What was converted.
        said: What was lost, in a sentence or two.
        library: The one that loads it.
    """
    labels = [label for _, label in sorted(source.base.model.config.id2label.items())]
    lines = [
        "---",
        f"base_model: {source.base.name}",
        f"library_name: {library}",
        "---",
        "",
        f"# {source.adapter.path.name}: {what}",
        "",
        f"- Converted from: {source.name}",
        f"- Base model: `{source.base.name}`",
        *([f"- Labels: {', '.join(map(str, labels))}"] if source.adapter.head else []),
        "",
        said,
        "",
    ]
    (output / "README.md").write_text("\n".join(lines), encoding="utf-8")
