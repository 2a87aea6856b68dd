"""One browser for all contestants: opening their pages, asking them, bounding their time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from playwright.sync_api import Error, sync_playwright

from bench.server import Server, serve
from tools.browser import launch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

REPORT = "bench: "
# What lets a page have shared memory, and with it threads.
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


class PageError(Exception):
    """A page reported an error, or nothing in time."""


@dataclass
class Contest:
    """A running browser and the servers its pages come from."""

    browser: Browser
    plain: Server
    isolated: Server

    def open(
        self, page: str, query: Mapping[str, str], *, isolated: bool = False, script: str = ""
    ) -> Entrant:
        """A page in a context, and so a process, of its own; `script` runs in it first.

        Raises:
            PageError: when the page has not loaded its scripts in half a minute.
        """
        context = self.browser.new_context()
        made = context.new_page()
        if script:
            made.add_init_script(script)
        entrant = Entrant(context, made)
        site = self.isolated if isolated else self.plain
        try:
            made.goto(f"{site.address}pages/{page}.html?{urlencode(query)}", wait_until="commit")
            made.wait_for_function("'bench' in globalThis", timeout=30_000)
        except Error as error:
            words = "; ".join(entrant.errors) or str(error).splitlines()[0]
            entrant.close()
            raise PageError(f"the page did not open: {words}") from None
        return entrant


@dataclass
class Entrant:
    """An open page of the bench."""

    context: BrowserContext
    page: Page

    def __post_init__(self) -> None:
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)[:300]))

    def ask(self, method: str, timeout: float = 60.0, **options: Any) -> Any:
        """The page's answer; raises PageError when it is an error or takes too long."""
        try:
            with self.page.expect_console_message(_is_report, timeout=timeout * 1e3) as event:
                question = [method, options]
                self.page.evaluate("([method, options]) => bench.ask(method, options)", question)
            answer = json.loads(event.value.text.removeprefix(REPORT))
        except Error as error:
            words = "; ".join(self.errors) or str(error).splitlines()[0]
            raise PageError(f"no answer in {timeout:g} s: {words}") from None
        if "error" in answer:
            raise PageError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        self.context.close()


def _is_report(message: ConsoleMessage) -> bool:
    return message.text.startswith(REPORT)


@contextmanager
def contest(folder: Path, *, gpu: bool = False) -> Iterator[Contest]:
    """A browser, where `gpu` is set with WebGPU and WebGL2 in software, and a folder as
    bench/site.py lays it out, served with and without isolation."""
    with (
        sync_playwright() as playwright,
        serve(folder) as plain,
        serve(folder, ISOLATION) as isolated,
    ):
        browser = launch(playwright, gpu=gpu)
        try:
            yield Contest(browser, plain, isolated)
        finally:
            browser.close()
