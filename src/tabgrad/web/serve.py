"""A small HTTP server for looking at exported pages on this machine, from the standard library.

It is for development: pages need no server of ours, any static one will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tabgrad.errors import ArgumentError

# Not left to the machine's own table, which may know less.
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".safetensors": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}
# What an exported page needs, and nothing more.
CONTENT_SECURITY_POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"
# What lets it run large models on several threads; pages work without, on one.
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


class Handler(SimpleHTTPRequestHandler):
    """Serves files with the headers it is given, and keeps quiet about requests."""

    # As real servers do: several files over one connection, and no wait of TCP's (Nagle's
    # algorithm) between the headers of an answer and what follows them.
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, *args: Any, headers: Mapping[str, str], **kwargs: Any) -> None:
        self._headers = headers
        self.extensions_map = {**SimpleHTTPRequestHandler.extensions_map, **MEDIA_TYPES}
        super().__init__(*args, **kwargs)

    def end_headers(self) -> None:
        """Add the chosen headers to every answer."""
        for name, value in self._headers.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing; a browser's console shows what failed."""


def make_server(
    folder: str | Path, *, host: str = "127.0.0.1", port: int = 8000
) -> ThreadingHTTPServer:
    """A server that is bound but not yet running; port 0 takes any that is free.

    Raises:
        ArgumentError: where there is no such folder.

    Example:
        >>> server = make_server(".", port=0)
        >>> server.server_close()
    """
    if not Path(folder).is_dir():
        raise ArgumentError(
            f"expected a folder to serve, received {str(folder)!r}; tg.export(model, 'site/') "
            "makes one"
        )
    headers = {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        **ISOLATION,
        # A page just exported again shows at once.
        "Cache-Control": "no-cache",
    }
    handler = partial(Handler, directory=str(folder), headers=headers)
    return ThreadingHTTPServer((host, port), handler)


def serve(folder: str | Path = ".", *, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve a folder until Ctrl+C; says where.

    Args:
        folder: what `tg.export` wrote.
        host: "0.0.0.0" lets other devices in the network look, for instance a phone.
        port: 0 takes any that is free.

    Raises:
        ArgumentError: where there is no such folder.
        OSError: when the port is taken.
    """
    with make_server(folder, host=host, port=port) as server:
        print(f"serving {folder} at http://{host}:{server.server_address[1]}/ (Ctrl+C stops)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
