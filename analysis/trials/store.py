"""Where studies live: an SQLite file, written by the engine alone as things happen, read by whoever shows them.

Adapters and the states of unfinished trials are files beside it. Light: no torch.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import sqlite3
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import platformdirs

from analysis.common.errors import UserError
from analysis.training.forgetting import MEASURES
from analysis.trials.database import Database
from analysis.trials.messages import Layout, Report
from analysis.trials.records import TRIAL_FILE, StudyRecord, TrialRecord
from analysis.trials.study import Study, Trial

POINT_COLUMNS = ("trial", "step", "train_loss", "loss", "accuracy", "macro_f1", "seconds", "at")
OUTCOME_COLUMNS = ("accuracy", "macro_f1", "loss", "file_bytes", "rank", "stable_rank", "effective_rank")

_NOTES_STAY = 365 * 24 * 3600  # seconds: as long as the cookie that says whose they are


def data_directory() -> Path:
    """Return where studies are kept: SVFT_DATA_DIR, else the user's data directory."""
    if given := os.environ.get("SVFT_DATA_DIR"):
        return Path(given).expanduser()
    return platformdirs.user_data_path("svft-explorer", appauthor=False)


class Store(Database):
    """The studies of one data directory. Safe to use from several threads and processes."""

    def __init__(self, directory: str | Path | None = None) -> None:
        self.directory = Path(directory or data_directory())
        self.directory.mkdir(parents=True, exist_ok=True)
        super().__init__(self.directory / "studies.sqlite")

    # -- what the engine writes

    def add_study(
        self,
        study: Study,
        trials: list[Trial],
        *,
        engine: str,
        owner: str = "",
        name: str = "",
        bet: dict | None = None,
        data: bytes | None = None,
    ) -> str:
        """Add a study with all its trials waiting; return its id, which nobody can guess: it opens the study."""
        id = secrets.token_hex(16)
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO studies (id, owner, name, created, study, state, engine, bet, data)"
                " VALUES (?, ?, ?, ?, ?, 'queued', ?, ?, ?)",
                (id, owner, name, time.time(), json.dumps(study.to_dict()), engine, bet and json.dumps(bet), data),
            )
            self._add_trials(connection, id, 0, trials)
        return id

    def extend_study(self, id: str, study: Study, trials: list[Trial], engine: str) -> None:
        """Add trials to a study that now compares more: `trials` are all of the extended study."""
        with self._writing() as connection:
            (first,) = connection.execute("SELECT COUNT(*) FROM trials WHERE study = ?", (id,)).fetchone()
            self._add_trials(connection, id, first, trials[first:])
            connection.execute(
                "UPDATE studies SET study = ?, state = 'queued', engine = ? WHERE id = ?",
                (json.dumps(study.to_dict()), engine, id),
            )

    def _add_trials(self, connection: sqlite3.Connection, id: str, first: int, trials: list[Trial]) -> None:
        connection.executemany(
            "INSERT INTO trials (study, number, trial, state) VALUES (?, ?, ?, 'waiting')",
            [(id, first + place, json.dumps(trial.to_dict())) for place, trial in enumerate(trials)],
        )

    def set_study_state(self, id: str, state: str, engine: str | None = None) -> None:
        """Record what a study is doing, and which engine does it."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE studies SET state = ?, engine = COALESCE(?, engine) WHERE id = ?", (state, engine, id)
            )

    def set_trial_state(self, id: str, number: int, state: str, reason: str | None = None) -> None:
        """Record what a trial is doing, with the reason if it failed."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE trials SET state = ?, reason = ? WHERE study = ? AND number = ?", (state, reason, id, number)
            )

    def add_report(self, id: str, number: int, report: Report) -> None:
        """Add what a turn came to: a point, and at the end the outcome and the adapter's directory."""
        state_file = self._state_file(id, number)
        if report.state is not None:  # before the point: a state ahead of its point is recognised by its step
            state_file.parent.mkdir(parents=True, exist_ok=True)
            beside = state_file.with_suffix(".part")
            beside.write_bytes(report.step.to_bytes(8, "little") + report.state)
            beside.replace(state_file)
        if report.outcome is not None and report.outcome.adapter is not None:
            directory = self.adapter_directory(id, number)
            shutil.rmtree(directory, ignore_errors=True)
            with zipfile.ZipFile(io.BytesIO(report.outcome.adapter)) as archive:  # packed by our own worker
                archive.extractall(directory)
            (directory / TRIAL_FILE).write_text(self._trial(id, number), encoding="utf-8")
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    id,
                    number,
                    report.step,
                    float(np.mean(report.train_losses)) if report.train_losses else None,
                    report.loss,
                    report.accuracy,
                    report.macro_f1,
                    report.seconds,
                    time.time(),
                    None if report.coefficients is None else report.coefficients.tobytes(),
                ),
            )
            (turns,) = connection.execute(
                "SELECT COUNT(*) FROM points WHERE study = ? AND number = ?", (id, number)
            ).fetchone()
            connection.execute(
                "UPDATE trials SET step = ?, turns = ?, layout = COALESCE(?, layout) WHERE study = ? AND number = ?",
                (report.step, turns, report.layout and report.layout.to_bytes(), id, number),
            )
            if report.outcome is not None:
                values = {name: getattr(report.outcome, name) for name in (*OUTCOME_COLUMNS, "parameters")}
                if report.outcome.forgetting is not None:
                    values |= report.outcome.forgetting.to_dict()
                connection.execute(
                    "UPDATE trials SET state = 'done', reason = NULL, outcome = ?, predicted = ?"
                    " WHERE study = ? AND number = ?",
                    (json.dumps(values), report.outcome.predicted.astype(np.int16).tobytes(), id, number),
                )
        if report.outcome is not None:
            state_file.unlink(missing_ok=True)

    def add_outcomes(self, id: str, results: pd.DataFrame, cost: pd.DataFrame | None) -> None:
        """Record what came of the trials of a study elsewhere.

        Args:
            id: Of the study.
            results: As `results` returns them; ``trial`` says which ones.
            cost: As in `StudyRecord`.
        """
        with self._writing() as connection:
            for row in results.to_dict("records"):
                values = {name: row[name] for name in (*OUTCOME_COLUMNS, "parameters")}
                values |= {name: row[name] for name in MEASURES if pd.notna(row.get(name))}
                connection.execute(
                    "UPDATE trials SET state = 'done', step = json_extract(trial, '$.spec.steps'), outcome = ?,"
                    " predicted = ? WHERE study = ? AND number = ?",
                    (json.dumps(values), row["predicted"].astype(np.int16).tobytes(), id, row["trial"]),
                )
        if cost is not None:
            self.set_cost(id, cost)

    def _trial(self, id: str, number: int) -> str:
        """Return what a trial is, as JSON."""
        (row,) = self._read("SELECT trial FROM trials WHERE study = ? AND number = ?", (id, number))
        return row["trial"]

    def begin_again(self, id: str, number: int) -> None:
        """Take a trial back to step 0: its state is lost."""
        self._state_file(id, number).unlink(missing_ok=True)
        with self._writing() as connection:
            connection.execute("DELETE FROM points WHERE study = ? AND number = ?", (id, number))
            connection.execute("UPDATE trials SET step = 0, turns = 0 WHERE study = ? AND number = ?", (id, number))

    def set_cost(self, id: str, cost: pd.DataFrame) -> None:
        """Record what the methods of a study cost."""
        with self._writing() as connection:
            connection.execute("UPDATE studies SET cost = ? WHERE id = ?", (cost.to_json(orient="records"), id))

    # -- classes: several owners, each with a seed of its own, whose studies are looked at together

    def join_class(self, code: str, owner: str) -> int:
        """Return the seed of an owner in a class: the first free one from 0 on, the same at every call."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO class_members SELECT ?, ?, COALESCE(MAX(seed) + 1, 0) FROM class_members WHERE code = ?"
                " ON CONFLICT (code, owner) DO NOTHING",
                (code, owner, code),
            )
        (member,) = self._read("SELECT seed FROM class_members WHERE code = ? AND owner = ?", (code, owner))
        return member["seed"]

    def class_size(self, code: str) -> int:
        """Return how many owners are in a class."""
        return self._read("SELECT COUNT(*) AS size FROM class_members WHERE code = ?", (code,))[0]["size"]

    def add_to_class(self, code: str, id: str) -> None:
        """Let a study be seen with those of its class."""
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO class_studies VALUES (?, ?)", (code, id))

    def class_studies(self, code: str) -> list[StudyRecord]:
        """Return the studies of a class, the oldest first."""
        rows = self._read(
            "SELECT id, owner, name, created, studies.study, state, engine, bet, cost FROM studies"
            " JOIN class_studies c ON c.study = studies.id WHERE code = ? AND NOT deleted"
            " ORDER BY created, studies.rowid",
            (code,),
        )
        return [StudyRecord.from_row(row) for row in rows]

    # -- notes: what an owner set in the lessons, by name

    def set_note(self, owner: str, name: str, value: Any) -> None:
        """Keep a value that JSON can hold; it takes the place of an earlier one of its name."""
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?)", (owner, name, json.dumps(value), time.time())
            )

    def notes(self, owner: str) -> dict[str, Any]:
        """Return all notes of an owner."""
        rows = self._read("SELECT name, value FROM notes WHERE owner = ?", (owner,))
        return {row["name"]: json.loads(row["value"]) for row in rows}

    def delete_notes(self, owner: str) -> None:
        """Delete all notes of an owner."""
        with self._writing() as connection:
            connection.execute("DELETE FROM notes WHERE owner = ?", (owner,))

    # -- what a person changes

    def rename(self, id: str, name: str) -> None:
        """Give a study another name."""
        with self._writing() as connection:
            connection.execute("UPDATE studies SET name = ? WHERE id = ?", (name, id))

    def delete_adapter(self, id: str, number: int) -> None:
        """Delete what a trial trained; what was measured of it stays."""
        shutil.rmtree(self.adapter_directory(id, number), ignore_errors=True)

    def delete(self, id: str) -> None:
        """Delete a study that does not run: it is in no list any more, until `restore` or `purge`."""
        with self._writing() as connection:
            connection.execute("UPDATE studies SET deleted = 1 WHERE id = ?", (id,))

    def restore(self, id: str) -> None:
        """Take a deletion back, if the study was not purged since."""
        with self._writing() as connection:
            connection.execute("UPDATE studies SET deleted = 0 WHERE id = ?", (id,))

    def purge(self) -> None:
        """Remove what was deleted, with its adapters, and notes that are too old, for good."""
        ids = [row["id"] for row in self._read("SELECT id FROM studies WHERE deleted")]
        with self._writing() as connection:
            connection.execute("PRAGMA foreign_keys = ON")  # first: within a transaction it would be without effect
            connection.executemany("DELETE FROM studies WHERE id = ?", [(id,) for id in ids])
            connection.execute("DELETE FROM notes WHERE at < ?", (time.time() - _NOTES_STAY,))
        for kind in ("adapters", "states"):
            for id in ids:
                shutil.rmtree(self.directory / kind / id, ignore_errors=True)

    # -- what is shown

    def studies(self, owner: str | None = None) -> list[StudyRecord]:
        """Return the studies, the newest first: all, or an owner's and everyone's. See `studies_and_reasons`."""
        return self.studies_and_reasons(owner)[0]

    def studies_and_reasons(self, owner: str | None) -> tuple[list[StudyRecord], list[str]]:
        """Return the studies, and why others cannot be read here: for a method that is not installed, say."""
        records, reasons = [], []
        where = "WHERE NOT deleted" + ("" if owner is None else " AND owner IN (?, '')")
        for row in self._read(
            f"SELECT id, owner, name, created, study, state, engine, bet, cost FROM studies {where}"
            " ORDER BY created DESC, rowid DESC",
            () if owner is None else (owner,),
        ):
            try:
                records.append(StudyRecord.from_row(row))
            except UserError as error:
                reasons.append(str(error))
        return records, reasons

    def study(self, id: str) -> StudyRecord | None:
        """Return a study, None if there is none of this id."""
        rows = self._read(
            "SELECT id, owner, name, created, study, state, engine, bet, cost FROM studies"
            " WHERE id = ? AND NOT deleted",
            (id,),
        )
        return StudyRecord.from_row(rows[0]) if rows else None

    def data(self, id: str) -> bytes | None:
        """Return the person's own data of a study (`OwnData.to_bytes`), None if its task is one of ours."""
        return self._read("SELECT data FROM studies WHERE id = ?", (id,))[0]["data"]

    def trials(self, id: str) -> list[TrialRecord]:
        """Return the trials of a study, in their order."""
        rows = self._read(
            "SELECT number, trial, state, reason, step, turns FROM trials WHERE study = ? ORDER BY number", (id,)
        )
        return [TrialRecord(**{**dict(row), "trial": Trial.from_dict(json.loads(row["trial"]))}) for row in rows]

    def points(self, id: str) -> pd.DataFrame:
        """Return every point of a study.

        Columns:
            trial: Number of the trial.
            step: Optimizer steps done.
            train_loss: Mean loss of the steps since the last point, NaN at step 0.
            loss, accuracy, macro_f1: On a fixed part of the validation split.
            seconds: That the turn took, while other trials shared the machine.
            at: When it was recorded, seconds since the epoch.
        """
        rows = self._read(
            "SELECT number, step, train_loss, loss, accuracy, macro_f1, seconds, at FROM points WHERE study = ?"
            " ORDER BY step, number",
            (id,),
        )
        return pd.DataFrame([tuple(row) for row in rows], columns=POINT_COLUMNS).astype({"train_loss": float})

    def turns(self, task: str, base: str) -> pd.DataFrame:
        """Return how long the latest turns on a task and base took.

        Columns:
            study, trial: Whose turn it was.
            method, batch_size, steps: Of the trial.
            step: Where the turn ended.
            seconds: As in `points`.
        """
        rows = self._read(
            "SELECT p.study, p.number, json_extract(trial, '$.spec.method'), json_extract(trial, '$.spec.batch_size'),"
            " json_extract(trial, '$.spec.steps'), p.step, p.seconds"
            " FROM points p JOIN trials t ON t.study = p.study AND t.number = p.number"
            " WHERE json_extract(trial, '$.spec.task') = ? AND json_extract(trial, '$.spec.base') = ?"
            " ORDER BY p.at DESC LIMIT 2000",
            (task, base),
        )
        columns = ("study", "trial", "method", "batch_size", "steps", "step", "seconds")
        return pd.DataFrame([tuple(row) for row in rows], columns=columns)

    def results(self, id: str) -> pd.DataFrame:
        """Return the finished trials, one row each.

        Columns:
            trial, task, method, label, seed, parameters: What was trained.
            accuracy, macro_f1, loss: On the final split.
            file_bytes: Of the adapter's weights file.
            rank, stable_rank, effective_rank: Of ΔW, means over the adapted matrices.
            drift, neighbours_changed, retrieval, retrieval_before: `analysis.training.forgetting.Forgetting`; NaN if
                they were not measured, as in studies of earlier versions.
            predicted: Predicted label of each example of the final split, (n,) int16.
        """
        rows = self._read(
            "SELECT number, trial, outcome, predicted FROM trials WHERE study = ? AND outcome IS NOT NULL"
            " ORDER BY number",
            (id,),
        )
        finished = []
        for row in rows:
            trial = Trial.from_dict(json.loads(row["trial"]))
            finished.append(
                {
                    "trial": row["number"],
                    "task": trial.spec.task,
                    "method": trial.spec.method,
                    "label": trial.label,
                    "seed": trial.spec.seed,
                    **json.loads(row["outcome"]),
                    "predicted": np.frombuffer(row["predicted"], dtype=np.int16),
                }
            )
        head = ("trial", "task", "method", "label", "seed", "parameters")
        table = pd.DataFrame(finished, columns=[*head, *OUTCOME_COLUMNS, *MEASURES, "predicted"])
        return table.astype(dict.fromkeys(MEASURES, float))

    def coefficients(self, id: str, number: int) -> tuple[Layout, pd.Series] | None:
        """Return where a trial's M stands, and its values at each evaluation: step -> (entries,) float16.

        None for a method without M, or before the first point.
        """
        (trial,) = self._read("SELECT layout FROM trials WHERE study = ? AND number = ?", (id, number))
        if trial["layout"] is None:
            return None
        rows = self._read(
            "SELECT step, coefficients FROM points WHERE study = ? AND number = ? ORDER BY step", (id, number)
        )
        values = [np.frombuffer(row["coefficients"], dtype=np.float16) for row in rows]
        return Layout.from_bytes(trial["layout"]), pd.Series(values, index=[row["step"] for row in rows], dtype=object)

    def adapter_directory(self, id: str, number: int) -> Path:
        """Return where the adapter of a trial is, once it is done; None if it was deleted."""
        return self.directory / "adapters" / id / str(number)

    def state(self, id: str, number: int) -> tuple[int, bytes] | None:
        """Return (step, state) of an unfinished trial, None if none was kept."""
        try:
            content = self._state_file(id, number).read_bytes()
        except OSError:
            return None
        return int.from_bytes(content[:8], "little"), content[8:]

    def _state_file(self, id: str, number: int) -> Path:
        return self.directory / "states" / id / f"{number}.pt"
