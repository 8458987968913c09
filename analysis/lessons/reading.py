"""Sentences that guide the reading of an adapter, computed from its numbers."""

from __future__ import annotations

import pandas as pd

from analysis.lessons.answers import Answer
from analysis.measures.noise import Level
from analysis.training.evaluation import Evaluation
from analysis.training.methods import svft_patterns

FEWER, AS_NOISE, MORE = "Yes, in fewer", "No, as noise does", "No, in more"
OUTCOMES = (FEWER, AS_NOISE, MORE)


def on_the_diagonal(shares: pd.DataFrame) -> str:
    """Return how much of the energy lies on the diagonal, beside its chance level.

    Args:
        shares: The table of `analysis.measures.coefficients.energy_shares`.
    """
    row = shares.set_index("part").loc["on_diagonal"]
    if row["noise_share"] == 1:
        return "All of the energy is on the diagonal: there is nothing else in Ω."
    if not row["entries"]:
        return "None of the energy is on the diagonal: Ω has no entry there."
    noise = Level(row["noise_share"], row["noise_low"], row["noise_high"])
    form = noise.percent
    return (
        f"The diagonal holds {form(row['share'])} of the energy; noise would put {noise.words(form)} there: "
        f"{'no more than chance' if noise.holds(row['share']) else 'that is not chance'}."
    )


def against_full(measured: Evaluation | None, summary: pd.DataFrame | None) -> str:
    """Return how the adapter compares with full fine-tuning, in accuracy and in the rank of its update.

    Args:
        measured: What was measured of the adapter, None if it brings nothing.
        summary: `analysis.trials.results.summarize` of the committed study on its task, None without one.
    """
    sentences = []
    if measured is not None and {"full", "head_only"} <= set(measured.accuracies):
        sentences.append(
            f"It is right on {measured.accuracy:.0%} of the test examples, full fine-tuning on "
            f"{measured.mean_accuracy('full'):.0%}, a head alone on {measured.mean_accuracy('head_only'):.0%}."
        )
    if summary is not None and (summary["method"] == "full").any():
        full = summary[summary["method"] == "full"].iloc[0]
        svft = summary[summary["method"].isin(svft_patterns())].nsmallest(1, "parameters")
        sentences.append(
            f"In the committed study, the update of full fine-tuning has rank {full['rank']:.0f} on average, but an "
            f"effective rank of {full['effective_rank']:.0f}"
            + "".join(
                f"; that of {row.label} rank {row.rank:.0f} and effective rank {row.effective_rank:.0f}"
                for row in svft.itertuples(index=False)
            )
            + "."
        )
    else:
        sentences.append("How the ranks compare is in the committed study, which is not in this installation.")
    return " ".join(sentences)


def concentration_outcome(fraction: float, noise: Level) -> str:
    """Return which of `OUTCOMES` holds of the part of the entries that has 90% of the energy, and of noise."""
    return {"below": FEWER, "above": MORE, "inside": AS_NOISE}[noise.place(fraction)]


def concentration_sentence(fraction: float, noise: Level) -> str:
    """Say in which part of the entries 90% of the energy is, and in which that of noise."""
    form = noise.percent
    return f"90% of the energy is in {form(fraction)} of the entries, for noise in {noise.words(form)}"


def check_concentration(given: str, fraction: float, noise: Level) -> Answer:
    """Return the reply to someone's reading of the curve of concentration."""
    right, sentence = concentration_outcome(fraction, noise), concentration_sentence(fraction, noise)
    if given == right:
        return Answer(True, f"Right: {sentence}.")
    return Answer(False, "Read the curve at 90%, and then the grey band at the same height.")
