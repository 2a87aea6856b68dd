"""Finding a Chromium-family browser on this machine and starting it headless.

Shared by the demo, the tests and the bench, so that all three drive the same browser with the
same flags. It installs nothing: tools/setup.py does.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

COMMANDS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "microsoft-edge-stable",
)
MAC_APPLICATIONS = (
    "Google Chrome.app/Contents/MacOS/Google Chrome",
    "Chromium.app/Contents/MacOS/Chromium",
    "Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
# No GPU, so that every machine measures the same thing, and no traffic of the browser's own.
FLAGS = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# WebGPU and WebGL2 on the software adapter, so that every machine computes the same thing.
GPU_FLAGS = (
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
HOW_TO_INSTALL = (
    "Debian: sudo apt-get install -y chromium; macOS: brew install --cask google-chrome; "
    "or set CHROMIUM to the path of a Chromium-family browser"
)


class NoBrowserError(Exception):
    """No Chromium-family browser was found; the message says how to get one."""


def find_browser() -> str | None:
    """The path of a Chromium-family browser, or None where there is none.

    Raises NoBrowserError if the environment variable CHROMIUM is set to something that cannot run.
    """
    chosen = os.environ.get("CHROMIUM")
    if chosen:
        path = shutil.which(chosen)
        if path is None:
            raise NoBrowserError(f"CHROMIUM is set to {chosen!r}, which is not a program")
        return path
    for command in COMMANDS:
        path = shutil.which(command)
        if path is not None:
            return path
    for folder in (Path("/Applications"), Path.home() / "Applications"):
        for application in MAC_APPLICATIONS:
            if (folder / application).exists():
                return str(folder / application)
    return None


def require_browser() -> str:
    """The path of a Chromium-family browser; raises NoBrowserError where there is none."""
    path = find_browser()
    if path is None:
        raise NoBrowserError(f"no Chromium-family browser found; {HOW_TO_INSTALL}")
    return path


def flags_of(flags: Sequence[str] = (), *, gpu: bool = False) -> list[str]:
    """What the browser is started with: `flags` besides the usual ones, and where `gpu` is set
    those for WebGPU and WebGL2 in software."""
    usual = [flag for flag in FLAGS if not gpu or flag != "--disable-gpu"]
    return [*usual, *(GPU_FLAGS if gpu else ()), *flags]


def launch(playwright: Playwright, flags: Sequence[str] = (), *, gpu: bool = False) -> Browser:
    """Starts the browser headless under Playwright, with `flags` besides the usual ones and,
    where `gpu` is set, with WebGPU and WebGL2 in software."""
    # Playwright leaves Chromium's own sandbox off, so that this works as root and in containers;
    # only pages served from this machine are opened.
    return playwright.chromium.launch(
        executable_path=require_browser(),
        args=flags_of(flags, gpu=gpu),
        chromium_sandbox=False,
    )
