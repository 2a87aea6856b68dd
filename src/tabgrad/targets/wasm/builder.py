"""The builder every kernel is written with: functions, locals and structured control flow.

Expressions are typed values with operators (`values`, `vectors`); a `Function` turns them into
instructions in the order of its calls. A `with` block of control flow is also a scope: the locals
made inside are reused after it.

    module = Module()
    double = module.function("double", params=[I32, I32, I32], export=True)
    source, target, count = double.params
    with double.loop_range(0, count) as i:
        double.store(target + i * 16, F32x4.load(source + i * 16) * 2.0)
    module.encode()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tabgrad.targets.wasm import encoder
from tabgrad.targets.wasm.encoder import uleb
from tabgrad.targets.wasm.values import (
    DEAD,
    F32,
    F64,
    I32,
    I64,
    U32,
    U64,
    LocalSlot,
    Number,
    V,
    Value,
    address_parts,
)
from tabgrad.targets.wasm.vectors import (
    F32x4,
    F64x2,
    I8x16,
    I16x8,
    I32x4,
    I64x2,
    U8x16,
    U16x8,
    U32x4,
    U64x2,
    Vector,
    W,
    simd,
)

__all__ = [
    "F32",
    "F64",
    "I32",
    "I64",
    "U32",
    "U64",
    "F32x4",
    "F64x2",
    "Function",
    "I8x16",
    "I16x8",
    "I32x4",
    "I64x2",
    "Label",
    "Module",
    "Scope",
    "U8x16",
    "U16x8",
    "U32x4",
    "U64x2",
    "Value",
    "Vector",
]

BLOCK, LOOP, IF, ELSE, END, BR, BR_IF, BR_TABLE, RETURN, UNREACHABLE = (
    b"\x02\x40", b"\x03\x40", b"\x04\x40", b"\x05", b"\x0b", b"\x0c", b"\x0d", b"\x0e", b"\x0f",
    b"\x00",
)  # fmt: skip


class Module(encoder.Module):
    """A module whose functions are written with the builder."""

    def __init__(
        self, *, shared: bool = False, min_pages: int = 1, max_pages: int = encoder.MAX_PAGES
    ) -> None:
        super().__init__(shared=shared, min_pages=min_pages, max_pages=max_pages)
        self._helpers: dict[str, Function] = {}

    def function(
        self,
        name: str,
        params: Sequence[type[Value[Any]]] = (),
        results: Sequence[type[Value[Any]]] = (),
        *,
        export: bool = False,
    ) -> Function:
        """Declare a function; it can be called at once and its body written at any time."""
        function = Function(name, params, results, export=export)
        function.module = self
        self.add(function)
        return function

    def helper(
        self,
        name: str,
        params: Sequence[type[Value[Any]]],
        results: Sequence[type[Value[Any]]],
        write: Callable[[Function], None],
    ) -> Function:
        """The module's one function of that name, written on first use (rarely run code)."""
        if name not in self._helpers:
            self._helpers[name] = function = self.function(name, params, results)
            write(function)
        return self._helpers[name]


class Label:
    """A block that code inside can leave, or a loop that code inside can repeat."""

    def __init__(self, function: Function, depth: int) -> None:
        self._function = function
        self._depth = depth

    def branch(self) -> None:
        """Jump: past the end of a block, to the start of a loop."""
        self._function.code += BR + self._target()

    def branch_if(self, condition: I32) -> None:
        """Jump when the condition is not zero."""
        self._function.code += I32.operand(condition, "branch_if") + BR_IF + self._target()

    def _target(self) -> bytes:
        distance = self._function.depth - self._depth
        if distance < 0:
            raise ValueError("a label can only be used inside its block")
        return uleb(distance)


class Scope:
    """The locals made since the scope began."""

    def __init__(self, function: Function, outer: Scope | None) -> None:
        self._function = function
        self._outer = outer
        self.made: list[Value[Any]] = []

    def keep(self, value: V) -> V:
        """Hand a value on to the enclosing scope, as a local."""
        if not any(value is made for made in self.made):
            value = self._function.let(value)
        self.made = [made for made in self.made if made is not value]
        if self._outer:
            self._outer.made.append(value)
        return value


