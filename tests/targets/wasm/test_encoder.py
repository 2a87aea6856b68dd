"""The binary encoder and the builder of functions, run in wasmtime against plain Python.

Operations on values are tested in test_values.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
import wasmtime

from tabgrad.targets.wasm import encoder
from tabgrad.targets.wasm.builder import F32, I32, F32x4, Function, I8x16, I32x4, Module, U64x2
from tests.targets.wasm.machine import Machine, run


@pytest.mark.parametrize("number", [0, 1, 63, 64, 127, 128, 300, 2**31 - 1, 2**32 - 1])
def test_leb128_is_what_the_format_says(number: int) -> None:
    decoded = sum((byte & 127) << 7 * i for i, byte in enumerate(encoder.uleb(number)))
    assert decoded == number
    for signed in (number, -number):
        data = encoder.sleb(signed)
        value = sum((byte & 127) << 7 * i for i, byte in enumerate(data))
        assert value - (1 << 7 * len(data) if data[-1] & 64 else 0) == signed


def test_modules_are_deterministic_and_share_function_types() -> None:
    def build() -> Module:
        module = Module()
        for i in range(3):
            f = module.function(f"f{i}", [I32], [I32], export=True)
            f.return_(f.params[0] + i)
        return module

    first, second = build().encode(), build().encode()
    assert first == second
    assert first.count(b"\x60\x01\x7f\x01\x7f") == 1
    assert build().encode(names=True) != first
    machine = Machine(build())
    assert [machine.call(f"f{i}", 5) for i in range(3)] == [5, 6, 7]


def test_memory_import_says_what_was_asked() -> None:
    def imported(module: Module) -> wasmtime.MemoryType:
        config = wasmtime.Config()
        config.wasm_threads = True
        config.shared_memory = True
        (one,) = wasmtime.Module(wasmtime.Engine(config), module.encode()).imports
        assert (one.module, one.name) == ("tabgrad", "memory")
        assert isinstance(one.type, wasmtime.MemoryType)
        return one.type

    plain = imported(Module())
    assert (plain.limits.min, plain.limits.max) == (1, 65536)
    assert b"\x02\x03\x02\x20" in Module(shared=True, min_pages=2, max_pages=32).encode()
    assert imported(Module(shared=True, min_pages=2, max_pages=32)).limits.max == 32
    with pytest.raises(ValueError, match="min 9, max 3"):
        Module(min_pages=9, max_pages=3)


def test_narrow_loads_and_stores() -> None:
    def write(f: Function, p: I32, out: I32) -> None:
        loads = [I32.load8_s(p), I32.load8_u(p), I32.load16_s(p), I32.load16_u(p)]
        for i, value in enumerate([*loads, I32.load8_u(p).extend8(), I32.load16_u(p).extend16()]):
            f.store(out + 4 * i, value)
        f.store8(out + 24, 0x1FF)
        f.store16(out + 26, I32.const(0x12345))
        f.copy_memory(out + 28, p, 2)
        f.fill_memory(out + 30, 7, 2)

    got = run(write, np.array([0xFE, 0xFF], np.uint8), shape=32)
    want = struct.pack("<6i", -2, 0xFE, -2, 0xFFFE, -2, -2) + b"\xff\0\x45\x23\xfe\xff\x07\x07"
    assert got.tobytes() == want


@pytest.mark.parametrize("offset", [0, 16, -16, 100000])
def test_constant_parts_of_addresses_fold(offset: int) -> None:
    module = Module()
    f = module.function("get", [I32], [I32], export=True)
    (p,) = f.params
    f.return_(I32.load((p + offset) * 4 - 8))
    machine = Machine(module, pages=20)
    machine.write((50 + offset) * 4 - 8, np.array([42], np.int32))
    assert machine.call("get", 50) == 42
    assert (b"\x6a" in bytes(f.code)) == (offset * 4 - 8 < 0)


def test_i32_arithmetic_with_constants_agrees_with_python() -> None:
    module = Module()
    f = module.function("f", [I32, I32], [I32], export=True)
    a, b = f.params
    f.return_((a + 3) * 5 - (b - 7) * -3 + (2 - a) * 1 + (9 - (b << 4)) + a * 0 + I32.const(6) * 7)
    machine = Machine(module)
    for x, y in [(0, 0), (5, -9), (-100, 3000)]:
        want = (x + 3) * 5 - (y - 7) * -3 + (2 - x) + (9 - (y << 4)) + 42
        assert machine.call("f", x, y) == want


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize(
    ("start", "stop", "step"),
    [(0, 5, 1), (0, 0, 1), (5, 2, 1), (3, 4, 1), (0, 10, 3), (10, 0, -3), (0, 10, -1), (-4, 4, 2)],
)
def test_loop_range_counts_like_range(static: bool, start: int, stop: int, step: int) -> None:
    module = Module()
    f = module.function("f", [I32, I32, I32, I32], export=True)
    out, *bounds = f.params
    at = f.let(out)
    low, high = (start, stop) if static else bounds[:2]
    with f.loop_range(low, high, step if static or step < 0 else bounds[2]) as i:
        f.store(at, i)
        at.inc(4)
    f.store(at, I32.const(-77))
    machine = Machine(module)
    machine.call("f", 1024, start, stop, step)
    want = [*range(start, stop, step), -77]
    assert machine.read(1024, len(want), np.int32).tolist() == want


def test_loops_without_trips_emit_nothing_and_single_trips_no_loop() -> None:
    f = Module().function("f")
    with f.loop_range(3, 3) as i:
        f.store(i, F32.const(1))
    assert not f.code
    with f.loop_range(3, 4) as i:
        assert i.constant == 3
    assert not f.code


def test_while_until_blocks_and_labels() -> None:
    module = Module()
    f = module.function("collatz", [I32], [I32], export=True)
    n = f.let(f.params[0])
    steps = f.local(I32, 0)
    with f.while_(n != 1):
        with f.if_(n & 1):
            n.set(n * 3 + 1)
        with f.else_():
            n.set(n >> 1)
        steps.inc(1)
    f.return_(steps)
    g = module.function("find", [I32], [I32], export=True)
    i = g.local(I32, 0)
    with g.block() as found:
        with g.until(i == 100):
            found.branch_if(i * i >= g.params[0])
            i.inc(1)
        i.set(-1)
    with g.if_(i == 7):
        g.return_(777)
    g.return_(i)
    h = module.function("again", [I32], [I32], export=True)
    count = h.local(I32, 0)
    with h.loop() as top:
        count.inc(2)
        with h.if_(count < h.params[0]):
            top.branch()
    h.return_(count)
    machine = Machine(module)
    assert [machine.call("collatz", x) for x in (1, 2, 27)] == [0, 1, 111]
    assert [machine.call("find", x) for x in (0, 1, 50, 49, 10**6)] == [0, 1, 8, 777, -1]
    assert [machine.call("again", x) for x in (0, 5, 6)] == [2, 6, 6]


def test_switch_runs_one_case() -> None:
    module = Module()
    f = module.function("f", [I32], [I32], export=True)
    result = f.local(I32, -1)
    with f.block() as done:
        f.switch(
            f.params[0],
            [lambda: [result.set(10)], lambda: [result.set(20), done.branch()], lambda: None],
        )
        result.inc(1)
    f.return_(result)
    machine = Machine(module)
    assert [machine.call("f", i) for i in (0, 1, 2, 3, -1)] == [11, 20, 0, 0, 0]


def test_calls_in_both_directions_and_several_results() -> None:
    module = Module()
    main = module.function("main", [I32], [I32], export=True)
    later = module.function("later", [I32, F32], [I32, F32])
    quiet = module.function("quiet", [I32])
    a, b = main.call(later, main.params[0] + 1, 2.5)
    assert main.call(quiet, a) is None
    main.return_(a + b.to(I32) + I32.load(2048))
    x, y = later.params
    later.return_(x * 10, y * y)
    quiet.store(2048, quiet.params[0] * 1000)
    assert Machine(module).call("main", 3) == 40 + 6 + 40000


def test_atomics() -> None:
    def write(f: Function, p: I32, out: I32) -> None:
        f.store(out, f.atomic_add(p, 5))
        f.store(out + 4, f.atomic_load(p))
        f.store(out + 8, f.atomic_exchange(p, 15, 99))
        f.atomic_store(p + 4, 123)
        f.store(out + 12, I32.load(p) + I32.load(p + 4))
        f.store(out + 16, f.atomic_notify(p, 1))

    got = run(write, np.array([10, 0], np.int32), shape=5)
    assert got.tolist() == [10, 15, 15, 99 + 123, 0]


def test_atomic_wait_is_valid_on_shared_memory() -> None:
    module = Module(shared=True)
    f = module.function("f", [I32], [I32], export=True)
    f.return_(f.atomic_wait(f.params[0], 1, timeout_ns=1000))
    config = wasmtime.Config()
    config.wasm_threads = True
    config.shared_memory = True
    wasmtime.Module(wasmtime.Engine(config), module.encode())


def test_scopes_reuse_locals_and_hand_values_on() -> None:
    module = Module()
    f = module.function("f", [], [I32], export=True)
    with f.scope() as scope:
        wasted = [f.let(I32.const(i)) for i in range(5)]
        kept = scope.keep(wasted[2])
    with f.scope() as scope:
        total = f.let(I32.const(0))
        for i in range(4):
            total.inc(f.let(I32.const(i)))
        total = scope.keep(total + kept)
    assert len(f.local_types) == 7
    f.return_(total + kept)
    assert Machine(module).call("f") == 0 + 1 + 2 + 3 + 2 + 2
    with pytest.raises(ValueError, match="after the scope"):
        wasted[0] + 1
    with pytest.raises(ValueError, match="after the scope"):
        f.store(0, wasted[0])
    with pytest.raises(ValueError, match="after the scope"):
        wasted[0].set(1)


MISTAKES: list[tuple[type[Exception], str, Callable[[Function], object]]] = [
    (TypeError, "expected F32x4 or a number, got I32x4", lambda f: F32x4.const(1) + I32x4.const(1)),
    (TypeError, "expected I32 or int, got F32", lambda f: I32.const(1) + F32.const(1)),
    (TypeError, "expected I32 or int, got 1.5", lambda f: f.params[0] + 1.5),
    (TypeError, "needs integer constants, got 0.5", lambda f: I32x4.const(1) * 0.5),
    (TypeError, "address: expected I32 or int, got F32", lambda f: F32.load(F32.const(1))),
    (TypeError, "I8x16 has no operation 'mul'", lambda f: I8x16.const(1) * 2),
    (TypeError, "I32x4 has no operation 'div'", lambda f: I32x4.const(1) / 2),
    (TypeError, "U64x2 has no operation 'lt'", lambda f: U64x2.const(1) < 2),
    (TypeError, "select needs an integer mask", lambda f: F32x4.const(1).select(F32x4.const(1), 0)),
    (TypeError, "expected F32x4 or a number, got I32x4",
     lambda f: I32x4.const(1).select(F32x4.const(1), I32x4.const(0))),
    (TypeError, "splat: expected F32, got I32", lambda f: F32x4.splat(I32.const(1))),
    (TypeError, "only a local can be set", lambda f: (f.params[0] + 1).set(3)),
    (TypeError, "set: expected I32 or a number, got F32", lambda f: f.params[0].set(F32.const(1))),
    (TypeError, "no truth at build time", lambda f: bool(f.params[0] < 3)),
    (TypeError, "if_: expected I32", lambda f: f.if_(F32.const(1)).__enter__()),
    (TypeError, "let: expected a value, got 3", lambda f: f.let(3)),
    (TypeError, "f takes 1 arguments, got 0", lambda f: f.call(f)),
    (TypeError, "argument of f: expected I32", lambda f: f.call(f, F32.const(1))),
    (TypeError, "f returns 0 values, got 1", lambda f: f.return_(I32.const(1))),
    (TypeError, "8-bit|32- and 64-bit", lambda f: I8x16.load_first(0)),
    (ValueError, "lanes 0..3, got 4", lambda f: F32x4.const(1).lane(4)),
    (ValueError, "4 lanes, got 3", lambda f: F32x4.const_lanes([1, 2, 3])),
    (ValueError, "shuffle needs 4", lambda f: F32x4.const(1).shuffle(F32x4.const(1), [8] * 4)),
    (ValueError, "1 to 4 lanes to access, got 5", lambda f: f.load_lanes(0, 5, F32x4)),
    (ValueError, "step must not be 0", lambda f: f.loop_range(0, 3, 0).__enter__()),
    (ValueError, "directly", lambda f: f.else_().__enter__()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "message", "mistake"), MISTAKES, ids=[message for _, message, _ in MISTAKES]
)
def test_mistakes_are_caught_while_building(
    error: type[Exception], message: str, mistake: Callable[[Function], object]
) -> None:
    f = Module().function("f", [I32])
    with pytest.raises(error, match=message):
        mistake(f)


def test_module_mistakes() -> None:
    module = Module()
    f = module.function("f", [], [I32], export=True)
    with pytest.raises(ValueError, match="two exported functions are called 'f'"):
        module.function("f", export=True)
    with pytest.raises(ValueError, match="f must end with return_"):
        module.encode()
    f.unreachable()
    f.if_(I32.const(1)).__enter__()
    with pytest.raises(ValueError, match="1 open blocks"):
        module.encode()
    with pytest.raises(ValueError, match="already belongs"):
        module.add(f)
    loop = module.function("g")
    with loop.block() as label:
        pass
    with pytest.raises(ValueError, match="inside its block"):
        label.branch()
