"""From memory and a number of parameters to one method, with the numbers that speak for it and for the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.models.architecture import Architecture
from analysis.planning.budgets import budget_table
from analysis.training.methods import svft_patterns

SPARE = 0.10  # of the memory stays free: for the accelerator's context, and for fragments between tensors
BFLOAT16, FOUR_BIT = "bfloat16", "4-bit"
# NF4 of bitsandbytes: four bits a number, and a float32 scale for 64 of them.
_FOUR_BIT_BYTES = 0.5 + 4 / 64
_FOUR_BIT_METHODS = ("lora", "dora")  # that PEFT has for layers of bitsandbytes


@dataclass(frozen=True)
class Recommendation:
    """One answer, or none, with all that was considered.

    Attributes:
        best: Row of `options`; None if nothing fits.
        reasons: Sentences, each with a number of the tables.
        options: `options_table`, what is taken first, with ``verdict``: why each is taken or not, in words.
    """

    best: Mapping[str, object] | None
    reasons: list[str]
    options: pd.DataFrame


def considered_tables(
    architecture: Architecture, kinds: Sequence[str] | None, budget: int
) -> list[tuple[list[str], pd.DataFrame]]:
    """Return (kinds, the methods at a budget on them): on all the kinds, and on query and value alone.

    The fewer matrices, the higher a rank the same parameters buy, and the fewer bases SVFT keeps.
    """
    whole = list(architecture.of_kinds(kinds))
    narrow = [kind for kind in whole if kind in ("query", "value")]
    chosen = [whole, narrow] if 0 < len(narrow) < len(whole) else [whole]
    return [(some, budget_table(architecture, some, budget)) for some in chosen]


def considered(
    architecture: Architecture,
    tables: Sequence[tuple[list[str], pd.DataFrame]],
    batch: int,
    length: int,
    each: Callable[..., Iterator[Any]] = map,
) -> Iterator[dict[str, object]]:
    """Yield the memory of a step of every method that has a size, with weights in bfloat16.

    Args:
        architecture: The model.
        tables: Of `considered_tables`.
        batch: Examples per step.
        length: Tokens per example.
        each: As in `memory_rows`.

    Yields:
        Rows of `analysis.planning.memory.memory_rows` without full fine-tuning, with ``count`` and ``on``, the kinds
        if they are not all.
    """
    import torch

    from analysis.planning.memory import memory_rows

    for number, (kinds, table) in enumerate(tables):
        counts = dict(zip(table["method"], table["count"]))
        for row in memory_rows(architecture, kinds, table, batch, length, torch.bfloat16, full=False, each=each):
            yield row | {"count": counts[row["method"]], "on": " and ".join(kinds) if number else ""}


def options_table(
    architecture: Architecture, rows: Sequence[Mapping[str, Any]], recovery: pd.DataFrame, available: float
) -> pd.DataFrame:
    """Return every method, with the base in bfloat16 and, if PEFT has it, in 4 bits.

    Args:
        architecture: The model.
        rows: Of `considered`.
        recovery: ``method``, ``recovered``, ``low``, ``high``: what methods recovered in studies at about this budget
            (`analysis.trials.files.recovery_near`).
        available: Bytes of the accelerator.

    Returns:
        Rows ``method``, ``label``, ``on`` (as in `considered`), ``base`` (`BFLOAT16` or `FOUR_BIT`), ``count``,
        ``peak``, ``recovered``, ``low``, ``high`` and ``why_not``, empty if it fits; those that fit first, then by
        memory.
    """
    studied = recovery.set_index("method")[["recovered", "low", "high"]].to_dict("index")
    unknown = dict.fromkeys(("recovered", "low", "high"), float("nan"))
    options = []
    for row in rows:
        peak = row.get("peak")
        if peak is None or pd.isna(peak):
            continue
        head = {
            "method": row["method"],
            "label": f"{row['label']} on {row['on']}" if row["on"] else row["label"],
            "count": row["count"],
            "on": row["on"],
            **studied.get(row["method"], unknown),
        }
        peaks = {BFLOAT16: peak}
        if row["method"] in _FOUR_BIT_METHODS:
            peaks[FOUR_BIT] = _four_bit_peak(architecture, peak)
        options += [
            head | {"base": base, "peak": size, "why_not": _too_much(size, available)} for base, size in peaks.items()
        ]
    table = pd.DataFrame(options)
    if table.empty:
        return table
    order = table.assign(no=table["why_not"] != "").sort_values(["no", "peak"], kind="stable").index
    return table.loc[order].reset_index(drop=True)


def recommend(options: pd.DataFrame, available: float) -> Recommendation:
    """Return one method: of those that fit, the cheapest in memory that no other is clearly better than.

    Adapting all kinds goes before a few, and a method that was studied before one that was not.

    bfloat16 goes before 4-bit, since no study here measures what 4-bit weights lose. Among those of one precision, a
    method is clearly better if its interval of recovered performance lies above the other's.

    Args:
        options: Of `options_table`.
        available: Bytes of the accelerator.
    """
    if options.empty:
        return Recommendation(None, ["No method's memory is known for this model at this size."], options)
    can = options[options["why_not"] == ""]
    if can.empty:
        return Recommendation(None, [_nothing_fits(options, available)], options.assign(verdict=options["why_not"]))
    rivals = can[can["base"] == (BFLOAT16 if (can["base"] == BFLOAT16).any() else FOUR_BIT)]
    studied = rivals[rivals["recovered"].notna()]
    if (studied["on"] == "").any():  # as the studies adapt
        studied = studied[studied["on"] == ""]
    able = rivals if studied.empty else studied[~(studied["high"] < studied["low"].max())]
    best = able.loc[able["peak"].idxmin()]
    top = None if studied.empty else float(studied["low"].max())
    verdicts = [_verdict(row, best, best.name == place, top) for place, row in options.iterrows()]
    shown = options.assign(verdict=verdicts)
    first = [best.name, *(place for place in shown.index if place != best.name)]
    return Recommendation(
        best.to_dict(), _reasons(best, rivals, options, available), shown.loc[first].reset_index(drop=True)
    )


def four_bit_sentence(architecture: Architecture) -> str:
    """Return what a 4-bit base of a model with fused experts leaves in bfloat16, "" for other models."""
    if not architecture.fused:
        return ""
    size = 2 * sum(experts * out * in_ for experts, out, in_ in architecture.fused.values())
    return (
        f"In a 4-bit base, {_gb(size)} of fused experts stay in bfloat16: bitsandbytes quantizes linear layers alone."
    )


def _verdict(row: pd.Series, best: pd.Series, taken: bool, top: float | None) -> str:
    """Return why an option is taken or not, in the order in which `recommend` decides.

    Args:
        row: Of the options.
        best: The one that is taken.
        taken: Whether it is this one.
        top: The highest lower end of an interval of recovered performance among those studied, None without any.
    """
    is_studied = top is not None
    if taken:
        return "taken"
    if row["why_not"]:
        return row["why_not"]
    if row["base"] != best["base"]:
        return f"fits, and so does {best['base']}"
    if is_studied and row["on"] != best["on"]:
        return "fits; not what the studies adapt"
    if is_studied and pd.isna(row["recovered"]):
        return "fits; not studied near this budget"
    if is_studied and row["high"] < top:
        return "fits; recovered clearly less"
    more = row["peak"] - best["peak"]
    return f"fits; not clearly better, {_gb(more)} more" if more >= 5e7 else "fits; not clearly better"


def _reasons(best: pd.Series, rivals: pd.DataFrame, options: pd.DataFrame, available: float) -> list[str]:
    sentences = [
        f"Memory: a step takes {_gb(best['peak'])} with the base in {best['base']}, of {_gb(available)}, "
        f"{SPARE:.0%} of which stays free.",
        f"Size: {best['label']} trains {best['count']:,.0f} parameters.",
    ]
    if pd.isna(best["recovered"]):
        sentences.append("Quality: no study that comes with this project has this method near this budget.")
    else:
        sentences.append(
            f"Quality: at about this budget it recovered {best['recovered']:.0%} ({best['low']:.0%} to "
            f"{best['high']:.0%}) of full fine-tuning's gain in the committed studies, on small models with all kinds "
            "adapted."
        )
        others = rivals[(rivals["method"] != best["method"]) & rivals["recovered"].notna()]
        if len(others):
            top = others.loc[others["recovered"].idxmax()]
            told = "which is less" if top["high"] < best["low"] else "which cannot be told apart"
            sentences.append(
                f"Next to it: {top['label']} recovered {top['recovered']:.0%} ({top['low']:.0%} to "
                f"{top['high']:.0%}), {told}, and takes {_gb(top['peak'])}."
            )
    if best["base"] == FOUR_BIT:
        least = options.loc[options["base"] == BFLOAT16, "peak"].min()
        sentences.append(
            f"Precision: with the base in bfloat16 the smallest option takes {_gb(least)}. 4-bit is for LoRA and "
            "DoRA: SVFT decomposes the weights and needs them in floating point."
        )
    cheapest = options[options["method"].isin(svft_patterns()) & (options["why_not"] != "")]
    if best["method"] not in svft_patterns() and len(cheapest):
        least = cheapest.loc[cheapest["peak"].idxmin()]
        sentences.append(f"SVFT: {least['label']} needs {_gb(least['peak'])}, for U and V beside the weights.")
    return sentences


def _nothing_fits(options: pd.DataFrame, available: float) -> str:
    least = options.loc[options["peak"].idxmin()]
    return (
        f"Nothing fits: the least is {least['label']} with the base in {least['base']}, {_gb(least['peak'])}, and "
        f"{SPARE:.0%} of {_gb(available)} stays free. Fewer examples a step or fewer tokens take less."
    )


def _four_bit_peak(architecture: Architecture, peak: float) -> float:
    """Return the peak with linear layers inside the blocks in NF4 and all else, also fused experts, in bfloat16.

    One layer at a time is expanded to bfloat16 for its product.
    """
    sizes = [out * in_ for out, in_ in architecture.shapes.values()]
    return peak - (2 - _FOUR_BIT_BYTES) * sum(sizes) + 2 * max(sizes)


def _too_much(peak: float, available: float) -> str:
    most = (1 - SPARE) * available
    return "" if peak <= most else f"{_gb(peak - most)} too much"


def _gb(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"
