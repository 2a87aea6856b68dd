"""What all tests share: the browser, static servers, npm packages, the built wheel, quiet time."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tools.browser import launch
from tools.static_server import serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    # site_server(directory, headers=None, media_types=None) -> address ending in a slash
    SiteServer = Callable[..., str]

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def _locked(path: Path, operation: int) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, operation)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Gives a test marked `alone` the machine to itself when pytest runs in several processes.

    Tests share a lock that `alone` takes exclusively. All pass a turnstile first, where a waiting
    `alone` test holds up the tests that would otherwise keep the lock shared for ever.
    """
    if not hasattr(item.config, "workerinput"):
        return (yield)
    locks = ROOT / "build" / "test-locks"
    locks.mkdir(parents=True, exist_ok=True)
    alone = item.get_closest_marker("alone") is not None
    with ExitStack() as held:
        with _locked(locks / "turnstile", fcntl.LOCK_EX):
            kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
            held.enter_context(_locked(locks / "running", kind))
        return (yield)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One headless browser for all tests of this process; open a context for each test."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page in a context of its own; an uncaught error in it fails the test."""
    errors: list[str] = []
    context = chromium.new_context()
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert not errors, f"uncaught errors in the page: {errors}"


@pytest.fixture(autouse=True)
def _no_foreign_event_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Lets tests that do not use the browser call asyncio.run().

    Playwright's loop counts as running in this thread as long as the browser lives, and asyncio
    refuses a second one.
    """
    if "chromium" in request.fixturenames:
        yield
        return
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(loop)


@pytest.fixture
def site_server() -> Iterator[SiteServer]:
    """site_server(directory, headers=None, media_types=None) serves a folder until the test ends.

    Returns the address, ending in a slash. Several may be started.
    """
    with ExitStack() as servers:

        def start(
            directory: Path | str,
            headers: Mapping[str, str] | None = None,
            media_types: Mapping[str, str] | None = None,
        ) -> str:
            return servers.enter_context(serve(directory, headers, media_types))

        yield start


@pytest.fixture
def references() -> Iterator[None]:
    """Room for references to overflow, divide by zero and meet signalling NaN, and digits enough
    that mpmath's own errors do not matter."""
    import mpmath
    import numpy as np

    with np.errstate(all="ignore"), mpmath.workprec(150):
        yield


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node."""
    path = shutil.which("node")
    assert path is not None, "Node is not installed: run `make test`, which says how to get it"
    return path


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder with the npm packages of package.json."""
    folder = ROOT / "node_modules"
    assert folder.is_dir(), "the npm packages are not installed: run `make test`"
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's wheel, built from this checkout as a release would be."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    options: dict[str, Any] = {"cwd": ROOT, "capture_output": True, "text": True}
    done = subprocess.run([*command, "--directory", str(target)], **options)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = target.glob("*.whl")
    return built
