"""The shared fixtures themselves: the browser, the server's headers, asyncio beside Playwright."""

import asyncio
import urllib.request


def test_browser_opens_a_served_page(page, site_server, tmp_path):
    tmp_path.joinpath("index.html").write_text("<!doctype html><title>served</title>")
    page.goto(site_server(tmp_path))
    assert page.title() == "served"


def test_server_sends_the_chosen_headers_and_media_types(site_server, tmp_path):
    tmp_path.joinpath("kernels.wasm").write_bytes(b"\0asm")
    address = site_server(tmp_path, {"X-Chosen": "yes"}, {".wasm": "text/plain"})
    with urllib.request.urlopen(address + "kernels.wasm") as answer:
        assert answer.headers["X-Chosen"] == "yes"
        assert answer.headers.get_content_type() == "text/plain"
        assert answer.read() == b"\0asm"
    with urllib.request.urlopen(site_server(tmp_path) + "kernels.wasm") as answer:
        assert answer.headers.get_content_type() == "application/wasm"


def test_asyncio_runs_in_tests_without_the_browser():
    async def answer():
        return 42

    assert asyncio.run(answer()) == 42
