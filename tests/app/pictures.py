"""Take the pictures of the README: ``python -m tests.app.pictures``."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright

from tests.app.server import running_app
from tests.app.visitor import Visitor

DIRECTORY = Path(__file__).parents[2] / "docs" / "pictures"
# Name of the file -> where it was taken, and what must be on the page
PICTURES = {
    "start": ("", ".st-key-facts"),
    "explore": ("explore?adapter=BBC+headlines+·+plain&view=Spectrum+and+rank", ".stPlotlyChart .main-svg"),
    "race": ("race", ".st-key-start"),
    "learn": ("learn?chapter=2", ".stPlotlyChart .main-svg"),
}


def take(address: str) -> None:
    """Take all pictures of the app at `address`."""
    DIRECTORY.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for name, (path, ready) in PICTURES.items():
            visitor = Visitor(browser)
            visitor.open(f"{address}/{path}", ready=ready)
            visitor.page.wait_for_timeout(3000)  # figures that come one after another
            visitor.page.screenshot(path=DIRECTORY / f"{name}.png")
            visitor.close()
        browser.close()


if __name__ == "__main__":
    with TemporaryDirectory() as directory, running_app(Path(directory)) as address:
        take(address)
