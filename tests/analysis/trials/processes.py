"""An engine in a process of its own, to be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from analysis.trials.store import Store
from analysis.trials.study import Study

_PROGRAM = """
import json, sys, time
from analysis.trials.engine import Engine
from analysis.trials.store import Store
from analysis.trials.study import Study

engine = Engine(Store(sys.argv[1]), scheduler=sys.argv[3])
print(engine.start(Study.from_dict(json.loads(sys.argv[2]))), flush=True)
time.sleep(600)
"""


def run_engine_until_killed(directory: Path, study: Study, scheduler: str, points: int) -> str:
    """Start `study` on a scheduler's workers, kill its process once it has so many points, and return the id."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(directory), json.dumps(study.to_dict()), scheduler],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    try:
        id = process.stdout.readline().strip()
        store = Store(directory)
        end = time.monotonic() + 120
        while len(store.points(id)) < points:
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.05)
        store.close()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return id
