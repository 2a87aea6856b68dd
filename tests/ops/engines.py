"""The engines on which ops are tested. A new engine is one line in `ENGINES`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import tabgrad as tg
from tabgrad import realize
from tests.compiler.kernel_engine import KernelEngine

ENGINES = (
    "reference",
    "wasm",
    pytest.param("kernels", marks=pytest.mark.exhaustive),
)
"""Names for `tg.set_engine`, and "kernels": the compiler's kernels run by NumPy, which tells an
error of the compiler from one of the emitter."""


@contextmanager
def chosen(name: str) -> Iterator[None]:
    """The engine of this name inside; whatever engine was chosen before comes back."""
    with realize.using(KernelEngine() if name == "kernels" else None):
        if name != "kernels":
            tg.set_engine(name)
        yield
