"""The bench's HTTP server: files of one folder, and when the last byte of each was handed over."""

from __future__ import annotations

import gzip
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tabgrad.web.serve import Handler


@dataclass(frozen=True)
class Sent:
    """One answer: the file and when it was out, in milliseconds since 1970."""

    path: Path
    at: float


@dataclass
class Server:
    """A running server: its address, which ends in a slash, what it sent since last cleared, and
    what pages that nobody asks posted to it."""

    address: str = ""
    sent: list[Sent] = field(default_factory=list)
    reports: queue.Queue[bytes] = field(default_factory=queue.Queue)

    def code(self) -> list[Sent]:
        """What was sent besides pages."""
        return [each for each in self.sent if each.path.suffix not in (".html", ".ico")]


def sizes(sent: list[Sent]) -> tuple[int, int]:
    """Bytes of some files, each counted once: as they are, and compressed with gzip."""
    contents = [path.read_bytes() for path in {each.path for each in sent}]
    packed = [gzip.compress(content, 9, mtime=0) for content in contents]
    return sum(map(len, contents)), sum(map(len, packed))


class _Handler(Handler):
    def __init__(self, *args: Any, server_log: Server, **options: Any) -> None:
        self._log = server_log
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        super().do_GET()
        self.wfile.flush()
        path = Path(self.translate_path(self.path))
        if path.is_file():
            self._log.sent.append(Sent(path, time.time() * 1e3))

    def do_POST(self) -> None:
        self._log.reports.put(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()


class _Threads(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a browser that leaves a page drops its connections


@contextmanager
def serve(folder: Path, headers: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Serves a folder on a free port of this machine; `headers` go with every answer."""
    log = Server()
    handler = partial(_Handler, directory=str(folder), headers=headers or {}, server_log=log)
    server = _Threads(("127.0.0.1", 0), handler)
    log.address = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield log
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
