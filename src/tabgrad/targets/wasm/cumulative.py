"""Running folds as WASM functions: one walk along the inner loop, each step stored.

Lanes lie across neighbouring walks where there are any, so every element is folded in the order of
its own walk, whatever the vectors are.
"""

from __future__ import annotations

from typing import Any

from tabgrad.ir.index import Var
from tabgrad.ir.kernel import Kernel, identity
from tabgrad.targets.wasm.builder import I32, Function
from tabgrad.targets.wasm.elements import lane_type, width_of
from tabgrad.targets.wasm.expressions import Evaluator
from tabgrad.targets.wasm.operations import combine, constant

UNROLL = 4  # neighbouring vectors that walk together: a line of the cache


def emit(f: Function, kernel: Kernel, bases: dict[int, I32], fma: bool) -> int:
    """Write the body of a cumulative kernel; returns its number of units."""
    *_, begin, end = f.params
    return _Walk(f, kernel, bases, fma).emit(begin, end)


class _Walk:
    def __init__(self, f: Function, kernel: Kernel, bases: dict[int, I32], fma: bool) -> None:
        assert kernel.body is not None
        self.f, self.kernel, self.body = f, kernel, kernel.body
        self.e = Evaluator(f, bases, {}, fma, width_of(kernel))

    def emit(self, begin: I32, end: I32) -> int:
        """Write the function body; returns the number of units."""
        f, e = self.f, self.e
        if not self.kernel.space:
            with f.loop_range(begin, end):
                self._strip(None, None, [1])
            return 1
        *outer, vector = self.kernel.space
        together = all(store.index.coefficient(vector) == 1 for store in self.kernel.stores)
        width = e.width * (UNROLL if together and vector.size >= UNROLL * e.width else 1)
        if not outer:
            units = -(-vector.size // width)
            with f.loop_range(begin, end) as unit, e.fresh():
                with f.if_(unit < vector.size // width):
                    self._strip(vector, f.let(unit * width), [e.width] * (width // e.width))
                if vector.size % width:
                    with f.else_():
                        self._rest(vector, vector.size // width * width)
            return units
        with f.loop_range(begin, end) as i, e.fresh():
            e.counters[outer[0]] = i
            self._nest(outer[1:], vector, width)
        return outer[0].size

    def _nest(self, loops: list[Var], vector: Var, width: int) -> None:
        f, e = self.f, self.e
        if loops:
            with f.loop_range(0, loops[0].size) as i, e.fresh():
                e.counters[loops[0]] = i
                self._nest(loops[1:], vector, width)
            return
        main = vector.size // width * width
        with f.loop_range(0, main, width) as at, e.fresh():
            self._strip(vector, at, [e.width] * (width // e.width))
        self._rest(vector, main)

    def _rest(self, vector: Var, start: int) -> None:
        width = self.e.width
        for at in range(start, vector.size, width):
            self._strip(vector, I32.const(at), [min(width, vector.size - at)])

    def _strip(self, vector: Var | None, at: I32 | None, lanes: list[int]) -> None:
        """Walk along the inner loop with a few neighbouring vectors."""
        f, e, kernel = self.f, self.e, self.kernel
        with f.scope():
            totals = [f.let(self._start()) for _ in lanes]
            if not kernel.inner:
                self._turn(vector, at, lanes, totals)
                return
            (loop,) = kernel.inner
            with f.loop_range(0, loop.size) as i, e.fresh():
                e.counters[loop] = i
                self._turn(vector, at, lanes, totals)

    def _turn(self, vector: Var | None, at: I32 | None, lanes: list[int], totals: Any) -> None:
        f, e = self.f, self.e
        for number, (total, count) in enumerate(zip(totals, lanes, strict=True)):
            counter = None if at is None else at + e.width * number
            with f.scope(), e.over(vector, counter, count):
                new = combine(e, self.kernel.fold, total, e.value(self.body), self.body.dtype)
                total.set(new)
                e.acc = total
                values = [e.value(store.expr) for store in self.kernel.stores]
                for store, value in zip(self.kernel.stores, values, strict=True):
                    e.store(store, value)

    def _start(self) -> Any:
        dtype = self.body.dtype
        if self.kernel.fold == "sum" and dtype.is_float:
            return lane_type(dtype).const(-0.0)  # 0 would turn a leading -0 into 0
        return constant(identity(self.kernel.fold, dtype))
