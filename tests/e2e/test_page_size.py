"""What a visitor of the seed page downloads to predict and to train, weights apart."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from examples import seed
from tests.e2e.models import export
from tests.e2e.places import STRICT

if TYPE_CHECKING:
    from playwright.sync_api import Page, Response

    from tests.conftest import SiteServer

LIMIT = 25_000


def test_the_code_of_the_seed_page(page: Page, site_server: SiteServer, tmp_path: Path) -> None:
    model = seed.make_model()
    model.fit(*seed.load_data(), epochs=100, verbose=0)
    export(model, tmp_path)
    address = site_server(tmp_path, STRICT)
    fetched: dict[str, int] = {}

    def record(response: Response) -> None:
        assert response.url.startswith(address), f"a request to elsewhere: {response.url}"
        name = urlsplit(response.url).path.lstrip("/") or "index.html"
        assert response.ok, f"{name} is missing"
        fetched[name] = len(gzip.compress((tmp_path / name).read_bytes(), 9, mtime=0))

    page.context.on("response", record)
    page.goto(address, wait_until="networkidle")
    page.evaluate("async () => { await window.tabgrad.ready; }")
    assert page.workers == []  # such a small model is sooner trained than a worker has started
    # The page has predicted by itself; now train as a visitor does, from scratch and further.
    page.fill("#rows", "1, 1\n2, 3\n3, 5\n4, 7")
    for button in ("#fresh", "#train"):
        page.click(button)
        page.wait_for_selector("#train:enabled")
        assert "00 of " in (page.text_content("#status") or "")
    assert "kernels.relaxed.wasm" in fetched
    code = {name: size for name, size in fetched.items() if not name.endswith(".safetensors")}
    for name, size in sorted(fetched.items()):
        print(f"{name:<24} {size:>7,} bytes gzip{'' if name in code else ', weights'}")
    total = sum(code.values())
    print(f"{'code in all':<24} {total:>7,} bytes gzip, of at most {LIMIT:,}")
    assert {"index.html", "page.js", "page.css", "tabgrad.js", "tabgrad/session.js"} <= code.keys()
    assert total <= LIMIT
