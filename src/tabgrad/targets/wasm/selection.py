"""The last few elements of a sorted row, without sorting the others.

They are kept in order while the row is read from its end: most elements are not greater than the
least of them, which takes one comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad.targets.wasm.builder import I32, Function
from tabgrad.targets.wasm.parts import Part
from tabgrad.targets.wasm.radix import ordered

MOST = 16  # elements that are kept: where a row falls, every element read moves all of them


def takes(n: int, last: int) -> bool:
    """Whether few enough of n elements are wanted."""
    return 0 < last <= MOST and 2 * last <= n


def select(f: Function, parts: Sequence[Part], n: int, last: int) -> None:
    """Put the last elements of a sorted row at its end; what is before them is not sorted. Those
    at its end are in order already, in the other room."""
    key = parts[0]

    def key_at(base: I32, index: I32 | int) -> Any:
        return ordered(f, key.dtype, key.load(key.at(base, index)))

    least = f.let(key_at(key.there, 0))
    with f.loop_range(n - last - 1, -1, -1) as i:
        mine = f.let(key_at(key.here, i))
        with f.if_(mine > least):  # of equal ones the last are wanted
            place = f.local(I32, 0)
            with f.block() as done, f.loop() as again:
                done.branch_if(place >= last - 1)
                done.branch_if(mine <= key_at(key.there, place + 1))
                for part in parts:
                    value = part.load(part.at(part.there, place + 1))
                    part.put(f, part.at(part.there, place), value)
                place.inc(1)
                again.branch()
            for part in parts:
                part.put(f, part.at(part.there, place), part.load(part.at(part.here, i)))
            least.set(key_at(key.there, 0))
    for part in parts:
        f.copy_memory(part.at(part.here, n - last), part.there, last * part.dtype.itemsize)
