"""One row of measures per adapted matrix, tables over a whole adapter, and totals of an adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from analysis.adapters.adapter import AdaptedMatrix, Adapter, LeftOut
from analysis.common.errors import AdapterError
from analysis.measures.coefficients import energy_shares, entries_for_energy
from analysis.measures.noise import Level
from analysis.measures.null import entry_null
from analysis.measures.ranks import effective_rank, rank_bounds, stable_rank
from analysis.measures.spectrum import intruders, spectrum

_COLUMN_TYPES = {
    "name": "str", "layer": "Int64", "kind": "str", "label": "str", "out": "int64", "in": "int64", "n": "int64",
    "m": "int64", "k": "int64", "pattern_label": "str", "weight_norm": "float64", "update_norm": "float64",
    "relative_norm": "float64", "inside_share": "float64",
    "update_spectral": "float64", "update_nuclear": "float64", "stable_rank": "float64",
    "effective_rank": "float64", "numerical_rank": "int64", "structural_rank": "int64", "min_k_n": "int64",
    "lora_rank": "float64", "off_diagonal_share": "float64", "leading_share": "float64", "entries_for_90": "float64",
    "largest_delta_sigma": "float64", "largest_relative_delta_sigma": "float64", "moved": "Int64", "turned": "int64",
    "intruders": "int64",
    "noise_off_diagonal_share": "float64", "noise_off_diagonal_low": "float64", "noise_off_diagonal_high": "float64",
    "noise_leading_share": "float64", "noise_leading_low": "float64", "noise_leading_high": "float64",
    "noise_entries_for_90": "float64", "noise_entries_for_90_low": "float64", "noise_entries_for_90_high": "float64",
}  # fmt: skip

# The measures of `summarize` that compare, in words, and how each is written.
MEASURES: dict[str, tuple[str, str]] = {
    "relative_norm": ("Size of the update beside W, ‖ΔW‖/‖W‖", ".2%"),
    "update_norm": ("Frobenius norm of the update, ‖ΔW‖", ".4g"),
    "update_spectral": ("Largest singular value of the update, ‖ΔW‖₂", ".4g"),
    "update_nuclear": ("Sum of its singular values, ‖ΔW‖∗", ".4g"),
    "k": ("Trained entries (of a projection, all entries)", ",.0f"),
    "inside_share": ("Energy of the update inside the basis of W", ".1%"),
    "stable_rank": ("Stable rank, ‖ΔW‖²/‖ΔW‖₂²", ".1f"),
    "effective_rank": ("Effective rank, by the entropy of its singular values", ".1f"),
    "numerical_rank": ("Numerical rank: singular values above rounding", ",.0f"),
    "structural_rank": ("Structural rank: the most that the pattern allows", ",.0f"),
    "min_k_n": ("The most rank that so many entries allow, min(k, n)", ",.0f"),
    "lora_rank": ("Rank of a LoRA with as many parameters", ".2f"),
    "off_diagonal_share": ("Energy off the diagonal of M", ".1%"),
    "leading_share": ("Energy among the leading 10% of directions", ".1%"),
    "entries_for_90": ("Part of the entries that holds 90% of the energy", ".1%"),
    "largest_delta_sigma": ("Largest change of a singular value of W", "+.4f"),
    "largest_relative_delta_sigma": ("Largest change relative to that value", "+.1%"),
    "moved": ("Directions that changed place in the order", ",.0f"),
    "turned": ("Directions whose singular vectors turned", ",.0f"),
    "intruders": ("Intruders among the 10 leading new vectors", ",.0f"),
}

# progress(done, total, name): called before each matrix with its name, and once after the last with name "".
Progress = Callable[[int, int, str], None]


def summarize(matrix: AdaptedMatrix) -> dict:
    """Return the measures of one matrix, as a dict: the columns of `summarize_adapter` but those of noise."""
    values = matrix.update_singular_values
    shares = energy_shares(matrix).set_index("part")
    concentrated = entries_for_energy(matrix)
    update_norm = matrix.update_norm
    weight_norm = np.nan if matrix.truncated else float(np.linalg.norm(matrix.sigma))
    row = {
        "name": matrix.name,
        "layer": pd.NA if matrix.layer is None else matrix.layer,
        "kind": matrix.kind,
        "label": matrix.label,
        "out": matrix.shape[0],
        "in": matrix.shape[1],
        "n": matrix.n,
        "m": matrix.m,
        "k": matrix.k,
        "pattern_label": matrix.pattern_label,
        "weight_norm": weight_norm,
        "update_norm": update_norm,
        "relative_norm": _ratio(update_norm, weight_norm),
        "inside_share": matrix.inside_share,
        "update_spectral": float(values[0]),
        "update_nuclear": float(values.sum()),
        "stable_rank": stable_rank(values),
        "effective_rank": effective_rank(values),
        "numerical_rank": int((values > matrix.rounding).sum()),
        **rank_bounds(matrix),
        "off_diagonal_share": float(shares.at["off_diagonal", "share"]),
        "leading_share": float(shares.at["leading_10pct", "share"]),
        "entries_for_90": float(concentrated["fraction"]),
    }
    return row | _movement(matrix)


def summarize_beside_noise(matrix: AdaptedMatrix) -> dict:
    """Return `summarize`, and the same of noise (see `measures.noise`): all columns of `summarize_adapter`.

    Of a matrix that is projected, the first time takes up to seconds.
    """
    shares, null = energy_shares(matrix).set_index("part"), entry_null(matrix)
    few = null.fraction if null else Level(np.nan, np.nan, np.nan)
    row = summarize(matrix)
    for name, part in (("off_diagonal", "off_diagonal"), ("leading", "leading_10pct")):
        row |= {f"noise_{name}_{end}": float(shares.at[part, f"noise_{end}"]) for end in ("share", "low", "high")}
    return row | {
        "noise_entries_for_90": few.mean,
        "noise_entries_for_90_low": few.low,
        "noise_entries_for_90_high": few.high,
    }


def _ratio(part: float, whole: float) -> float:
    return 0.0 if part == 0 else float(np.inf) if whole == 0 else part / whole


def _movement(matrix: AdaptedMatrix) -> dict:
    table = spectrum(matrix)
    relative = table["relative_delta"][table["sigma"] >= 0.01 * matrix.sigma[0]]
    return {
        "largest_delta_sigma": _largest(table["delta"]),
        "largest_relative_delta_sigma": _largest(relative),
        "moved": pd.NA if table["moved"].isna().any() else int(table["moved"].sum()),
        "turned": int(table["turned"].sum()),
        "intruders": int(intruders(matrix)["intruder"].sum()),
    }


def _largest(values: pd.Series) -> float:
    """Return the value of largest size, with its sign; 0 of none."""
    finite = values.dropna().to_numpy()
    return float(finite[np.abs(finite).argmax()]) if len(finite) else 0.0


def summarize_adapter(
    adapter: Adapter,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
    left_out: list[LeftOut] | None = None,
) -> pd.DataFrame:
    """Return one row of measures per adapted matrix, in the adapter's order.

    Args:
        adapter: An open adapter.
        progress: Told of each matrix.
        should_stop: Asked before each matrix; once it says True, the rows so far are returned.
        left_out: Takes the matrices whose numbers are damaged; without it, the first one raises.

    Columns:
        name, layer, kind, label, out, in, n, m, k, pattern_label: As in `Adapter.matrices`.
        weight_norm: ‖W‖_F (NaN if a truncated basis hides the tail of W).
        update_norm: ‖ΔW‖_F.
        relative_norm: ‖ΔW‖_F / ‖W‖_F (NaN as above; 0 for a zero update).
        inside_share: Share of ‖ΔW‖_F² inside the thin basis: 1 for SVFT.
        update_spectral, update_nuclear: ‖ΔW‖₂ and nuclear norm of ΔW.
        stable_rank, effective_rank, numerical_rank: Of ΔW, see `ranks.ranks`.
        structural_rank, min_k_n, lora_rank: See `ranks.rank_bounds`.
        off_diagonal_share: Energy off the diagonal.
        leading_share: Energy in the leading 10% of directions.
        entries_for_90: Part of the entries that holds 90% of the energy.
        largest_delta_sigma: Δσ of largest size, signed, of paired vectors.
        largest_relative_delta_sigma: Largest |Δσ/σ|, signed, among σ of at least 1% of σ₁.
        moved: Number of directions that changed place (Int64; NA if a truncated basis hides some places).
        turned: Number of directions that turned, see `spectrum.spectrum`.
        intruders: Number of intruder dimensions among the leading 10 new vectors (those of known place).
        noise_off_diagonal_share, noise_off_diagonal_low, noise_off_diagonal_high: Mean and 95% interval of
            off_diagonal_share under noise, see `measures.noise`.
        noise_leading_share, noise_leading_low, noise_leading_high: The same of leading_share.
        noise_entries_for_90, noise_entries_for_90_low, noise_entries_for_90_high: The same of entries_for_90.
    """
    rows = [summarize_beside_noise(matrix) for matrix in _each(adapter, progress, should_stop, left_out)]
    return summary_table(rows)


def summary_table(rows: list[dict]) -> pd.DataFrame:
    """Return dicts of `summarize_beside_noise`, collected one by one, as the table of `summarize_adapter`."""
    return pd.DataFrame(rows, columns=list(_COLUMN_TYPES)).astype(_COLUMN_TYPES)


def _each(
    adapter: Adapter,
    progress: Progress | None,
    should_stop: Callable[[], bool] | None,
    left_out: list[LeftOut] | None = None,
) -> Iterator[AdaptedMatrix]:
    total = len(adapter.names)
    for done, name in enumerate(adapter.names):
        if should_stop is not None and should_stop():
            return
        if progress is not None:
            progress(done, total, name)
        matrix = adapter.attempt(name)
        if isinstance(matrix, AdaptedMatrix):
            yield matrix
        elif left_out is None:
            raise AdapterError(matrix.reason)
        else:
            left_out.append(matrix)
    if progress is not None:
        progress(total, total, "")


def noise_words(summary: pd.DataFrame, name: str) -> pd.Series:
    """Return the 95% interval of noise of each row in words, "79% to 81%"; "" if there is none.

    Args:
        summary: The table of `summarize_adapter`.
        name: "off_diagonal", "leading" or "entries_for_90".
    """
    levels = (Level(low, low, high) for low, high in zip(summary[f"noise_{name}_low"], summary[f"noise_{name}_high"]))
    words = ["" if pd.isna(level.low) else level.words(level.percent) for level in levels]
    return pd.Series(words, index=summary.index, dtype=object)


def totals(summary: pd.DataFrame) -> pd.Series:
    """Return the measures of the whole adapter, from the table of `summarize_adapter`.

    Returns:
        matrices, k: Number of matrices and of trained entries.
        update_norm, relative_norm: Of all matrices as one block-diagonal matrix.
        off_diagonal_share, leading_share: Of its energy.
        noise_off_diagonal_share, noise_off_diagonal_low, noise_off_diagonal_high: Mean and 95% interval if within each
            matrix it were spread as by noise, independently.
        noise_leading_share, noise_leading_low, noise_leading_high: The same of leading_share.
        numerical_rank, structural_rank: Sums.
        largest_delta_sigma: Δσ of largest size, signed.
        moved, turned, intruders: Sums; NA if a summand is.
    """
    update, weight = (np.linalg.norm(summary[column]) for column in ("update_norm", "weight_norm"))
    energy = summary["update_norm"] ** 2
    part = energy / (energy.sum() or 1.0)
    sums = ("numerical_rank", "structural_rank", "moved", "turned", "intruders")
    shares = {}
    for name in ("off_diagonal", "leading"):
        shares[f"{name}_share"] = float((summary[f"{name}_share"] * part).sum())
        mean = summary[f"noise_{name}_share"]
        level = shares[f"noise_{name}_share"] = float((mean * part).sum())
        for end, sign in (("low", -1), ("high", 1)):  # half-widths of independent shares add up as squares
            reach = np.linalg.norm((summary[f"noise_{name}_{end}"] - mean) * part)
            shares[f"noise_{name}_{end}"] = level + sign * float(reach)
    return pd.Series(
        {
            "matrices": len(summary),
            "k": int(summary["k"].sum()),
            "update_norm": float(update),
            "relative_norm": _ratio(float(update), float(weight)),
            **shares,
            "largest_delta_sigma": _largest(summary["largest_delta_sigma"]),
            **{column: summary[column].sum(skipna=False) for column in sums},
        },
        dtype=object,
    )
