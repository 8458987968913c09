"""Every figure of `analysis.figures`, drawn of made-up tables: for what must hold for all of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.accuracy_budget import accuracy_budget
from analysis.figures.accuracy_forgetting import accuracy_forgetting
from analysis.figures.box import box_around
from analysis.figures.brush_map import brush_map
from analysis.figures.budget_curves import budget_curves
from analysis.figures.capture_accuracy import capture_accuracy
from analysis.figures.class_growth import class_growth
from analysis.figures.coefficient_film import coefficient_film
from analysis.figures.coefficient_square import coefficient_square
from analysis.figures.coefficient_strip import coefficient_strip
from analysis.figures.coefficient_wall import coefficient_wall
from analysis.figures.comparison_map import LIKENESSES, comparison_map
from analysis.figures.concentration import concentration
from analysis.figures.confusion import confusion
from analysis.figures.cost_bars import cost_bars
from analysis.figures.cumulative_energy import cumulative_energy
from analysis.figures.dial_curve import dial_curve
from analysis.figures.edit_curve import edit_curve
from analysis.figures.edit_outcomes import edit_outcomes
from analysis.figures.entries_map import entries_map
from analysis.figures.exact_cells import exact_cells
from analysis.figures.family_map import family_map
from analysis.figures.family_update import family_update
from analysis.figures.gradient_capture import gradient_capture
from analysis.figures.intruders import intruders
from analysis.figures.kept_energy import kept_energy
from analysis.figures.layer_map import layer_map
from analysis.figures.locator import locator
from analysis.figures.memory_bars import memory_bars
from analysis.figures.memory_terms import memory_terms
from analysis.figures.mixing import mixing
from analysis.figures.offset_profile import offset_profile
from analysis.figures.overlap import overlap
from analysis.figures.paired_forest import paired_forest
from analysis.figures.plane import plane
from analysis.figures.prediction_bars import prediction_bars
from analysis.figures.rank_budget import rank_budget
from analysis.figures.reach import reach
from analysis.figures.score_size import score_size
from analysis.figures.shapes_picture import shapes_picture
from analysis.figures.size_curves import size_curves
from analysis.figures.spectrum import spectrum
from analysis.figures.svd_time import svd_time
from analysis.figures.theme import Theme
from analysis.figures.two_energies import two_energies
from analysis.figures.two_profiles import two_profiles
from analysis.figures.two_spectra import two_spectra
from analysis.figures.weight_decay import weight_decay
from analysis.figures.weight_map import weight_map
from analysis.lessons import cost, picture
from analysis.lessons.family.drawing import Setting
from analysis.lessons.family.members import MEMBERS
from analysis.lessons.family.regions import REGIONS
from analysis.lessons.plane import rotation
from analysis.measures.coefficients import energy_profile
from analysis.measures.weights import MEASURES, weight_curve, weight_table
from tests.analysis.figures.tables import (
    BAND,
    BOX,
    CONFUSION,
    CURVE,
    DIAGONAL,
    DIAGONAL_MATRIX,
    DIFFERENCES,
    FORGOTTEN,
    FULL,
    OTHER,
    OWN,
    OWN_DIFFERENCES,
    REFERENCE,
    RUN,
    SPREAD,
    SUMMARY,
    TOPICS,
    TWO,
    WEIGHTS,
    band,
    brush_table,
    capture_table,
    comparison_table,
    concentration_null,
    concentration_table,
    cost_table,
    curves_table,
    dial_table,
    energy_null,
    energy_table,
    entries_table,
    film_values,
    growth_table,
    intruder_table,
    memory_table,
    mixed_vectors,
    outcome_curve,
    outcomes_table,
    overlap_table,
    prediction_table,
    profile_table,
    reach_table,
    scattered,
    scored_table,
    shared_table,
    spectrum_table,
    summary_table,
    wall_table,
)

FIGURES: dict[str, Callable[[Theme], go.Figure]] = {
    "coefficient_wall": lambda theme: coefficient_wall(wall_table(3, 24), signed=True, theme=theme),
    "coefficient_wall, rows": lambda theme: coefficient_wall(
        wall_table(3, 24).assign(value=lambda wall: wall["value"].abs()), signed=False, theme=theme
    ),
    "brush_map": lambda theme: brush_map(brush_table(), BOX, theme=theme),
    "brush_map, nothing yet": lambda theme: brush_map(
        brush_table().assign(share=np.nan, noise_share=np.nan, stands_out=False), RUN, theme=theme
    ),
    "layer_map": lambda theme: layer_map(summary_table(), theme=theme),
    **{
        f"comparison_map, {likeness}": lambda theme, likeness=likeness: comparison_map(
            comparison_table(), theme=theme, likeness=likeness
        )
        for likeness in LIKENESSES
    },
    "edit_outcomes": lambda theme: edit_outcomes(outcomes_table(), pattern="plain", theme=theme),
    "edit_curve": lambda theme: edit_curve(outcome_curve(), percent=True, **CURVE, theme=theme),
    "edit_curve, nothing yet": lambda theme: edit_curve(outcome_curve()[:0], percent=False, **CURVE, theme=theme),
    "two_spectra": lambda theme: two_spectra(np.arange(24, 0, -1.0), np.geomspace(300, 1e-9, 24), theme=theme, **TWO),
    "two_spectra, zero": lambda theme: two_spectra(np.arange(24, 0, -1.0), np.zeros(24), theme=theme, **TWO),
    "two_profiles": lambda theme: two_profiles(
        energy_profile(FULL), energy_profile(DIAGONAL_MATRIX), theme=theme, **TWO
    ),
    "two_energies": lambda theme: two_energies(
        energy_table(24), energy_table(12), energy_null(24), None, theme=theme, **TWO
    ),
    "coefficient_strip, plain": lambda theme: coefficient_strip(DIAGONAL, n=24, theme=theme),
    "coefficient_strip, banded": lambda theme: coefficient_strip(BAND, n=24, theme=theme),
    "coefficient_square": lambda theme: coefficient_square(SPREAD, n=24, theme=theme),
    "coefficient_square, brushed": lambda theme: coefficient_square(SPREAD, n=24, theme=theme, brush=BOX),
    "coefficient_strip, brushed": lambda theme: coefficient_strip(BAND, n=24, theme=theme, brush=RUN),
    "coefficient_square, binned": lambda theme: coefficient_square(
        entries_table(100, scattered(100, 6000)), n=100, theme=theme
    ),
    "exact_cells": lambda theme: exact_cells(BAND, box_around(5, 5, 24, 8), theme=theme),
    "locator": lambda theme: locator(
        BAND, n=24, pattern="banded", theme=theme, box=box_around(5, 5, 24, 8), brush=BOX
    ),
    "offset_profile": lambda theme: offset_profile(profile_table(2), pattern="banded", theme=theme),
    "offset_profile, brushed": lambda theme: offset_profile(
        profile_table(2), pattern="banded", theme=theme, brush=RUN
    ),
    "offset_profile, binned": lambda theme: offset_profile(
        profile_table(20).assign(width=10, offset=lambda table: 10 * table["offset"]), pattern="random", theme=theme
    ),
    "concentration": lambda theme: concentration(
        concentration_table(), concentration_null(), fraction=0.3, pattern="banded", theme=theme
    ),
    "spectrum": lambda theme: spectrum(spectrum_table(24), pattern="banded", theme=theme),
    "spectrum, brushed": lambda theme: spectrum(spectrum_table(24), pattern="banded", theme=theme, brush=RUN),
    "overlap": lambda theme: overlap(overlap_table(24), pattern="random", theme=theme),
    "intruders": lambda theme: intruders(intruder_table(), pattern="top_k", theme=theme),
    "cumulative_energy": lambda theme: cumulative_energy(
        energy_table(24), energy_null(24), structural_rank=24, lora_rank=2.5, pattern="banded", theme=theme
    ),
    "plane": lambda theme: plane(rotation(30), (2.5, 0.0), rotation(60), theme=theme),
    "kept_energy": lambda theme: kept_energy(picture.kept_energy(np.linspace(3, 0, 40)), pairs=4, theme=theme),
    "mixing": lambda theme: mixing(np.eye(6), np.zeros(6), theme=theme),
    "mixing, turned": lambda theme: mixing(*mixed_vectors(), theme=theme),
    "reach": lambda theme: reach(reach_table(), theme=theme),
    "class_growth": lambda theme: class_growth(
        growth_table(), label="SVFT banded d=1", reference="LoRA r=1", method="banded", theme=theme
    ),
    "class_growth, nothing yet": lambda theme: class_growth(
        growth_table().iloc[:0], label="SVFT banded d=1", reference="LoRA r=1", method="banded", theme=theme
    ),
    "memory_bars": lambda theme: memory_bars(cost.memory_table(64, 32, 2, 1), shape=(64, 32), theme=theme),
    **{
        f"family_map, {shape}": lambda theme, shape=shape: family_map(
            {name: region.mask(*shape, 6) for name, region in REGIONS.items()},
            titles={name: region.title for name, region in REGIONS.items()},
            n=24,
            chosen="leading square",
            theme=theme,
        )
        for shape in ((24, 24), (36, 24))
    },
    "family_update": lambda theme: family_update(
        MEMBERS["psoft"].draw(Setting(24, 36, 6)), n=24, title="PSOFT", theme=theme
    ),
    "svd_time": lambda theme: svd_time(
        pd.DataFrame({"n": [64, 128], "seconds": [0.001, 0.008]}), size=512, theme=theme
    ),
    **{
        f"weight_map, {measure}": lambda theme, measure=measure: weight_map(
            weight_table(WEIGHTS), measure=measure, theme=theme, selected="w1"
        )
        for measure in MEASURES
    },
    "weight_decay": lambda theme: weight_decay(
        weight_curve(WEIGHTS[0]), {"Layer 1 · query": WEIGHTS[2]["sigma"]}, label="Layer 0 · query", theme=theme
    ),
    "weight_decay, zero": lambda theme: weight_decay(weight_curve(WEIGHTS[3]), label="Layer 1 · key", theme=theme),
    "dial_curve": lambda theme: dial_curve(
        dial_table(), alpha=1.5, pattern="plain", theme=theme, head_only=0.46, full=0.83
    ),
    "prediction_bars": lambda theme: prediction_bars(prediction_table(), pattern="plain", theme=theme),
    "shapes_picture": lambda theme: shapes_picture(BAND, shape=(48, 24), n=24, pattern="banded", theme=theme),
    "accuracy_budget": lambda theme: accuracy_budget(
        OWN, theme=theme, committed=SUMMARY, front=("head only", "SVFT plain", "SVFT banded d=1")
    ),
    "accuracy_forgetting": lambda theme: accuracy_forgetting(FORGOTTEN, words="200 tweets", theme=theme),
    "accuracy_forgetting, one seed": lambda theme: accuracy_forgetting(
        FORGOTTEN.assign(drift_low=np.nan, drift_high=np.nan), words="200 tweets", theme=theme
    ),
    "accuracy_forgetting, not measured": lambda theme: accuracy_forgetting(OWN, words="200 tweets", theme=theme),
    "budget_curves": lambda theme: budget_curves(SUMMARY, theme=theme, marked=1_382),
    "gradient_capture": lambda theme: gradient_capture(capture_table(), theme=theme),
    "capture_accuracy": lambda theme: capture_accuracy(
        capture_table().assign(label="SVFT", accuracy=0.8, low=0.7, high=0.9), reading="They agree.", theme=theme
    ),
    "score_size": lambda theme: score_size(scored_table(), name="a", theme=theme),
    "entries_map": lambda theme: entries_map(shared_table(), theme=theme),
    "accuracy_budget, recovered": lambda theme: accuracy_budget(SUMMARY, theme=theme, measure="recovered"),
    "accuracy_budget, nothing yet": lambda theme: accuracy_budget(OWN.iloc[:0], theme=theme),
    "paired_forest": lambda theme: paired_forest(
        OWN_DIFFERENCES, reference=REFERENCE, theme=theme, committed=DIFFERENCES
    ),
    "paired_forest, nothing yet": lambda theme: paired_forest(DIFFERENCES.iloc[:0], reference=REFERENCE, theme=theme),
    "cost_bars": lambda theme: cost_bars(cost_table(), reference=REFERENCE, theme=theme),
    "size_curves": lambda theme: size_curves(curves_table(), budget=41_472, theme=theme),
    "memory_terms": lambda theme: memory_terms(memory_table(), theme=theme),
    "rank_budget": lambda theme: rank_budget(SUMMARY, theme=theme),
    "rank_budget, nothing yet": lambda theme: rank_budget(SUMMARY.iloc[:0], theme=theme),
    "confusion": lambda theme: confusion(CONFUSION, TOPICS, label="SVFT plain", theme=theme),
    "confusion, difference": lambda theme: confusion(
        CONFUSION, TOPICS, label="SVFT plain", theme=theme, other=(REFERENCE, OTHER)
    ),
    "coefficient_film, strip": lambda theme: coefficient_film(
        *np.divmod(band(24, 2), 24), film_values(len(band(24, 2))), range(0, 50, 10), n=24, theme=theme
    ),
    "coefficient_film, square": lambda theme: coefficient_film(
        *np.divmod(scattered(100, 600), 100), film_values(600), range(0, 50, 10), n=100, theme=theme
    ),
}
