"""From one form of an adapter to another, one direction per file.

Each direction is a generator that writes a directory: it yields the number of matrices, then one row of measures a
matrix as it is done, and has written everything when it ends. `collect` runs one to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pandas as pd

Steps = Generator[Any, None, Any]  # it returns what is left out, or nothing


def collect(steps: Steps, progress: Callable[[int, int], None] | None = None) -> pd.DataFrame:
    """Run a conversion to its end and return its rows, one per matrix; `attrs["left_out"]` says what is not in it.

    Args:
        steps: What a conversion returned.
        progress: Told (done, total) before each matrix and after the last.

    Raises:
        ValueError: With one sentence, if something cannot be converted.
    """
    total, rows = next(steps), list[dict[str, Any]]()
    while True:
        if progress is not None:
            progress(len(rows), total)
        try:
            rows.append(next(steps))
        except StopIteration as end:
            table = pd.DataFrame(rows)
            table.attrs["left_out"] = end.value or []
            return table
