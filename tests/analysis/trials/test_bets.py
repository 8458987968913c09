"""What comes of a bet."""

import numpy as np
import pytest

from analysis.trials.bets import MARGINS, score_bet
from tests.analysis.trials.outcomes import trials_from

PLAIN, BANDED, LORA = "SVFT plain", "SVFT banded d=1", "LoRA r=1"
TRUTH = np.arange(400) % 3
RIGHT = {label: np.tile(np.arange(400) < k, (2, 1)) for label, k in ((PLAIN, 340), (BANDED, 332), (LORA, 300))}
TRIALS = trials_from(RIGHT, TRUTH)  # plain is 2 points above banded, and 10 above LoRA


def bet(winner, margin="1 to 3 points", trials=TRIALS):
    return score_bet({"winner": winner, "margin": margin}, trials, TRUTH)


def test_a_bet_on_the_one_that_is_clearly_first_is_right():
    score = bet(PLAIN)
    assert (score.outcome, score.winner, score.runner_up, score.margin_right) == ("right", PLAIN, BANDED, True)
    assert score.lead.value == pytest.approx(2)
    assert score.sentence.startswith("SVFT plain came first, 2.0 points above SVFT banded d=1 (95% interval")
    assert score.sentence.endswith("the bet was right, and so was its margin.")


def test_its_margin_may_be_wrong():
    score = bet(PLAIN, "over 3 points")
    assert (score.outcome, score.margin_right) == ("right", False)
    assert score.sentence.endswith("the bet was right, but not its margin.")


def test_a_bet_on_one_that_is_clearly_behind_is_wrong():
    score = bet(LORA)
    assert (score.outcome, score.margin_right) == ("wrong", None)
    assert "was wrong, it is 10.0 points below" in score.sentence


def test_what_cannot_be_told_apart_is_too_close_to_call_for_both():
    generator = np.random.default_rng(0)
    close = trials_from({label: generator.random((2, 400)) < 0.8 for label in (PLAIN, LORA)}, TRUTH)
    for label in (PLAIN, LORA):
        score = bet(label, trials=close)
        assert (score.outcome, score.margin_right) == ("too close to call", None)
        assert "cannot be told apart" in score.sentence


def test_a_bet_on_what_did_not_finish_is_void():
    assert bet(LORA, trials=TRIALS[TRIALS["label"] != LORA]).outcome == "void"
    assert bet(PLAIN, trials=TRIALS[TRIALS["label"] == PLAIN]).outcome == "void"


def test_one_seed_is_said():
    assert "there is one seed" in bet(PLAIN, trials=TRIALS[TRIALS["seed"] == 0]).sentence


def test_every_lead_lies_in_one_step():
    for lead in np.linspace(0, 100, 501):
        assert sum(low <= lead < high for low, high in MARGINS.values()) == 1
