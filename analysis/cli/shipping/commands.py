"""The commands that made what comes with this project, as `svft` declares them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_ANALYSIS = Path(__file__).parents[2]


def train_shipped(
    output: Annotated[Path, typer.Option(help="Directory for the adapters' directories.")] = _ANALYSIS / "adapters",
) -> None:
    """Train all adapters that ship with this project, with three seeds and their baselines."""
    from analysis.cli.shipping.ship import train_shipped

    train_shipped(output)


def pretrain_digits(
    output: Annotated[Path, typer.Option(help="Directory to write the model to.")] = _ANALYSIS
    / "models"
    / "digits-vit",
) -> None:
    """Pretrain the small image classifier that the task digits starts from; it takes about a minute."""
    from analysis.cli.shipping.pretrain import pretrain_digits

    accuracy = pretrain_digits(output)
    typer.echo(f"{accuracy:.1%} of the held-out upright digits right; written to {output}")


def speak_digits(
    output: Annotated[Path, typer.Option(help="Directory to write the recordings to.")] = _ANALYSIS
    / "training"
    / "data"
    / "spoken_digits",
) -> None:
    """Make the recordings of the task spoken_digits with espeak-ng, which must be installed; takes half a minute."""
    from analysis.cli.shipping.speak import speak_digits

    typer.echo(f"{speak_digits(output):,} recordings written to {output}")
