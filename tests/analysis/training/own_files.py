"""Files of labelled texts, as people bring them."""

import io

import pandas as pd
import pyarrow
from pyarrow import parquet

from analysis.training.data.own_data import read_table


def table(n: int = 300, labels=("bad", "good"), **columns) -> pd.DataFrame:
    """Return a table of `n` distinct texts whose labels take turns."""
    return pd.DataFrame({"text": [f"text {i}" for i in range(n)], "label": (list(labels) * n)[:n]} | columns)


def read(content: str | bytes, name: str = "reviews.csv") -> pd.DataFrame:
    return read_table(io.BytesIO(content.encode() if isinstance(content, str) else content), name)


def as_parquet(frame: pd.DataFrame | pyarrow.Table) -> bytes:
    file = io.BytesIO()
    parquet.write_table(frame if isinstance(frame, pyarrow.Table) else pyarrow.Table.from_pandas(frame), file)
    return file.getvalue()
