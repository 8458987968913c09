"""The singular values of two updates, and how many directions each needs."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.figures.two_energies import two_energies
from analysis.figures.two_spectra import two_spectra
from app import data, figures
from app.views.compare import tables
from app.views.compare.pair import Pair


def show_values(pair: Pair) -> None:
    """Draw the singular values of both updates, once they are there."""
    tables.follow(pair)
    values = [measured.get("update_singular_values") for measured in pair.tables]
    if any(column is None for column in values):
        return
    st.subheader("Singular values of the updates", anchor=False)
    figure = two_spectra(*values, **pair.look)
    figures.draw(figure, key="two-spectra")
    table = pd.DataFrame({name: pd.Series(column) for name, column in zip(("first", "second"), values, strict=True)})
    figures.explain(figure, table, key="two-spectra", file_name="singular_values.csv")


def show_energies(pair: Pair) -> None:
    """Draw the energy that the leading directions of both hold, each beside its own noise."""
    curves = [measured.get("cumulative_energy") for measured in pair.tables]
    if any(curve is None for curve in curves):
        return
    noises = [data.spectral_null(*side).curve for side in pair.both]
    figure = figures.build(two_energies, *curves, *noises, **pair.look)
    figures.draw(figure, key="two-energies")
    both = curves[0].merge(curves[1], on="directions", how="outer", suffixes=("_first", "_second"))
    figures.explain(figure, both, key="two-energies", file_name="cumulative_energy.csv")
    tables.await_noise(pair)
