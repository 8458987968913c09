"""A bet on a study, made before it starts: which configuration wins, and by how much. Light: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.trials.results import Answers, Difference, points

# What can be bet on: points between the winner and the runner-up, from … up to, but not including.
MARGINS: dict[str, tuple[float, float]] = {
    "under 1 point": (0, 1),
    "1 to 3 points": (1, 3),
    "over 3 points": (3, float("inf")),
}


@dataclass(frozen=True)
class BetScore:
    """What came of a bet.

    Attributes:
        outcome: "right", "wrong", "too close to call", or "void" if what was bet on, or all else, did not finish.
        sentence: Who won, by how much, and whether the bet was right.
        winner: The configuration of highest accuracy; None in a void bet, like all that follows.
        runner_up: The next one.
        lead: Winner minus runner-up.
        margin_right: Whether the lead is in the step that was bet on; None unless the outcome is "right".
    """

    outcome: str
    sentence: str
    winner: str | None = None
    runner_up: str | None = None
    lead: Difference | None = None
    margin_right: bool | None = None


def score_bet(bet: Mapping[str, str], trials: pd.DataFrame, truth: np.ndarray) -> BetScore:
    """Return what came of a bet.

    It is right if its winner has the highest accuracy and is clearly above the runner-up, and wrong if its
    winner is clearly below the one of highest accuracy: by a paired difference whose interval excludes 0. All else is
    too close to call.

    Args:
        bet: ``winner``, a label, and ``margin``, a key of `MARGINS`.
        trials: See `analysis.trials.results`.
        truth: See there.
    """
    picked = bet["winner"]
    ranked = trials.groupby("label", sort=False)["accuracy"].mean().sort_values(ascending=False, kind="stable").index
    if picked not in ranked or len(ranked) < 2:
        return BetScore(
            "void", f"The bet on {picked} is void: it needs finished trials of {picked} and of another one."
        )
    winner, runner_up = ranked[:2]
    answers = Answers(trials, truth)
    lead = answers.difference(winner, runner_up)
    behind = lead if picked == winner else answers.difference(winner, picked)
    if lead is None or behind is None:
        return BetScore("void", f"The bet on {picked} is void: the trials to compare share no seed.")
    sentence = f"{winner} came first, {points(lead.value)} points above {runner_up} ({lead.words})"
    margin_right = None
    if not behind.clear:
        outcome = "too close to call"
        other = runner_up if picked == winner else winner
        ending = f"too close to call: {picked} and {other} cannot be told apart"
    elif picked == winner:
        outcome = "right"
        low, high = MARGINS[bet["margin"]]
        margin_right = low <= lead.value < high
        ending = f"the bet was right{', and so was its margin' if margin_right else ', but not its margin'}"
    else:
        outcome = "wrong"
        ending = f"the bet on {picked} was wrong, it is {points(behind.value)} points below ({behind.words})"
    sentence = f"{sentence}; {ending}."
    return BetScore(outcome, sentence[0].upper() + sentence[1:], winner, runner_up, lead, margin_right)