class Function(encoder.FunctionCode):
    """A function under construction."""

    def __init__(
        self,
        name: str,
        params: Sequence[type[Value[Any]]] = (),
        results: Sequence[type[Value[Any]]] = (),
        *,
        export: bool = False,
    ) -> None:
        super().__init__(name, [t.TYPE for t in params], [t.TYPE for t in results], export=export)
        self.param_kinds = tuple(params)
        self.result_kinds = tuple(results)
        self.params: tuple[Any, ...] = tuple(
            kind(b"\x20" + uleb(i), LocalSlot(self.code, i)) for i, kind in enumerate(params)
        )
        self.module: Module | None = None
        self.depth = 0
        self._free: dict[int, list[int]] = {}
        self._scopes: list[Scope] = []
        self._last_if = -1
        self._last_exit = -1

    # Locals

    def local(self, kind: type[V], initial: V | Number | None = None) -> V:
        """A new local; without `initial` it holds anything until it is set."""
        free = self._free.get(kind.TYPE)
        if free:
            index = free.pop()
        else:
            index = len(self.param_types) + len(self.local_types)
            self.local_types.append(kind.TYPE)
        value = kind(b"\x20" + uleb(index), LocalSlot(self.code, index))
        if self._scopes:
            self._scopes[-1].made.append(value)
        return value if initial is None else value.set(initial)

    def let(self, value: V) -> V:
        """A new local of the value's type that holds it."""
        if not isinstance(value, Value):
            raise TypeError(f"let: expected a value, got {value!r}")
        code = value.get()  # before the local exists, so that an expression cannot read it
        local = self.local(type(value))
        assert local.slot is not None
        self.code += code + b"\x21" + uleb(local.slot.index)
        return local

    def once(self, value: V) -> V:
        """The value itself when it is a local, else a new local that holds it."""
        return self.let(value) if value.slot is None else value

    @contextmanager
    def scope(self) -> Iterator[Scope]:
        """Locals made inside are reused after it; `scope.keep(value)` hands one on."""
        scope = Scope(self, self._scopes[-1] if self._scopes else None)
        self._scopes.append(scope)
        yield scope
        self._scopes.pop()
        for local in scope.made:
            assert local.slot is not None
            self._free.setdefault(local.TYPE, []).append(local.slot.index)
            local.code = DEAD

    @contextmanager
    def own_locals(self) -> Iterator[None]:
        """Inside, no local is used again that was given back before."""
        before, self._free = self._free, {}
        yield
        for kind, indices in self._free.items():
            before.setdefault(kind, []).extend(indices)
        self._free = before

    # Memory

    def store(self, address: I32 | int, value: Value[Any]) -> None:
        """Store a value at `address` with the width of its type."""
        base, memarg = address_parts(address, value.ALIGN)
        self.code += base + value.get() + value.STORE + memarg

    def store8(self, address: I32 | int, value: I32 | int) -> None:
        """Store the low byte."""
        base, memarg = address_parts(address, 0)
        self.code += base + I32.operand(value, "store8") + b"\x3a" + memarg

    def store16(self, address: I32 | int, value: I32 | int) -> None:
        """Store the low 16 bits."""
        base, memarg = address_parts(address, 1)
        self.code += base + I32.operand(value, "store16") + b"\x3b" + memarg

    def store_lane(self, address: I32 | int, value: Vector[Any, Any], lane: int) -> None:
        """Store one lane."""
        if not 0 <= lane < value.LANES:
            raise ValueError(f"lane must be in 0..{value.LANES - 1}, got {lane}")
        base, memarg = address_parts(address, value.ALIGN)
        self.code += base + value.get() + simd(88 + value.ALIGN) + memarg + bytes((lane,))

    def load_lanes(self, address: I32 | int, count: int, kind: type[W]) -> W:
        """A local with the first `count` lanes from memory, zeros in the others."""
        _check_lanes(kind, count)
        at = I32._from(address, "address")
        if count == kind.LANES:
            return self.let(kind.load(at))
        if kind.ALIGN == 3 or count == 1:
            return self.let(kind.load_first(at))
        if count == 2:
            return self.let(kind.load_half(at))
        return self.let(kind.load_half(at).load_lane(2, at + 8))

    def store_lanes(self, address: I32 | int, value: W, count: int) -> None:
        """Store the first `count` lanes; give a local when they are 3 of 4."""
        kind = type(value)
        _check_lanes(kind, count)
        at = I32._from(address, "address")
        if count == kind.LANES:
            self.store(at, value)
        elif kind.ALIGN == 3 or count == 1:
            self.store_lane(at, value, 0)
        else:
            base, memarg = address_parts(at, kind.ALIGN)
            self.code += base + value.get() + simd(91) + memarg + b"\x00"
            if count == 3:
                self.store_lane(at + 8, value, 2)

    def copy_memory(self, target: I32 | int, source: I32 | int, nbytes: I32 | int) -> None:
        """memmove: copy bytes, overlapping or not."""
        self._emit(b"\xfc\x0a\x00\x00", target, source, nbytes)

    def fill_memory(self, target: I32 | int, byte: I32 | int, nbytes: I32 | int) -> None:
        """memset: fill with a byte."""
        self._emit(b"\xfc\x0b\x00", target, byte, nbytes)

    def _emit(self, op: bytes, *operands: I32 | int) -> None:
        self.code += b"".join([I32.operand(o, "operand") for o in operands]) + op

    # Atomics: executed where they are written, results in a local

    def atomic_load(self, address: I32 | int) -> I32:
        """Read an i32 atomically."""
        return self._atomic(0x10, address)

    def atomic_store(self, address: I32 | int, value: I32 | int) -> None:
        """Write an i32 atomically."""
        base, memarg = address_parts(address, 2)
        self.code += base + I32.operand(value, "atomic_store") + b"\xfe\x17" + memarg

    def atomic_add(self, address: I32 | int, value: I32 | int) -> I32:
        """Add atomically; gives the old value."""
        return self._atomic(0x1E, address, I32.operand(value, "atomic_add"))

    def atomic_exchange(
        self, address: I32 | int, expected: I32 | int, replacement: I32 | int
    ) -> I32:
        """Replace when it holds `expected`; gives the old value."""
        operands = I32.operand(expected, "expected") + I32.operand(replacement, "replacement")
        return self._atomic(0x48, address, operands)

    def atomic_wait(self, address: I32 | int, expected: I32 | int, timeout_ns: int = -1) -> I32:
        """Sleep while it holds `expected` (shared memory); 0 woken, 1 differed, 2 timed out."""
        operands = I32.operand(expected, "expected") + I64.const(timeout_ns).get()
        return self._atomic(0x01, address, operands)

    def atomic_notify(self, address: I32 | int, count: I32 | int) -> I32:
        """Wake up to `count` waiters; gives how many woke."""
        return self._atomic(0x00, address, I32.operand(count, "count"))

    def _atomic(self, op: int, address: I32 | int, operands: bytes = b"") -> I32:
        base, memarg = address_parts(address, 2)
        return self.let(I32(base + operands + b"\xfe" + uleb(op) + memarg))

    # Calls

    def call(self, function: Function, *arguments: Value[Any] | Number) -> Any:
        """Call now; gives a local with the result, a tuple of them, or None."""
        if len(arguments) != len(function.param_kinds):
            raise TypeError(
                f"{function.name} takes {len(function.param_kinds)} arguments, got {len(arguments)}"
            )
        if function.index < 0:
            raise ValueError(f"{function.name} belongs to no module")
        for kind, argument in zip(function.param_kinds, arguments, strict=True):
            self.code += kind.operand(argument, f"argument of {function.name}")
        self.code += b"\x10" + uleb(function.index)
        results = tuple(self.local(kind) for kind in function.result_kinds)
        for result in reversed(results):
            assert result.slot is not None
            self.code += b"\x21" + uleb(result.slot.index)
        return results if len(results) > 1 else results[0] if results else None

    def return_(self, *values: Value[Any] | Number) -> None:
        """Leave the function with its results."""
        if len(values) != len(self.result_kinds):
            raise TypeError(
                f"{self.name} returns {len(self.result_kinds)} values, got {len(values)}"
            )
        for kind, value in zip(self.result_kinds, values, strict=True):
            self.code += kind.operand(value, f"result of {self.name}")
        self._exit(RETURN)

    def unreachable(self) -> None:
        """Trap."""
        self._exit(UNREACHABLE)

    def _exit(self, op: bytes) -> None:
        self.code += op
        self._last_exit = len(self.code)

    def body(self) -> bytes:
        """The encoded body; complains about open blocks and missing results."""
        if self.depth:
            raise ValueError(f"{self.name} has {self.depth} open blocks")
        if self.result_kinds and self._last_exit != len(self.code):
            raise ValueError(f"{self.name} must end with return_() or unreachable()")
        return super().body()

    # Control flow

    @contextmanager
    def _nested(self, start: bytes) -> Iterator[Label]:
        self.code += start
        self.depth += 1
        with self.scope():
            yield Label(self, self.depth)
        self.depth -= 1
        self.code += END

    @contextmanager
    def block(self) -> Iterator[Label]:
        """A block; branching to its label leaves it."""
        with self._nested(BLOCK) as label:
            yield label

    @contextmanager
    def loop(self) -> Iterator[Label]:
        """A loop that runs once; branching to its label repeats it."""
        with self._nested(LOOP) as label:
            yield label

    @contextmanager
    def if_(self, condition: I32) -> Iterator[None]:
        """Run the body when the condition is not zero."""
        with self._nested(I32.operand(condition, "if_") + IF):
            yield
        self._last_if = len(self.code)

    @contextmanager
    def else_(self) -> Iterator[None]:
        """Run the body when the `if_` just closed did not."""
        if self._last_if != len(self.code):
            raise ValueError("else_() must follow an if_() block directly")
        del self.code[-1:]
        with self._nested(ELSE):
            yield

    @contextmanager
    def while_(self, condition: I32) -> Iterator[None]:
        """Repeat while the condition, evaluated anew each time, is not zero."""
        with self.if_(condition), self._repeat_while(condition):
            yield

    @contextmanager
    def until(self, condition: I32) -> Iterator[None]:
        """Run the body, then repeat it until the condition, evaluated anew, is not zero."""
        with self._repeat_while(condition.not_()):
            yield

    @contextmanager
    def _repeat_while(self, condition: I32) -> Iterator[None]:
        again = condition.get()
        with self.loop() as top:
            yield
            self.code += again + BR_IF + top._target()

    @contextmanager
    def loop_range(self, start: I32 | int, stop: I32 | int, step: I32 | int = 1) -> Iterator[I32]:
        """Count like range(), with signed bounds; a run-time step must be positive.

        Bounds are evaluated once. Known bounds cost no check; one trip costs no loop and gives a
        constant; no trip emits nothing.
        """
        first, last, by = (
            I32._from(x, what) for x, what in ((start, "start"), (stop, "stop"), (step, "step"))
        )
        if by.constant == 0:
            raise ValueError("loop_range: step must not be 0")
        down = by.constant is not None and by.constant < 0
        trips = None
        if None not in (first.constant, last.constant, by.constant):
            trips = len(range(first.constant or 0, last.constant or 0, by.constant or 0))
        if trips is not None and trips < 2:
            mark = len(self.code)
            with self.scope():
                yield first
            if not trips:
                del self.code[mark:]
            return
        with self.scope():
            bound = last if last.constant is not None else self.let(last)
            stride = by if by.constant is not None else self.let(by)
            i = self.let(first)
            more = i > bound if down else i < bound
            with self.while_(more) if trips is None else self._repeat_while(more):
                yield i
                i.inc(stride)

    def switch(self, index: I32, cases: Sequence[Callable[[], object]]) -> None:
        """Run the case that `index` picks; none when it is out of range."""
        if not cases:
            return
        count = len(cases)
        self.code += BLOCK + BLOCK * count
        self.depth += count + 1
        targets = b"".join([uleb(i) for i in range(count + 1)])
        self.code += I32.operand(index, "switch") + BR_TABLE + uleb(count) + targets
        for remaining, case in zip(reversed(range(count)), cases, strict=True):
            self.code += END
            self.depth -= 1
            with self.scope():
                case()
            self.code += BR + uleb(remaining)
        self.code += END
        self.depth -= 1


def _check_lanes(kind: type[Vector[Any, Any]], count: int) -> None:
    if kind.ALIGN < 2:
        raise TypeError(f"partial vectors need 32- or 64-bit lanes, got {kind.__name__}")
    if not 1 <= count <= kind.LANES:
        raise ValueError(f"{kind.__name__} has 1 to {kind.LANES} lanes to access, got {count}")
