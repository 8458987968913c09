"""The app in a process of its own, started as the README says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

ROOT = Path(__file__).parents[2]
_PATIENCE = 60  # seconds


@dataclass(frozen=True)
class Server:
    """A running app.

    Attributes:
        address: Where a browser finds it.
        process: Its process.
        began: `time.perf_counter` as it was started.
    """

    address: str
    process: psutil.Process
    began: float

    def cpu(self) -> float:
        """Return the seconds that the server has computed so far, user and system, its child processes left out."""
        times = self.process.cpu_times()
        return times.user + times.system

    def memory(self) -> int:
        """Return the bytes that the server alone holds, its child processes left out."""
        return self.process.memory_full_info().uss

    def children_cpu(self) -> float:
        """Return the seconds that the child processes which are alive have computed so far."""
        total = 0.0
        for child in self.process.children(recursive=True):
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return total


@contextmanager
def running_app(
    data_directory: Path,
    script: Path = ROOT / "app" / "main.py",
    log: IO[str] | None = None,
    *,
    wait: bool = True,
    **environment: str,
) -> Iterator[Server]:
    """Run the app, or another script, with its studies in a directory and its errors in a log, until the block ends.

    Args:
        data_directory: Where it keeps studies.
        script: What Streamlit runs.
        log: Where its standard error goes; where ours goes without one.
        wait: Whether to wait until it answers.
        environment: Further variables of its environment.

    Yields:
        The server.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.headless", "true"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--server.port", str(port)],
        cwd=ROOT,
        stdout=log,
        stderr=log,
        env={**os.environ, "SVFT_DATA_DIR": str(data_directory), **environment},
    )
    server = Server(f"http://localhost:{port}", psutil.Process(process.pid), began)
    try:
        if wait:
            wait_for(server)
        yield server
    finally:
        process.terminate()
        process.wait(_PATIENCE)


def wait_for(server: Server) -> None:
    """Wait until a server answers, for a minute at most."""
    for _ in range(20 * _PATIENCE):
        try:
            urllib.request.urlopen(f"{server.address}/_stcore/health", timeout=1)
            return
        except OSError:
            time.sleep(0.05)
