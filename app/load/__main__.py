"""``python -m app.load``: measure the app, one line of JSON for each number; what is going on to standard error."""

from __future__ import annotations

import argparse
import json
import sys

from app.load.measure import measure_app


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    lines = measure_app(options.clients, options.seconds, lambda what: print(what, file=sys.stderr, flush=True))
    for line in lines:
        print(json.dumps(line, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
