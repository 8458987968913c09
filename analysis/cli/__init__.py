"""The command line `svft`, one command per file; `main` declares them."""

from analysis.cli.main import app

__all__ = ["app"]
