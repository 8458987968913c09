"""The app in a process of its own, as visitors without a browser start it too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from app.load import server
from app.load.server import ROOT


@contextmanager
def running_app(
    data_directory: Path, script: Path = ROOT / "app" / "main.py", log: IO[str] | None = None
) -> Iterator[str]:
    """Run the app, or another script, with its studies in a directory and its errors in a log; give its address."""
    with server.running_app(data_directory, script, log) as running:
        yield running.address
