"""The app as its tests meet it: in a process of its own, in a browser."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from analysis.common.errors import AdapterError
from analysis.trials.workers import Workers
from app import data, trials
from app.data import base_models
from app.views import choice, convert, opening
from app.views.race.plan import diagnosis
from tests.app import redrawn
from tests.app.jobs_here import JobHere
from tests.app.server import ROOT, running_app
from tests.app.visitor import Visitor


@pytest.fixture(autouse=True)
def jobs_here(monkeypatch):
    """What pages compute besides themselves is computed in threads; jobs in processes have tests of their own.

    None outlives its test: torch has one generator a process, and a model that is loaded meanwhile puts it back.
    """
    jobs = []

    def start(*args, **options):
        jobs.append(JobHere(*args, **options))
        return jobs[-1]

    for module in (data, base_models, opening, convert, choice, diagnosis):
        monkeypatch.setattr(module, "Job", start)
    yield
    for job in jobs:
        job.wait(120)
    data._loader.submit(int).result(120)


@pytest.fixture
def no_workers(tmp_path, monkeypatch):
    """A store with no studies, and an engine whose workers never come: what is started stays queued."""
    monkeypatch.setenv("SVFT_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(Workers, "_connect", lambda workers: None)
    monkeypatch.setattr(type(st.context), "cookies", {})  # AppTest has a mock in its place
    yield
    trials.engine().close()
    for resource in (trials.store, trials.engine):
        resource.clear()


@pytest.fixture
def no_model(monkeypatch):
    """No model is loaded for the dial: for pages that do not ask it anything."""

    def refuse(path: str) -> None:
        raise AdapterError("No model is loaded in this test.")

    data._predictor.clear()
    monkeypatch.setattr(data, "_load_predictor", refuse)
    yield
    data._predictor.clear()


@pytest.fixture
def race():
    """Open the page Race with a query, in this process; `opened` are sections of a result."""

    def run(opened: Sequence[str] = (), **query: str) -> AppTest:
        test = AppTest.from_file(str(ROOT / "app" / "entry.py"), default_timeout=180)
        test.switch_page("race.py")  # before the first run, which would draw Start
        for key, value in query.items():
            test.query_params[key] = value
        for section in opened:
            test.session_state[f"open-{section}"] = True
        return test.run()

    return run


@pytest.fixture
def learn(no_workers, monkeypatch):
    """Open a chapter with a query, as a visitor."""

    def run(chapter: int, owner: str = "a" * 32, **query: str) -> AppTest:
        monkeypatch.setattr(type(st.context), "cookies", {"svft-visitor": owner})
        test = AppTest.from_file(str(ROOT / "app" / "entry.py"), default_timeout=120)
        test.switch_page("learn.py")  # before the first run, which would draw Start
        for key, value in {"chapter": str(chapter), **query}.items():
            test.query_params[key] = value
        return test.run()

    return run


@pytest.fixture(scope="session")
def data_directory(tmp_path_factory) -> Path:
    """Where `server` keeps its studies."""
    return tmp_path_factory.mktemp("studies")


@pytest.fixture(scope="session")
def server(data_directory) -> str:
    """The address of the app, started as the README says, with the adapters that ship and no studies yet."""
    with running_app(data_directory) as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    """Chromium, as Debian and most systems install it."""
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("Chromium is not installed.")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and report.failed:
        item.failed = True
    return report


@pytest.fixture
def visitor(browser, request):
    """Visitors of the app, each with a browser context of its own; none of them finds another one's cookies.

    Where the test fails, its report says what each of them saw last.
    """
    visitors = []

    def visit(*args, **options):
        visitors.append(Visitor(browser, *args, **options))
        return visitors[-1]

    yield visit
    for walk in visitors:
        if getattr(request.node, "failed", False):
            print(walk.sees())
        walk.close()


@pytest.fixture(autouse=True)
def each_fragment_can_be_drawn_again_at_any_time(request):
    """On a busy server a fragment is due before its page has reached the browser."""
    if "own_fragments" in request.fixturenames:
        yield
        return
    with redrawn.recorded() as runs:
        yield
    assert not [harm for run in runs for harm in redrawn.displaced(run)]


@pytest.fixture
def own_fragments():
    """For a test that looks at fragments itself."""
