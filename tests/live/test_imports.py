"""Every module imports with the standard library alone, on this machine and under Pyodide."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMPORT_ALL = """
import importlib, json, pkgutil, sys
import tabgrad

failed = {}
for module in pkgutil.walk_packages(tabgrad.__path__, "tabgrad.", onerror=lambda name: None):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except Exception as error:
            failed[module.name] = repr(error)
result = json.dumps([failed, sorted({"numpy", "wasmtime"} & set(sys.modules))])
"""

# Modules about a package that the standard library lacks, each imported only when it is needed.
ABOUT = {"tabgrad.engines.wasmtime": "wasmtime", "tabgrad.engines.reference": "numpy"}


def check(result: str) -> None:
    failed, imported = json.loads(result)
    for module, error in list(failed.items()):
        for prefix, package in ABOUT.items():
            if f"{module}.".startswith(f"{prefix}.") and f"'{package}'" in error:
                del failed[module]
    assert not failed
    assert not imported


def test_without_other_packages(wheel: Path, tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(wheel)!r})\n{IMPORT_ALL}\nprint(result)"
    # -S leaves site-packages out, -I everything the environment says.
    command = [sys.executable, "-I", "-S", "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    check(done.stdout)


def test_under_pyodide(
    live_folder: Callable[..., Path], page: Page, site_server: Callable[..., str]
) -> None:
    page.goto(f"{site_server(live_folder())}?python")
    run = "async (code) => (await window.result).runPython(code + 'result')"
    check(page.evaluate(run, IMPORT_ALL))
