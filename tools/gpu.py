"""Giving wgpu an adapter on machines without a GPU driver: SwiftShader, which browsers bring along.

Chromium's folder holds a Vulkan loader and a software driver. `provide_adapter` hands both to this
process, before wgpu is imported, where the machine has no Vulkan driver of its own. The tests and
the bench use it; tabgrad itself never does: a software adapter is slower than its WebAssembly.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.browser import find_browser

LOADER = "libvulkan.so.1"
DRIVER = "vk_swiftshader_icd.json"
CHOICES = ("VK_DRIVER_FILES", "VK_ICD_FILENAMES")
"""Variables by which a user tells Vulkan's loader the drivers to take."""
DRIVER_FOLDERS = (
    "/etc/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/usr/share/vulkan/icd.d",
    "~/.local/share/vulkan/icd.d",
)
BROWSER_FOLDERS = (
    "/usr/lib/chromium",
    "/usr/lib/chromium-browser",
    "/usr/lib64/chromium-browser",
    "/opt/google/chrome",
    "/opt/microsoft/msedge",
)
HOW_TO_GET = (
    "Debian: sudo apt-get install -y chromium (its software adapter is used), or a Vulkan driver: "
    "sudo apt-get install -y mesa-vulkan-drivers libvulkan1"
)


class NoAdapterError(Exception):
    """There is nothing that wgpu could run on; the message says how to get something."""


def has_driver() -> bool:
    """Whether Vulkan's loader and a driver are installed on this machine, or named by its user."""
    if any(os.environ.get(name) for name in CHOICES):
        return True
    named = any(any(Path(folder).expanduser().glob("*.json")) for folder in DRIVER_FOLDERS)
    return named and ctypes.util.find_library("vulkan") is not None


def _folders() -> Iterator[Path]:
    browser = find_browser()
    if browser is not None:
        yield Path(shutil.which(browser) or browser).resolve().parent
    yield from map(Path, BROWSER_FOLDERS)


def find_software_driver() -> Path | None:
    """The folder with a browser's Vulkan loader and its software driver, None if there is none."""
    for folder in _folders():
        if (folder / LOADER).exists() and (folder / DRIVER).exists():
            return folder
    return None


def provide_adapter() -> None:
    """Let this process's wgpu find an adapter: the machine's own, else the browser's software one.

    Call it before wgpu looks for adapters. Other systems than Linux bring drivers along.

    Raises:
        NoAdapterError: neither is there.
    """
    if not sys.platform.startswith("linux") or has_driver():
        return
    folder = find_software_driver()
    if folder is None:
        raise NoAdapterError(
            "expected a Vulkan driver, or a Chromium-family browser with its software driver "
            f"({LOADER} and {DRIVER}); found neither. {HOW_TO_GET}"
        )
    # Whoever asks for the loader by its name now gets this one.
    ctypes.CDLL(str(folder / LOADER), mode=ctypes.RTLD_GLOBAL)
    for name in CHOICES:
        os.environ[name] = str(folder / DRIVER)
