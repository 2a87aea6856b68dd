"""Pages as visitors meet them: in Chromium, under the strict policy, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.player.conftest import STRICT, javascript

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.conftest import SiteServer

__all__ = ["javascript"]  # a fixture of these tests, too

Visit = Callable[..., "Page"]


@pytest.fixture
def visit(page: Page, site_server: SiteServer) -> Iterator[Visit]:
    """visit(folder, ...) opens an exported page and waits until all of it is there.

    When the test ends, anything the browser complained about fails it, as does any request to
    another server.
    """
    complaints: list[str] = []
    addresses: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("request", lambda request: requests.append(request.url))

    def open_page(
        folder: Path, *, ready: bool = True, width: int = 1100, color_scheme: Any = "light"
    ) -> Page:
        addresses.append(site_server(folder, STRICT))
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=color_scheme)
        page.goto(addresses[-1])
        if ready:
            page.locator("main[aria-busy=false]").wait_for()
        return page

    open_page.complaints = complaints  # type: ignore[attr-defined]
    open_page.requests = requests  # type: ignore[attr-defined]
    yield open_page
    assert not complaints
    elsewhere = [url for url in requests if not url.startswith((*addresses, "blob:", "data:"))]
    assert not elsewhere
