"""Code in turns and constants in front: other instructions in another order, the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.targets.wasm import mathlib
from tabgrad.targets.wasm.builder import I32, F32x4, Function, Module
from tabgrad.targets.wasm.mathlib import double
from tabgrad.targets.wasm.scheduling import _statements, constants_first, in_turns
from tests.targets.wasm.arrays import Array
from tests.targets.wasm.computing import VARIANTS, Given, compute
from tests.targets.wasm.machine import PAGE, Machine

NAN, INF = math.nan, math.inf


def _two_of(emit: Callable[[Function, F32x4], F32x4], apart: bool, x: Array) -> Array:
    """`emit` at two neighbouring vectors in each trip of a loop, in turns or one by one."""
    module = Module()
    f = module.function("run", export=True)
    with f.loop_range(0, 4 * len(x), 32) as i, f.scope():
        found: list[F32x4] = []

        def part(place: I32) -> Callable[[], None]:
            return lambda: found.append(f.once(emit(f, f.let(F32x4.load(place)))))

        parts = [part(i + PAGE), part(i + PAGE + 16)]
        if apart:
            for one in parts:
                one()
        else:
            in_turns(f, parts)
        for n, value in enumerate(found):
            f.store(i + 2 * PAGE + 16 * n, value)
    if not apart:
        constants_first(f)
    machine = Machine(module, pages=3)
    machine.write(PAGE, x)
    machine.call("run")
    return np.asarray(machine.read(2 * PAGE, len(x), np.float32))


FUNCTIONS: dict[str, Callable[[Function, F32x4], F32x4]] = {
    "exp": lambda f, x: mathlib.exp(f, x, True),
    "log1p": lambda f, x: mathlib.log1p(f, x, False),
    "power": lambda f, x: mathlib.power(f, x, x, True),
    # With calls that give several results, inside branches.
    "sin": lambda f, x: mathlib.sin(f, x, True),
    # With a loop, and scalar instructions.
    "mod": lambda f, x: mathlib.floor_mod(f, x, F32x4.const(0.7)),
    "int": lambda f, x: mathlib.to_integer(f, x, 30, True).to_f32(),
    "double int": lambda f, x: double.to_integer(f, x.to_f64_low(), 60, True).view(F32x4),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_in_turns_computes_the_same(name: str) -> None:
    x = np.random.default_rng(3).normal(size=512, scale=9).astype(np.float32)
    x[::37] *= np.float32(1e20)
    x[5:9] = NAN, INF, -INF, 0
    got, want = (_two_of(FUNCTIONS[name], apart, x) for apart in (False, True))
    assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_statements_are_the_whole_code(name: str) -> None:
    f = Module().function("f", [I32])
    FUNCTIONS[name](f, f.let(F32x4.load(f.params[0])))
    pieces = _statements(bytes(f.code))
    assert b"".join(pieces) == bytes(f.code)
    assert len(pieces) > 1


def test_several_results_of_a_call_stay_together() -> None:
    module = Module()
    pair = module.function("pair", [F32x4], [F32x4, F32x4])
    pair.return_(pair.params[0] + 1.0, pair.params[0] * 2.0)

    f = module.function("run", export=True)
    found: list[F32x4] = []

    def part(number: float) -> None:
        more, twice = f.call(pair, F32x4.const(number))
        found.append(f.let(more * twice))

    in_turns(f, [partial(part, number) for number in (3.0, 5.0)])
    for n, value in enumerate(found):
        f.store(PAGE + 16 * n, value)
    machine = Machine(module, pages=2)
    machine.call("run")
    assert machine.read(PAGE, (2, 4), np.float32)[:, 0].tolist() == [4 * 6, 6 * 10]


def test_constants_are_set_once_where_there_is_a_loop() -> None:
    def write(count: int) -> Function:
        f = Module().function("f", [I32])
        with f.loop_range(0, count) as i:
            f.store(i, (F32x4.load(i) + 2.5) * 2.5)
        before = bytes(f.code)
        constants_first(f)
        constant = F32x4.const(2.5).get()
        assert before.count(constant) == 2
        assert bytes(f.code).count(constant) == (1 if count > 1 else 2)
        return f

    assert len(write(7).local_types) == len(write(1).local_types) + 2  # the counter, the constant


SHAPES = [(1,), (3,), (67,), (5, 4), (4, 130), (130, 4), (9, 1100)]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_extrema_give_nan_wherever_it_is(shape: tuple[int, ...], variant: str) -> None:
    random = np.random.default_rng(5)
    x = random.normal(size=shape).astype(np.float32)
    x[random.random(shape) < 2 / x.size] = NAN
    given = Given()
    node = given(x)
    axes = [tuple(range(x.ndim)), (x.ndim - 1,), (0,)]
    outputs: list[Node] = []
    want = []
    for axis in axes:
        outputs += [b.reduce("reduce_max", node, axis), b.reduce("reduce_min", node, axis)]
        want += [x.max(axis), x.min(axis)]
    for found, right in zip(compute(outputs, given.arrays, variant), want, strict=True):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("limit", [-1.5, -0.0, 0.0, 2.0, INF, -INF, NAN])
def test_extrema_with_a_constant(limit: float, dtype: str, variant: str) -> None:
    x = np.array([-3, -1.5, -0.0, 0.0, 1, 2, 7, INF, -INF, NAN, 0.5], dtype)
    given = Given()
    node = given(x)
    constant = b.full(x.shape, limit, node.dtype)
    pairs = [("max", np.maximum), ("min", np.minimum)]
    orders = [(node, constant), (constant, node)]
    outputs = [make(name, *order) for name, _ in pairs for order in orders]
    found = compute(outputs, given.arrays, variant)
    for n, (_, reference) in enumerate(pairs):
        with np.errstate(invalid="ignore"):
            want: Any = reference(x, np.asarray(limit, dtype))
        for got in found[2 * n : 2 * n + 2]:
            np.testing.assert_array_equal(got, want)
            # +0 is above -0.
            zero = want == 0
            least = np.signbit(x) | np.signbit(limit) if n else np.signbit(x) & np.signbit(limit)
            np.testing.assert_array_equal(np.signbit(got[zero]), least[zero])
