"""`python -m examples.live.serve`: a page that runs tabgrad in Python in the browser.

Builds the wheel, puts it beside the page together with Pyodide from the npm packages of this
checkout (`make test` installs both tools), and serves the folder until interrupted.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools.static_server import serve

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# What a browser fetches of the npm package; the rest is for bundlers and consoles.
PYODIDE = (
    "pyodide.mjs",
    "pyodide.asm.mjs",
    "pyodide.asm.wasm",
    "pyodide-lock.json",
    "python_stdlib.zip",
)


def assemble(folder: Path, wheel: Path, pyodide: Path) -> None:
    """Puts everything the page needs into `folder`."""
    shutil.copytree(HERE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__*__"))
    (folder / "pyodide").mkdir(exist_ok=True)
    for name in PYODIDE:
        shutil.copy(pyodide / name, folder / "pyodide")
    shutil.copy(wheel, folder / "tabgrad.whl")


def main() -> None:
    build = ROOT / "build" / "live"
    shutil.rmtree(build, ignore_errors=True)
    wheels = build / "wheel"
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", str(wheels)], cwd=ROOT, check=True)
    (wheel,) = wheels.glob("*.whl")
    assemble(build / "site", wheel, ROOT / "node_modules" / "pyodide")
    with serve(build / "site") as address:
        print(f"open {address} (Ctrl+C ends)", flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
