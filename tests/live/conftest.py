"""Folders that hold what a page with Python in it needs: Pyodide and the wheel."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

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
