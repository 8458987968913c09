"""The command line `svft`, one command a file; `main` declares them."""

from analysis.cli.main import app

__all__ = ["app"]
