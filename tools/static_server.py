"""A static file server in a thread, for opening pages in a browser from the same process.

For the demo, the tests and the bench. What it adds to the standard library's is chosen headers
and media types, and silence.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# Said here and not left to the machine's registry, which differs between systems.
MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
}


class _Handler(SimpleHTTPRequestHandler):
    def __init__(
        self, *args: Any, headers: Mapping[str, str], media_types: Mapping[str, str], **kwargs: Any
    ) -> None:
        self.extra_headers = headers
        self.extensions_map = {**self.extensions_map, **MEDIA_TYPES, **media_types}
        super().__init__(*args, **kwargs)

    def end_headers(self) -> None:
        for name, value in self.extra_headers.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        # A browser that leaves a page drops its connections, which is no error of ours.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serve(
    directory: Path | str,
    headers: Mapping[str, str] | None = None,
    media_types: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Serves `directory` on a free port of 127.0.0.1 and yields the address, ending in a slash.

    `headers` go with every answer; `media_types` maps file endings such as ".wasm" to the type
    they are served with in place of the usual one.
    """
    handler = partial(
        _Handler, directory=str(directory), headers=headers or {}, media_types=media_types or {}
    )
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
