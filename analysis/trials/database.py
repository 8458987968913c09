"""The studies' SQLite file: its tables, access to it, and how a file of an earlier version is brought up to date.

The version is SQLite's `user_version`; files of release 0.1.0 have 0. To change tables, append to `_STEPS` the
statements that bring a file from the version before to the new one: a new file goes through all of them.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from analysis.common.errors import UserError

# Of release 0.1.0
_TABLES = """
CREATE TABLE studies (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, created REAL NOT NULL, study TEXT NOT NULL,
  state TEXT NOT NULL, engine TEXT NOT NULL, bet TEXT, cost TEXT, data BLOB
);
CREATE TABLE trials (
  study TEXT NOT NULL REFERENCES studies (id) ON DELETE CASCADE, number INTEGER NOT NULL, trial TEXT NOT NULL,
  state TEXT NOT NULL, reason TEXT, step INTEGER NOT NULL DEFAULT 0, turns INTEGER NOT NULL DEFAULT 0,
  layout BLOB, outcome TEXT, predicted BLOB, PRIMARY KEY (study, number)
);
CREATE TABLE points (
  study TEXT NOT NULL REFERENCES studies (id) ON DELETE CASCADE, number INTEGER NOT NULL, step INTEGER NOT NULL,
  train_loss REAL, loss REAL, accuracy REAL, macro_f1 REAL, seconds REAL, at REAL, coefficients BLOB,
  PRIMARY KEY (study, number, step)
);
CREATE TABLE class_members (
  code TEXT NOT NULL, owner TEXT NOT NULL, seed INTEGER NOT NULL, PRIMARY KEY (code, owner), UNIQUE (code, seed)
);
CREATE TABLE class_studies (
  code TEXT NOT NULL, study TEXT NOT NULL REFERENCES studies (id) ON DELETE CASCADE, PRIMARY KEY (code, study)
);
"""
_STEPS: tuple[tuple[str, ...], ...] = (
    (),  # 0 to 1: the tables of 0.1.0, to which the version is written
    ("ALTER TABLE studies ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0",),  # 1 to 2: deletions can be undone
    (  # 2 to 3: what a visitor set in the lessons
        "CREATE TABLE notes (owner TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, at REAL NOT NULL,"
        " PRIMARY KEY (owner, name))",
    ),
)


class Database:
    """An open file, brought up to date. Safe to use from several threads and processes."""

    def __init__(self, file: Path) -> None:
        """Open the file, or make it.

        Raises:
            UserError: If a later version wrote it.
        """
        self._connection = sqlite3.connect(file, timeout=30, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._lock = threading.RLock()
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            bring_up_to_date(self._connection, str(file))
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _read(self, query: str, values: tuple = ()) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for what is written wholly or not at all."""
        with self._lock, self._connection:
            yield self._connection


def bring_up_to_date(connection: sqlite3.Connection, file: str) -> None:
    """Give a new file its tables, and bring one of an earlier version to this one, wholly or not at all.

    Args:
        connection: To the file. Other processes may open it at the same time.
        file: Its name, for the error.

    Raises:
        UserError: If a later version wrote the file.
    """
    newest = len(_STEPS)
    if _version(connection) == newest:
        return
    connection.execute("BEGIN IMMEDIATE")  # whoever comes second finds it done
    try:
        version = _version(connection)
        if version > newest:
            raise UserError(
                f"{file} was written by a later version of SVFT Explorer (it has file version {version}, this one "
                f"reads up to {newest}): update SVFT Explorer, or set SVFT_DATA_DIR to another directory."
            )
        statements = [statement for step in _STEPS[version:] for statement in step]
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'studies'").fetchone():
            statements = [*filter(str.strip, _TABLES.split(";")), *statements]
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {newest}")
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]
