"""The engines on which ops are tested. A new engine is one line in `ENGINES`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import tabgrad as tg
from tabgrad import realize
from tests.compiler.kernel_engine import KernelEngine
from tools.gpu import provide_adapter

KERNELS = pytest.param("kernels", marks=pytest.mark.exhaustive)
ENGINES = ("reference", "wasm", "webgpu", KERNELS)
"""Names for `tg.set_engine`, and "kernels": the compiler's kernels run by NumPy, which tells an
error of the compiler from one of the emitter."""

WIDE_ENGINES = ("reference", "wasm", KERNELS)
"""Those that compute in 64 bits, too."""

GPUS = {"webgpu"}
"""Kinds of engines that refuse what computes in 64 bits, and whose machines may take subnormal
numbers of 32 bits for zeros. `make test` runs chosen cases on them, `make test-all` all."""


@contextmanager
def chosen(name: str) -> Iterator[None]:
    """The engine of this name inside; whatever engine was chosen before comes back."""
    if name == "webgpu":
        provide_adapter()
    with realize.using(KernelEngine() if name == "kernels" else None):
        if name != "kernels":
            tg.set_engine(name)
        yield
