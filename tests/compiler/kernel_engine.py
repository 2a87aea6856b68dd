"""An engine that runs the compiler's kernels with NumPy: all of a Program but packing and bytecode.

Where this engine is right and WASM is wrong, the emitter is to blame; where both are wrong, a pass
of the compiler is. Loops become array axes, so a kernel that reads what it has just written
elsewhere would go unnoticed; `_check_hazards` refuses such kernels instead. Temporaries lie in one
arena where the memory plan put them, over bytes that are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from tabgrad.compiler import collapse, driver, plan
from tabgrad.engines.reference import ReferenceEngine
from tabgrad.engines.reference.elementwise import RULES
from tabgrad.engines.reference.reduce import accumulator, total
from tabgrad.ir.index import Div, Dyn, Index, Mod, Var
from tabgrad.ir.kernel import (
    Branch,
    Buffer,
    Condition,
    Expr,
    Kernel,
    Launch,
    Store,
    While,
    kernels_of,
    walk,
)

Array = np.ndarray[Any, Any]


class KernelEngine(ReferenceEngine):
    """The reference engine with kernels in place of graphs."""

    def load(self, program: Any) -> Any:
        loaded = super().load(program)
        target = _KernelTarget()
        driver.compile(program.graphs, target)
        loaded.plans = target.plans
        return loaded

    def run(self, loaded: Any, entry: int, args: Sequence[int], rows: int = 0) -> None:
        graph, made = loaded.program.graphs[entry], loaded.plans[entry]
        raw: dict[str, list[bytearray]] = {"input": [], "state": [], "output": []}
        for argument, word in zip(graph.arguments, args, strict=False):
            bits = bytearray((word & 0xFFFFFFFF).to_bytes(4, "little"))
            raw["input"].append(bits if argument.scalar else self._buffer(word))
        for word in args[len(graph.inputs) :]:
            role = "state" if len(raw["state"]) < len(graph.state) else "output"
            raw[role].append(self._buffer(word))
        arena = bytearray(b"\xff" * made.arena)

        turns: dict[int, int] = {}

        def home(buffer: Buffer) -> Array:
            if buffer.role == "slice":
                assert buffer.parent is not None
                begin = turns[id(buffer.loop)] * buffer.size
                return home(buffer.parent)[begin : begin + buffer.size]
            data: Any = {
                "constant": buffer.data,
                "temp": memoryview(arena)[buffer.offset :],
                "rows": np.int32(rows).tobytes(),
            }.get(buffer.role)
            data = raw[buffer.role][buffer.slot] if data is None else data
            return np.frombuffer(data, buffer.dtype.name, buffer.size)

        def launch(launches: Sequence[Launch]) -> None:
            for item in launches:
                if isinstance(item, Kernel):
                    _Run(item, home).run()
                    continue
                if isinstance(item, While):
                    launch(item.test)
                    while home(item.flag)[0]:
                        launch(item.body)
                        launch(item.test)
                    continue
                if isinstance(item, Branch):
                    last = len(item.branches) - 1
                    launch(item.branches[min(max(int(home(item.index)[0]), 0), last)])
                    continue
                for turn in range(item.length):
                    turns[id(item)] = item.length - 1 - turn if item.reverse else turn
                    launch(item.body)

        with np.errstate(all="ignore"):
            launch(made.launches)


class _KernelTarget:
    """A target without code: `driver.compile` hands it the plans, and it keeps them."""

    kind = "reference"
    whole_buffers = False
    features = ()

    def prepare(self, made: plan.Plan) -> None:
        for kernel in kernels_of(made.launches):
            _check_hazards(collapse.collapse(kernel))

    def emit(self, plans: Sequence[plan.Plan]) -> SimpleNamespace:
        self.plans = plans
        return SimpleNamespace(binary=b"", scratch=[0] * len(plans), kernels=[[]] * len(plans))


def _check_hazards(kernel: Kernel) -> None:
    targets = {id(s.buffer): s.index for s in kernel.stores}
    folded = [e for e in (kernel.body, kernel.body_index, kernel.a, kernel.b) if e is not None]
    parts = [(e, False) for e in walk(folded)]
    parts += [(e, True) for e in walk([store.expr for store in kernel.stores])]
    for expr, after in parts:
        if expr.op == "load" and id(expr.buffer) in targets:
            same = after and expr.index == targets[id(expr.buffer)]
            assert same, f"reads {expr.buffer} elsewhere than it writes:\n{kernel.text()}"


class _Run:
    def __init__(self, kernel: Kernel, home: Any) -> None:
        self.kernel, self.home = kernel, home
        self.loops = (*kernel.space, *kernel.inner)
        self.axes = {var: axis for axis, var in enumerate(self.loops)}
        self.memo: dict[int, Any] = {}
        self.folded: Array | None = None

    def run(self) -> None:
        kernel = self.kernel
        if any(var.size == 0 for var in kernel.space):
            return
        if kernel.kind == "sort":
            self._sort()
            return
        if kernel.kind == "cumulative":
            self._accumulate()
            return
        if kernel.inner or kernel.kind in ("reduce", "contract"):
            self.folded = self._fold()
        results = [
            (store, self._inner_dropped(self.index(store.index)), self._conditions(store),
             self._inner_dropped(self.value(store.expr)))
            for store in kernel.stores
        ]  # fmt: skip
        for store, index, wanted, value in results:
            self._store(store, index, wanted, value)

    def _sort(self) -> None:
        rows = [self.home(s.buffer).reshape(*self._rows()) for s in self.kernel.stores]
        order = np.argsort(rows[0], axis=-1, kind="stable")
        for row in rows:
            row[:] = np.take_along_axis(row, order, axis=-1)

    def _rows(self) -> tuple[int, int]:
        inner = math.prod(var.size for var in self.kernel.inner)
        return math.prod(self._space()), inner

    def _accumulate(self) -> None:
        """The inner loop becomes a part of the space: every step of it stores."""
        kernel = self.kernel
        assert kernel.body is not None
        body = np.broadcast_to(self.value(kernel.body), self._shape())
        kernel, self.kernel = self.kernel, replace(kernel, space=self.loops, inner=())
        self.folded = body
        if kernel.inner:
            wide = body.astype(accumulator(body.dtype))
            fold = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
            bits = {"or": np.logical_or, "and": np.logical_and}
            self.folded = (fold | bits)[kernel.fold].accumulate(wide, -1).astype(body.dtype)
        for store in kernel.stores:
            index, value = self.index(store.index), self.value(store.expr)
            self._store(store, self._inner_dropped(index), np.ones(self._shape(), bool),
                        self._inner_dropped(value))  # fmt: skip

    def _shape(self) -> tuple[int, ...]:
        return tuple(var.size for var in self.loops)

    def _space(self) -> tuple[int, ...]:
        return tuple(var.size for var in self.kernel.space)

    def _inner_dropped(self, value: Array) -> Array:
        """A value that does not depend on inner loops, in the shape of the space."""
        value = np.asarray(value)
        if value.ndim > len(self.kernel.space):
            extra = value.shape[len(self.kernel.space) :]
            assert set(extra) <= {1}, "a stored value depends on an inner loop"
            value = value.reshape(value.shape[: len(self.kernel.space)])
        return np.broadcast_to(value, self._space())

    def _conditions(self, store: Store) -> Array:
        wanted = np.ones(self._space(), bool)
        for condition in store.conditions:
            wanted = wanted & self._inner_dropped(self.condition(condition))
        return wanted

    def _store(self, store: Store, index: Array, wanted: Array, value: Array) -> None:
        target = self.home(store.buffer)
        flat, where = value[wanted].astype(target.dtype), index[wanted]
        assert np.all((where >= 0) & (where < store.buffer.size)), self.kernel.text()
        if store.combine == "add":
            np.add.at(target, where, flat)
        elif store.combine in ("max", "min"):
            {"max": np.maximum, "min": np.minimum}[store.combine].at(target, where, flat)
        else:
            target[where] = flat

    def _fold(self) -> Array:
        kernel = self.kernel
        outer = len(kernel.space)
        if kernel.a is not None and kernel.b is not None:
            wide = accumulator(np.dtype(kernel.a.dtype.name))
            body = self.value(kernel.a).astype(wide) * self.value(kernel.b).astype(wide)
            dtype = kernel.a.dtype.name
        else:
            assert kernel.body is not None
            body, dtype = self.value(kernel.body), kernel.body.dtype.name
        body = np.broadcast_to(body, self._shape())
        inner = tuple(range(outer, body.ndim))
        if kernel.fold in ("argmax", "argmin"):
            return self._find(body, outer)
        folds: dict[str, Any] = {
            "sum": lambda: total(body, inner),
            "prod": lambda: np.prod(body, axis=inner, dtype=accumulator(body.dtype)),
            "max": lambda: np.max(body, axis=inner),
            "min": lambda: np.min(body, axis=inner),
            "or": lambda: np.any(body, axis=inner),
            "and": lambda: np.all(body, axis=inner),
        }
        return np.asarray(folds[kernel.fold]()).astype(dtype)

    def _find(self, body: Array, outer: int) -> Array:
        """The smallest index among the extrema, or among the NaNs where there are any."""
        assert self.kernel.body_index is not None
        places = np.broadcast_to(self.value(self.kernel.body_index), self._shape())
        shape = (*body.shape[:outer], -1)
        body, places = body.reshape(shape), places.reshape(shape)
        best = body.max(-1, keepdims=True)
        if self.kernel.fold == "argmin":
            best = body.min(-1, keepdims=True)
        hits = (body == best) | (body != body)
        return np.where(hits, places, 2**31 - 1).min(-1).astype(np.int32)

    def index(self, index: Index) -> Any:
        total: Any = np.int64(index.const)
        for atom, coefficient in index.terms.items():
            total = total + self._atom(atom) * coefficient
        return total

    def _atom(self, atom: Any) -> Any:
        if isinstance(atom, Var):
            shape = [1] * len(self.loops)
            shape[self.axes[atom]] = atom.size
            return np.arange(atom.size).reshape(shape)
        if isinstance(atom, Div):
            return self.index(atom.of) // atom.by
        if isinstance(atom, Mod):
            return self.index(atom.of) % atom.by
        assert isinstance(atom, Dyn)
        return self.value(atom.expr).astype(np.int64)

    def condition(self, condition: Condition) -> Any:
        index = self.index(condition.index)
        if condition.modulo != 1:
            return index % condition.modulo == 0
        low = True if condition.low is None else index >= condition.low
        high = True if condition.high is None else index < condition.high
        return np.logical_and(low, high)

    def value(self, expr: Expr) -> Any:
        """The value at every point of the loops, as an array that broadcasts to them."""
        for part in walk([expr]):
            if id(part) not in self.memo:
                self.memo[id(part)] = self._value(part)
        return self.memo[id(expr)]

    def _value(self, expr: Expr) -> Any:
        args = [self.memo[id(arg)] for arg in expr.args]
        if expr.op == "load":
            assert expr.buffer is not None and expr.index is not None
            data = self.home(expr.buffer)
            if not data.size:
                return np.zeros(self._shape(), data.dtype)
            # Where a guard does not hold, the index may lie outside; the value is not used.
            return data[np.clip(self.index(expr.index), 0, data.size - 1)]
        if expr.op == "const":
            return np.asarray(expr.value).astype(expr.dtype.name)
        if expr.op == "index":
            assert expr.index is not None
            return np.asarray(self.index(expr.index)).astype(expr.dtype.name)
        if expr.op == "guard":
            holds: Any = True
            for condition in expr.conditions:
                holds = np.logical_and(holds, self.condition(condition))
            return np.where(holds, *args)
        if expr.op == "acc":
            assert self.folded is not None
            return self.folded.reshape(self.folded.shape + (1,) * len(self.kernel.inner))
        if expr.op == "output":
            return args[0][expr.value]
        result = RULES[expr.op]({"dtype": expr.dtype}, None, *np.broadcast_arrays(*args))
        if not isinstance(result, tuple):
            assert result.dtype == np.dtype(expr.dtype.name), (expr.op, result.dtype, expr.dtype)
        return result
