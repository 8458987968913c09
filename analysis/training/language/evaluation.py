"""What was measured of a language model that learned pairs: perplexity before and after. Light: no torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from analysis.training.evaluation import EVALUATION_FILE


@dataclass(frozen=True)
class PairsEvaluation:
    """What `evaluation.json` beside an adapter of a language model says.

    Attributes:
        spec: The training specification, resolved.
        command: The command that trains it again.
        title: Name of the pairs for people.
        budget: Trainable parameters.
        steps: Optimizer steps done.
        pairs: Pairs that it was trained on.
        held_out: Pairs that it was not trained on.
        tokens: Tokens of their completions, over which both perplexities are taken.
        cut: Pairs that were longer than what is read of them.
        perplexity_before: exp of the mean loss in nats of the held-out completions' tokens, of the base model.
        perplexity: The same, of the trained model.
        seconds_per_step: Mean time of a training step on the machine that trained it.
    """

    spec: dict
    command: str
    title: str
    budget: int
    steps: int
    pairs: int
    held_out: int
    tokens: int
    cut: int
    perplexity_before: float
    perplexity: float
    seconds_per_step: float

    def __str__(self) -> str:
        cut = f"; {self.cut} pairs were longer than what is read and were cut" if self.cut else ""
        return (
            f"Perplexity of {self.held_out} held-out completions ({self.tokens:,} tokens): "
            f"{self.perplexity_before:.2f} before, {self.perplexity:.2f} after{cut}"
        )

    def write(self, directory: Path) -> None:
        """Write `evaluation.json` into an adapter's directory."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (directory / EVALUATION_FILE).write_text(text + "\n", encoding="utf-8")


def read_pairs_evaluation(directory: str | Path) -> PairsEvaluation | None:
    """Return what was measured of the adapter in `directory`, None if that is nothing, or of another task."""
    try:
        return PairsEvaluation(**json.loads((Path(directory) / EVALUATION_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
