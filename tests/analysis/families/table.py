"""`python -m tests.analysis.families.table`: run the commands on every family, and write docs/families.md."""

from __future__ import annotations

import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import transformers

from tests.analysis.families.check import KINDS, STEPS, Outcome, check
from tests.analysis.families.models import FAMILIES

_WORKERS = 6
DOCUMENT = Path(__file__).parents[3] / "docs" / "families.md"
_HEAD = """# Families of models

What the commands do on a tiny model of each of {total} families, for a LoRA of all linear layers (r = {rank})
and for a fully fine-tuned copy: `svft inspect`, `svft compare` of the two, `svft convert --to svft` and `--to lora`.
The update that is shown is compared with merged minus pristine weight by PEFT, and what a converted adapter lacks with
what the conversion said, both to 1e-5·‖ΔW‖_F. {works} of {total} families pass all of it.

Made by `python -m tests.analysis.families.table`, with transformers {transformers} and PEFT {peft}.

| family | class | {columns} | largest error |
|---|---|{lines}|---|
"""


def run(families: list[str]) -> dict[str, dict[str, Outcome]]:
    """Return what became of each family, and say it on the way."""
    actual = {}
    with ProcessPoolExecutor(_WORKERS, mp_context=get_context("spawn")) as pool:
        for family, outcomes in zip(families, pool.map(_check, families)):
            actual[family] = outcomes
            for kind, outcome in outcomes.items():
                print(family, kind, outcome.matrices, f"{outcome.error:.1e}", outcome.failed or "all", flush=True)
    return actual


def _check(family: str) -> dict[str, Outcome]:
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as directory:
        return check(family, Path(directory))


def document(actual: dict[str, dict[str, Outcome]]) -> str:
    """Return the table, with the reason of each step that fails and a list of what conversions leave out."""
    import peft

    from tests.analysis.families.check import RANK

    works = sum(not any(outcome.failed for outcome in kinds.values()) for kinds in actual.values())
    columns = [f"{kind}: {step}" for kind in KINDS for step in STEPS]
    lines = [
        _HEAD.format(
            total=len(actual), works=works, rank=RANK, transformers=transformers.__version__, peft=peft.__version__,
            columns=" | ".join(columns), lines="|".join("---" for _ in columns),
        )
    ]  # fmt: skip
    for family, kinds in actual.items():
        cells = ["—" if step in kinds[kind].failed else "✓" for kind in KINDS for step in STEPS]
        error = max(outcome.error for outcome in kinds.values())
        lines.append(f"| {family} | {FAMILIES[family][0]} | {' | '.join(cells)} | {error:.0e} |\n")
    reasons = [
        f"- {family}, {kind}, {step}: {why}\n"
        for family, kinds in actual.items()
        for kind, outcome in kinds.items()
        for step, why in outcome.failed.items()
    ]
    lines += ["\n## What does not work\n\n", *reasons] if reasons else []
    lines.append("\n## What conversions leave out, and name\n\n")
    for family, kinds in actual.items():
        for kind, outcome in kinds.items():
            named = [item for item in outcome.left_out if not item[0].isdigit()]
            if named:
                more = f" (and {len(named) - 1} more)" if len(named) > 1 else ""
                lines.append(f"- {family}, {kind}: {named[0]}{more}\n")
    return "".join(lines)


if __name__ == "__main__":
    chosen = sys.argv[1:] or list(FAMILIES)
    outcomes = run(chosen)
    if chosen == list(FAMILIES):
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(document(outcomes), encoding="utf-8")
