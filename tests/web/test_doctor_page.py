"""doctor.html, in browsers with and without GPUs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tabgrad.__main__ import main
from tabgrad.web.serve import CONTENT_SECURITY_POLICY, ISOLATION
from tools.browser import launch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.conftest import SiteServer

HEADERS = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, **ISOLATION}
FUNCTIONS = {"exp, off by": 2, "log, off by": 2, "sin, off by": 2, "tanh, off by": 4}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor")
    main(["doctor", "--page", str(folder)])
    return folder


def looked(page: Page, address: str) -> dict[str, Any]:
    page.goto(f"{address}doctor.html")
    page.locator("main[aria-busy=false]").wait_for(state="attached", timeout=60_000)
    found: dict[str, Any] = page.evaluate("window.tabgradDoctor")
    return found


def rate(text: str) -> float:
    return float(text.split()[0])


def test_every_engine_of_a_browser(
    written: Path, chromium: Browser, site_server: SiteServer
) -> None:
    complaints: list[str] = []
    playwright: Any = SimpleNamespace(chromium=chromium.browser_type)
    browser = launch(playwright, gpu=True)
    try:
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("pageerror", lambda error: complaints.append(str(error)))
        # Warnings may be a driver's: that reading pixels, of which the page measures, is slow.
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        found = looked(page, site_server(written, HEADERS))
        assert page.locator("#about").inner_text() == "3 of 3 engines work in this browser."
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390, "nothing sticks out on a phone"
        page.locator("summary").first.click()
        assert page.get_by_text("maxStorageBufferBindingSize").is_visible()
    finally:
        browser.close()
    assert not complaints
    assert found["device"]["cross-origin isolated"] is True
    for name, engine in found["engines"].items():
        assert engine["available"] and "why" not in engine, (name, engine)
        speed = engine["speed"]
        assert speed.keys() == {"matmul 512", "map", "launch"}
        assert all(rate(text) > 0 for text in speed.values())
        for function, most in FUNCTIONS.items():
            assert rate(engine["facts"][function]) <= most, (name, function)
    engines = {name: engine["facts"] for name, engine in found["engines"].items()}
    assert engines["wasm"]["SIMD"] is True and engines["wasm"]["threads"].startswith("up to ")
    assert engines["webgpu"]["software"] is True and engines["webgpu"]["schedule"] == "serial"
    assert engines["webgl"]["precision"] == "float32"
    assert engines["webgl"]["float bits, measured"] == 23


def test_what_is_not_there_says_why(written: Path, page: Page, site_server: SiteServer) -> None:
    """Without a GPU, and without the headers that threads need."""
    page.add_init_script("OffscreenCanvas.prototype.getContext = () => null")
    found = looked(page, site_server(written))
    assert found["engines"]["wasm"]["speed"]
    assert "not cross-origin isolated" in found["engines"]["wasm"]["facts"]["threads"]
    for name in ("webgpu", "webgl"):
        engine = found["engines"][name]
        assert not engine["available"] and "expected" in engine["why"]
        assert page.get_by_text(engine["why"]).is_visible()
    assert page.locator("#about").inner_text() == "1 of 3 engines work in this browser."


def test_wrong_kernels_are_seen(
    written: Path, tmp_path: Path, page: Page, site_server: SiteServer
) -> None:
    """Programs of other functions: the product is that of something else, and missing files."""
    for path in written.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(written)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    content = json.loads((tmp_path / "doctor.json").read_text())
    # The page believes that the matrices are half as wide.
    content["side"] //= 2
    (tmp_path / "doctor.json").write_text(json.dumps(content))
    found = looked(page, site_server(tmp_path))
    assert found["engines"]["wasm"]["why"]
    assert page.get_by_text("fails", exact=True).first.is_visible()


def test_a_page_without_its_content_says_so(
    written: Path, tmp_path: Path, page: Page, site_server: SiteServer
) -> None:
    for name in ("doctor.html", "doctor.js", "doctor-engines.js", "doctor.css", "icon.svg"):
        (tmp_path / name).write_bytes((written / name).read_bytes())
    looked(page, site_server(tmp_path))
    assert "doctor.json is not there: 404" in page.locator("#about").inner_text()
