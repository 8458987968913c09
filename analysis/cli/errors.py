"""How a command ends that fails: with one sentence on the terminal, and with a traceback in the log alone."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from analysis.common.errors import UserError, report_unexpected


class Commands(TyperGroup):
    """Commands whose errors are sentences: exit code 2 for a `UserError`, 1 for anything unexpected."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        log = LogFile()
        logging.getLogger("analysis").addHandler(log)
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, TyperException, BrokenPipeError):
            raise
        except UserError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from error
        except Exception as error:
            typer.echo(report_unexpected(error, f"svft {ctx.invoked_subcommand}"), err=True)
            typer.echo(f"Log: {log.path()}", err=True)
            raise typer.Exit(1) from error
        finally:
            logging.getLogger("analysis").removeHandler(log)


class LogFile(logging.Handler):
    """Appends warnings and errors to `svft.log` in the data directory, which is made with the first of them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    @staticmethod
    def path() -> Path:
        """Return where the log is."""
        from analysis.trials.store import data_directory  # half a second of pandas, which most commands can do without

        return data_directory() / "svft.log"

    def emit(self, record: logging.LogRecord) -> None:
        """Append one record; on the terminal if the file cannot be written."""
        line = self.format(record)
        try:
            self.path().parent.mkdir(parents=True, exist_ok=True)
            with self.path().open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError:
            print(line, file=sys.stderr)
