"""Sorting as a WASM function: each row in place, with as much room again for it.

Long rows are sorted by digits (`radix`), short ones by a bottom-up merge sort: short runs are made
by insertion, then merged between the buffer and its scratch. A pair of runs that is in order
already is copied whole, so that what was nearly sorted is sorted quickly. The merge has no branch
that depends on keys, which no processor could predict. Of rows of which only the last few elements
are asked for, only those are sorted (`selection`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tabgrad.dtypes import DType
from tabgrad.ir.kernel import Kernel
from tabgrad.targets.wasm import radix, selection
from tabgrad.targets.wasm.builder import F32, F64, I32, I64, U32, U64, Function
from tabgrad.targets.wasm.parts import Part, bring_home, swap

RUN = 8  # elements that are sorted by insertion


def takes_scratch(kernel: Kernel) -> bool:
    """Whether a sort kernel needs a thread's scratch memory."""
    if kernel.kind != "sort" or selection.takes(_product(kernel.inner), kernel.last):
        return False
    return radix.takes(kernel.stores[0].buffer.dtype, _product(kernel.inner))


def emit(f: Function, kernel: Kernel, bases: dict[int, I32], scratch: I32) -> tuple[int, int]:
    """Write the body of a sort kernel; returns its number of units, which are rows, and its bytes
    of scratch. Kernels that take none are given any address."""
    *_, begin, end = f.params
    rows, n = _product(kernel.space), _product(kernel.inner)
    if n < 2:
        return rows, 0
    by_digits = takes_scratch(kernel)
    with f.loop_range(begin, end) as row:
        parts = []
        for store, other in zip(kernel.stores, kernel.scratch, strict=True):
            size = store.buffer.dtype.itemsize
            start = f.let(row * (n * size))
            parts.append(
                Part(
                    store.buffer.dtype,
                    f.let(bases[id(store.buffer)] + start),
                    f.let(bases[id(other)] + start),
                )
            )
        if selection.takes(n, kernel.last):
            _select(f, parts, n, kernel.last)
        elif by_digits:
            radix.sort(f, parts, n, scratch)
        else:
            _Row(f, parts, n).sort()
    return rows, radix.scratch_bytes(kernel.stores[0].buffer.dtype, n) if by_digits else 0


def _select(f: Function, parts: list[Part], n: int, last: int) -> None:
    ends = []
    for part in parts:
        size = last * part.dtype.itemsize
        f.copy_memory(part.there, part.at(part.here, n - last), size)
        ends.append(Part(part.dtype, f.let(part.there), f.let(part.there + size)))
    _Row(f, ends, last).sort()
    selection.select(f, parts, n, last)


def _product(loops: Sequence[Any]) -> int:
    total = 1
    for loop in loops:
        total *= loop.size
    return total


class _Row:
    def __init__(self, f: Function, parts: list[Part], n: int) -> None:
        self.f, self.parts, self.n = f, parts, n
        self.key = parts[0]
        self.compared = _compared(self.key.dtype)

    def sort(self) -> None:
        """Leave the row sorted where it was."""
        f, n = self.f, self.n
        homes = [f.let(part.here) for part in self.parts]
        self._runs()
        if n <= RUN:
            return
        width = f.local(I32, RUN)
        with f.while_(width < n):
            low = f.local(I32, 0)
            with f.while_(low < n):
                middle, high = f.let(low + width), f.let(low + width * 2)
                for bound in (middle, high):
                    with f.if_(bound > n):
                        bound.set(n)
                self._merge(low, middle, high)
                low.set(high)
            swap(f, self.parts)
            width.set(width * 2)
        bring_home(f, self.parts, homes, n)

    def _runs(self) -> None:
        """Sort every `RUN` elements by insertion."""
        f, n, key = self.f, self.n, self.key
        with f.loop_range(0, n, RUN) as start:
            stop = f.let(start + RUN)
            with f.if_(stop > n):
                stop.set(n)
            with f.loop_range(start + 1, stop) as i:
                bits = [f.let(part.load(part.at(part.here, i))) for part in self.parts]
                mine = f.let(self._key(key.at(key.here, i)))
                place = f.let(i)
                with f.block() as done, f.loop() as again:
                    done.branch_if(place <= start)
                    other = f.let(self._key(key.at(key.here, place - 1)))
                    done.branch_if(self._less(mine, other).not_())
                    for part in self.parts:
                        to = part.at(part.here, place)
                        part.put(f, to, part.load(part.at(part.here, place - 1)))
                    place.inc(-1)
                    again.branch()
                for part, value in zip(self.parts, bits, strict=True):
                    part.put(f, part.at(part.here, place), value)

    def _merge(self, low: I32, middle: I32, high: I32) -> None:
        f, key = self.f, self.key
        ordered = f.local(I32, 1)
        with f.if_(middle < high):
            last = f.let(self._key(key.at(key.here, middle - 1)))
            first = f.let(self._key(key.at(key.here, middle)))
            ordered.set(self._less(first, last).not_())
        left, right, to = f.let(low), f.let(middle), f.let(low)
        with f.if_(ordered.not_()), f.loop() as again:
            one = f.let(self._key(key.at(key.here, left)))
            other = f.let(self._key(key.at(key.here, right)))
            second = f.let(self._less(other, one))  # equal: the first is the left one
            taken = f.let(second.select(right, left))
            for part in self.parts:
                part.put(f, part.at(part.there, to), part.load(part.at(part.here, taken)))
            to.inc(1)
            right.set(right + second)
            left.set(left + (1 - second))
            again.branch_if((left < middle) & (right < high))
        # What is left of one run, or all of both.
        for begin, end in ((left, middle), (right, high)):
            count = f.let(end - begin)
            with f.if_(count > 0):
                for part in self.parts:
                    size = part.dtype.itemsize
                    target, source = part.at(part.there, to), part.at(part.here, begin)
                    f.copy_memory(target, source, count * size)
            to.set(to + count)

    def _key(self, address: I32) -> Any:
        """An element's key as a scalar that `_less` compares."""
        return self.compared(self.f, address)

    def _less(self, x: Any, y: Any) -> Any:
        """Whether x must come before y, for locals. A NaN comes after every number."""
        if not x.INTEGER:
            return (x < y) | ((x == x) & (y != y))
        return x < y


def _compared(dtype: DType) -> Callable[[Function, I32], Any]:
    if dtype.name == "float16":
        return _half_key
    small = {
        "bool": I32.load8_u, "int8": I32.load8_s, "uint8": I32.load8_u,
        "int16": I32.load16_s, "uint16": I32.load16_u,
    }  # fmt: skip
    whole: dict[str, type[Any]] = {
        "int32": I32, "uint32": U32, "int64": I64, "uint64": U64, "float32": F32, "float64": F64,
    }  # fmt: skip
    load = small.get(dtype.name) or whole[dtype.name].load
    return lambda f, address: load(address)


def _half_key(f: Function, address: I32) -> I32:
    """A float16 as an integer in the same order: both zeros 0, NaNs above all numbers."""
    bits = f.let(I32.load16_u(address))
    size = f.let(bits & 0x7FFF)
    signed = f.let((bits > 0x7FFF).select(0 - size, size))
    return (size > 0x7C00).select(I32.const(0x8000), signed)
