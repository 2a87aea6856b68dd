"""The page engine inside Pyodide: the protocol's cases wherever Python may run, and policies."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import wasmtime

from tests.engines import protocol

if TYPE_CHECKING:
    from playwright.sync_api import Page

STRICT = "default-src 'self'; img-src data:; script-src 'self' 'wasm-unsafe-eval'"


@pytest.fixture
def folder(live_folder: Callable[..., Path]) -> Path:
    folder = live_folder()
    shutil.copy(protocol.__file__, folder / "protocol.py")
    texts = protocol.TEXTS.items()
    binaries = {name: list(bytes(wasmtime.wat2wasm(text))) for name, text in texts}
    (folder / "binaries.json").write_text(json.dumps(binaries))
    return folder


def check(result: dict[str, Any], features: list[str]) -> None:
    assert "error" not in result, result["error"]
    assert result["cases"] == len(protocol.CASES)
    assert result["features"] == features
    for kind in ("fast", "deterministic"):
        assert not result[kind], "\n".join(result[kind].values())


def test_protocol_in_node(folder: Path, node: str, node_modules: Path) -> None:
    script = folder / "node.mjs"
    command = [node, str(script), str(node_modules / "pyodide"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check(json.loads(done.stdout), [])  # Node 20 has relaxed SIMD behind a flag


@pytest.mark.parametrize("where", ["main", "worker"])
def test_protocol_in_chromium(
    folder: Path, where: str, page: Page, site_server: Callable[..., str]
) -> None:
    page.goto(f"{site_server(folder)}?{where}")
    check(page.evaluate("() => window.result"), ["relaxed-simd"])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [(f"{STRICT} blob:", ["policy", "prepared", "b'abcd'"]), (STRICT, ["policy", "policy"])],
    ids=["blob", "strict"],
)
def test_policies_that_forbid_evaluating_strings(
    folder: Path, policy: str, expected: list[str], page: Page, site_server: Callable[..., str]
) -> None:
    headers = {"Content-Security-Policy": policy}
    page.goto(f"{site_server(folder, headers)}?python")
    seen = page.evaluate(
        """async () => {
            const py = await window.result;
            py.runPython(`
                from tabgrad.engines import page
                from tabgrad.errors import EngineError
                seen = []
                try:
                    page.PageEngine()
                except EngineError as error:
                    seen.append(error.code)
            `);
            await py.runPythonAsync(`
                try:
                    await page.prepare()
                    seen.append("prepared")
                except EngineError as error:
                    seen.append(error.code)
            `);
            py.runPython(`
                if "prepared" in seen:
                    engine = page.PageEngine()
                    buffer = engine.alloc(4)
                    engine.write(buffer, b"abcd")
                    seen.append(repr(engine.read(buffer, 4)))
            `);
            return py.globals.get("seen").toJs();
        }"""
    )
    assert seen == expected


def test_a_policy_is_no_matter_where_python_can_wait(
    folder: Path, page: Page, site_server: Callable[..., str]
) -> None:
    headers = {"Content-Security-Policy": f"{STRICT} blob:"}
    page.goto(f"{site_server(folder, headers)}?python")
    code = "from tabgrad.engines.page import PageEngine; PageEngine().alloc(1)"
    assert page.evaluate("async (code) => (await window.result).runPythonAsync(code)", code) > 0
