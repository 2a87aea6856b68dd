"""Running exported models: the same scenario in Node and in the exported page in Chromium, or
whatever a test asks of a page in a browser that has GPUs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tabgrad as tg
from tabgrad import naming, realize
from tests.e2e.gpus import Place, start
from tests.e2e.places import SCENARIOS, STRICT
from tests.javascript import run_module

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.conftest import SiteServer

    # run(folder, scenario, value) -> what the scenario answers
    Run = Callable[[Path, str, Any], Any]


@pytest.fixture(scope="session")
def plain_engine() -> Any:
    """One engine for all tests, which gives the same bits as every other machine."""
    return realize.make_engine("wasm", True)


@pytest.fixture(autouse=True)
def _fresh(plain_engine: Any) -> Iterator[None]:
    """Each test computes on that engine, and starts with names and random numbers anew."""
    with realize.using(plain_engine):
        naming.reset()
        tg.random.seed(0)
        yield


@pytest.fixture
def in_node(node: str) -> Run:
    """in_node(folder, scenario, value) runs a scenario of places.js on an export in Node."""

    def run(folder: Path, scenario: str, value: Any) -> Any:
        code = """
            const { folder, places, scenario, value } = sent;
            const { load } = await import(folder + "tabgrad.js");
            const { scenarios } = await import(places);
            const again = () => load(new URL(folder + "model.json"));
            const model = await again();
            answer = await scenarios[scenario](model, value, again);
            model.dispose();
        """
        sent = {"folder": f"{folder.as_uri()}/", "places": SCENARIOS.as_uri()}
        return run_module(node, code, sent | {"scenario": scenario, "value": value})

    return run


@pytest.fixture
def in_chromium(page: Page, site_server: SiteServer) -> Run:
    """in_chromium(folder, scenario, value) runs a scenario on the model of the exported page."""

    def run(folder: Path, scenario: str, value: Any) -> Any:
        shutil.copy(SCENARIOS, folder / "places.js")
        page.goto(site_server(folder, STRICT))
        return page.evaluate(
            """async ([scenario, value]) => {
                await window.tabgrad.ready;
                const { scenarios } = await import("./places.js");
                const { load } = await import("./tabgrad.js");
                const again = () => load(new URL("model.json", document.baseURI));
                return scenarios[scenario](window.tabgrad.model, value, again);
            }""",
            [scenario, value],
        )

    return run


@pytest.fixture
def places(in_node: Run, in_chromium: Run) -> dict[str, Run]:
    """The places an exported model runs in."""
    return {"Node": in_node, "Chromium": in_chromium}


@pytest.fixture(scope="module")
def browser(chromium: Browser) -> Iterator[Browser]:
    """A browser with GPUs in software."""
    browser = start(chromium)
    yield browser
    browser.close()


@pytest.fixture
def place(browser: Browser, site_server: SiteServer, site: Path) -> Iterator[Place]:
    """The test module's `site`, an export, in a page of that browser; errors that nobody caught
    fail the test."""
    context = browser.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield Place(page, site_server, site)
    context.close()
    assert not errors
