"""What a sort moves: the key or a payload of one row, as bits of whatever dtype they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tabgrad.dtypes import DType
from tabgrad.targets.wasm.builder import I32, I64, Function


@dataclass
class Part:
    """The key or a payload of a row: where it is now, and where a merge or a pass puts it."""

    dtype: DType
    here: I32
    there: I32

    def at(self, base: I32, index: I32 | int) -> I32:
        """The address of an element."""
        return base + index * self.dtype.itemsize

    def load(self, address: I32) -> Any:
        """An element's bits, in the smallest type that holds them."""
        return {1: I32.load8_u, 2: I32.load16_u, 4: I32.load, 8: I64.load}[self.dtype.itemsize](
            address
        )

    def put(self, f: Function, address: I32, bits: Any) -> None:
        """Store an element's bits."""
        size = self.dtype.itemsize
        (f.store8 if size == 1 else f.store16 if size == 2 else f.store)(address, bits)


def swap(f: Function, parts: Sequence[Part]) -> None:
    """What was put there is here from now on."""
    for part in parts:
        swapped = f.let(part.here)
        part.here.set(part.there)
        part.there.set(swapped)


def bring_home(f: Function, parts: Sequence[Part], homes: Sequence[I32], n: int) -> None:
    """Leave a row's parts where they were at first."""
    for part, home in zip(parts, homes, strict=True):
        with f.if_(part.here != home):
            f.copy_memory(home, part.here, n * part.dtype.itemsize)
