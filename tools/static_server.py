"""A static file server in a thread, for opening pages in a browser from the same process.

For the demo, the tests and the bench. It is `tabgrad.web.serve`'s server with chosen headers and
media types, and without the headers that one sends.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tabgrad.web.serve import Handler


class _Handler(Handler):
    def __init__(self, *args: Any, media_types: Mapping[str, str], **options: Any) -> None:
        self.media_types = media_types
        super().__init__(*args, **options)

    def guess_type(self, path: Any) -> str:
        return self.media_types.get(Path(path).suffix) or super().guess_type(path)


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
    options = {"headers": headers or {}, "media_types": media_types or {}}
    handler = partial(_Handler, directory=str(directory), **options)
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
