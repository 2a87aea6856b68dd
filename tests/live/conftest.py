"""Folders for pages with Python in them, which need Pyodide and the wheel; running code there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines.browser import at

if TYPE_CHECKING:
    from tests.conftest import SiteServer

PAGES = Path(__file__).parent / "pyodide"


@pytest.fixture
def live_folder(tmp_path: Path, wheel: Path, node_modules: Path) -> Callable[[Path], Path]:
    """live_folder(source) copies a folder of pages and adds Pyodide and tabgrad.whl to it."""

    def make(source: Path = PAGES) -> Path:
        folder = tmp_path / source.name
        shutil.copytree(source, folder)
        (folder / "pyodide").symlink_to(node_modules / "pyodide", target_is_directory=True)
        shutil.copy(wheel, folder / "tabgrad.whl")
        return folder

    return make


@pytest.fixture
def in_pyodide(live_folder: Callable[..., Path], site_server: SiteServer) -> Callable[..., Any]:
    """in_pyodide(*parts, patch=""): what Python code in a page answers, as JSON.

    The first part, the third and so on run where Python cannot wait for JavaScript, those between
    them where it can. `patch` is JavaScript that runs before all of it.
    """

    def run(*parts: str, patch: str = "") -> Any:
        answer = at(
            f"{site_server(live_folder())}?python",
            """async ([patch, ...parts]) => {
                (0, eval)(patch);
                const py = await window.result;
                let answer;
                for (const [i, code] of parts.entries()) {
                    answer = i % 2 ? await py.runPythonAsync(code) : py.runPython(code);
                }
                return answer;
            }""",
            [patch, *parts],
        )
        return json.loads(answer)

    return run
