"""`python -m analysis.cli` is `svft`."""

from analysis.cli import app

app()
