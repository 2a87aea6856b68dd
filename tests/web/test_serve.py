"""Serving a site on this machine."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request

import pytest

from tabgrad.errors import ArgumentError
from tabgrad.web import serve


@pytest.fixture
def address(tmp_path):
    tmp_path.joinpath("index.html").write_text("<title>page</title>")
    for name in ("page.js", "kernels.wasm", "model.json", "page.css", "w.safetensors"):
        tmp_path.joinpath(name).write_text("x")
    with serve.make_server(tmp_path, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def test_serves_the_right_types_under_the_strict_policy(address):
    types = {
        "": "text/html",
        "page.js": "text/javascript",
        "kernels.wasm": "application/wasm",
        "model.json": "application/json",
        "page.css": "text/css",
        "w.safetensors": "application/octet-stream",
    }
    for path, media_type in types.items():
        with urllib.request.urlopen(address + path) as answer:
            assert answer.headers.get_content_type() == media_type
            policy = answer.headers["Content-Security-Policy"]
            assert policy == "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"
            assert answer.headers["Cache-Control"] == "no-cache"
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


def test_a_missing_file_is_404_and_outside_is_out_of_reach(address, capsys):
    for path in ("nothing.js", "../secret", "%2e%2e/secret"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(address + path)
        assert caught.value.code == 404
        caught.value.close()
    assert capsys.readouterr() == ("", "")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ArgumentError, match=r"tg\.export"):
        serve.make_server(tmp_path / "nowhere")
