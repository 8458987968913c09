"""Runs the app on adapters of the tests: ``python serve.py <directory of adapters> <port>``."""

import sys
from pathlib import Path

from streamlit.web import cli

from analysis import shipped

if __name__ == "__main__":
    directory, port = sys.argv[1:]
    shipped.DIRECTORY = Path(directory)
    main = Path(__file__).parents[2] / "app" / "main.py"
    sys.argv = ["streamlit", "run", str(main), "--server.headless", "true", "--server.port", port]
    cli.main()
