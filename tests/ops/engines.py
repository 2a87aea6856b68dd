"""The engines on which ops are tested. A new engine is one line in `ENGINES`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import tabgrad as tg
from tabgrad import realize
from tests.compiler.kernel_engine import KernelEngine
from tests.engines.browser import BrowserEngine
from tools.gpu import provide_adapter

KERNELS = pytest.param("kernels", marks=pytest.mark.exhaustive)
ENGINES = ("reference", "wasm", "webgpu", KERNELS)
"""Names for `tg.set_engine`, and "kernels": the compiler's kernels run by NumPy, which tells an
error of the compiler from one of the emitter."""

WIDE_ENGINES = ("reference", "wasm", KERNELS)
"""Those that compute in 64 bits, too."""

PAGE_ENGINES = {"webgpu in a page": "webgpu", "webgl in a page": "webgl"}
"""Engines of the player by their kinds, in Chromium, on which code of this machine computes."""

GPUS = {"webgpu": "WebGPU", "webgl": "WebGL"}
"""Kinds of engines that refuse what computes in 64 bits, and whose machines may take subnormal
numbers of 32 bits for zeros, with what their messages call them. `make test` runs chosen cases on
them, `make test-all` all."""

_opened: dict[str, BrowserEngine] = {}


def _in_a_page(kind: str) -> BrowserEngine:
    """One for many tests: it takes a second to start."""
    if kind not in _opened:
        _opened[kind] = BrowserEngine(kind)
    return _opened[kind]


def close_pages() -> None:
    """Closes the engines in pages that were chosen so far, and frees what they hold."""
    while _opened:
        _opened.popitem()[1].close()


@contextmanager
def chosen(name: str) -> Iterator[None]:
    """The engine of this name inside; whatever engine was chosen before comes back."""
    if name == "webgpu":
        provide_adapter()
    made = None
    if name == "kernels":
        made = KernelEngine()
    elif name in PAGE_ENGINES:
        made = _in_a_page(PAGE_ENGINES[name])
    with realize.using(made):
        if made is None:
            tg.set_engine(name)
        yield
