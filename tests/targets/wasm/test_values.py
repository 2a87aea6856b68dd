"""Typed values, scalars and vectors: each operation run in wasmtime against NumPy."""

from __future__ import annotations

import operator
import struct
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tabgrad.targets.wasm.builder import (
    F32,
    F64,
    I32,
    I64,
    U32,
    U64,
    F32x4,
    F64x2,
    Function,
    I8x16,
    I16x8,
    I32x4,
    I64x2,
    U8x16,
    U16x8,
    U32x4,
    U64x2,
)
from tests.targets.wasm.machine import each, run

RANDOM = np.random.default_rng(1)

INTEGERS = {
    I8x16: np.int8,
    U8x16: np.uint8,
    I16x8: np.int16,
    U16x8: np.uint16,
    I32x4: np.int32,
    U32x4: np.uint32,
    I64x2: np.int64,
    U64x2: np.uint64,
}
FLOATS = {F32x4: np.float32, F64x2: np.float64}
SCALARS = {I32: np.int32, U32: np.uint32, I64: np.int64, U64: np.uint64, F32: np.float32}
SCALARS |= {F64: np.float64}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
}
COMPARE = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


def numbers(dtype: Any, count: int) -> Any:
    """Random bits for integers, small numbers with a fraction for floats."""
    if np.dtype(dtype).kind == "f":
        return RANDOM.normal(size=count, scale=4).astype(dtype)
    return np.frombuffer(RANDOM.bytes(count * np.dtype(dtype).itemsize), dtype)


def mask_of(booleans: Any, dtype: Any) -> bytes:
    signed = np.dtype(f"i{np.dtype(dtype).itemsize}")
    return np.where(booleans, signed.type(-1), signed.type(0)).astype(signed).tobytes()


@pytest.mark.parametrize("kind", INTEGERS, ids=lambda k: k.__name__)
def test_integer_vectors(kind: Any) -> None:
    dtype = INTEGERS[kind]
    a, b = numbers(dtype, kind.LANES), numbers(dtype, kind.LANES).copy()
    b[0] = a[0]
    binary = [op for name, op in BINARY.items() if name in kind.OPS or name in ("and", "or", "xor")]
    got = each(binary, kind, a, b)
    assert got == [op(a, b).tobytes() for op in binary]
    compare = [
        op for op in COMPARE if {operator.eq: "eq", operator.ne: "ne"}.get(op, "lt") in kind.OPS
    ]
    got = each(compare, kind, a, b)
    assert got == [mask_of(op(a, b), dtype) for op in compare]
    unary = {
        lambda x, y: ~x: ~a,
        lambda x, y: x.and_not(y): a & ~b,
        lambda x, y: x << 3: a << dtype(3),
        lambda x, y: x >> 3: a >> dtype(3),
        lambda x, y: 1 - x: dtype(1) - a,
        lambda x, y: (x == y).select(x, 7): np.where(a == b, a, dtype(7)),
        lambda x, y: kind.const(5) + x: dtype(5) + a,
    }  # fmt: skip
    assert each(list(unary), kind, a, b) == [want.tobytes() for want in unary.values()]
    if np.dtype(dtype).kind == "i":
        got = each([lambda x, y: -x, lambda x, y: abs(x)], kind, a, b)
        assert got == [(-a).tobytes(), np.abs(a).tobytes()]
    if kind.ALIGN < 3:
        got = each([lambda x, y: x.min(y), lambda x, y: x.max(y)], kind, a, b)
        assert got == [np.minimum(a, b).tobytes(), np.maximum(a, b).tobytes()]


def test_saturation_pairs_dot_and_byte_operations() -> None:
    a, b = numbers(np.int16, 8), numbers(np.int16, 8)
    wide = a.astype(np.int32) * b
    (got,) = each([lambda x, y: x.dot(y)], I16x8, a, b)
    assert got == (wide[::2] + wide[1::2]).tobytes()
    (got,) = each([lambda x: x.add_pairs(I32x4)], I16x8, a)
    assert got == (a[::2].astype(np.int32) + a[1::2]).tobytes()
    u = numbers(np.uint8, 16)
    (got,) = each([lambda x: x.add_pairs(U16x8)], U8x16, u)
    assert got == (u[::2].astype(np.uint16) + u[1::2]).tobytes()
    picks = np.array([3, 99, 0, 15] * 4, np.uint8)
    (got,) = each([lambda x, i: x.swizzle(i)], U8x16, u, picks)
    assert got == np.where(picks < 16, u[picks % 16], 0).astype(np.uint8).tobytes()
    (got,) = each([lambda x, i: x.relaxed_swizzle(i)], U8x16, u, picks % 16)
    assert got == u[picks % 16].tobytes()


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (I8x16, I16x8),
        (U8x16, U16x8),
        (I16x8, I32x4),
        (U16x8, U32x4),
        (I32x4, I64x2),
        (U32x4, U64x2),
    ],
    ids=lambda k: k.__name__,
)
def test_widening(narrow: Any, wide: Any) -> None:
    a, b = numbers(INTEGERS[narrow], narrow.LANES), numbers(INTEGERS[narrow], narrow.LANES)
    half = narrow.LANES // 2
    extended, other = a.astype(INTEGERS[wide]), b.astype(INTEGERS[wide])
    got = each(
        [
            lambda x, y: x.widen_low(wide),
            lambda x, y: x.widen_high(wide),
            lambda x, y: x.mul_low(y, wide),
            lambda x, y: x.mul_high(y, wide),
        ],
        narrow,
        a,
        b,
    )
    products = extended * other
    want = [extended[:half], extended[half:], products[:half], products[half:]]
    assert got == [w.tobytes() for w in want]
    loaded = run(lambda f, p, out: f.store(out, wide.load_widened(p)), a, shape=16, dtype=np.uint8)
    assert loaded.tobytes() == extended[:half].tobytes()


@pytest.mark.parametrize("target", [I8x16, U8x16, I16x8, U16x8], ids=lambda k: k.__name__)
def test_narrowing_saturates(target: Any) -> None:
    source = {0: I16x8, 1: I32x4}[target.ALIGN]
    dtype, info = INTEGERS[target], np.iinfo(INTEGERS[target])
    a = numbers(INTEGERS[source], source.LANES) >> 4
    b = numbers(INTEGERS[source], source.LANES) >> 9
    (got,) = each([lambda x, y: x.narrow(y, target)], source, a, b)
    assert got == np.clip(np.concatenate([a, b]), info.min, info.max).astype(dtype).tobytes()


@pytest.mark.parametrize("kind", FLOATS, ids=lambda k: k.__name__)
def test_float_vectors(kind: Any) -> None:
    dtype, lanes = FLOATS[kind], kind.LANES
    a, b, c = (numbers(dtype, lanes) for _ in range(3))
    b[0] = a[0]
    positive = np.abs(a)
    cases = {
        lambda x, y: x + y: a + b,
        lambda x, y: x - y: a - b,
        lambda x, y: x * y: a * b,
        lambda x, y: x / y: a / b,
        lambda x, y: 2.0 - x: dtype(2) - a,
        lambda x, y: 2 / x: dtype(2) / a,
        lambda x, y: -x: -a,
        lambda x, y: abs(x): positive,
        lambda x, y: abs(x).sqrt(): np.sqrt(positive),
        lambda x, y: x.floor(): np.floor(a),
        lambda x, y: x.ceil(): np.ceil(a),
        lambda x, y: x.trunc(): np.trunc(a),
        lambda x, y: x.nearest(): np.rint(a),
        lambda x, y: x.min(y): np.minimum(a, b),
        lambda x, y: x.max(y): np.maximum(a, b),
        lambda x, y: x.pmin(y): np.minimum(a, b),
        lambda x, y: x.pmax(y): np.maximum(a, b),
        lambda x, y: x.relaxed_min(y): np.minimum(a, b),
        lambda x, y: x.relaxed_max(y): np.maximum(a, b),
        lambda x, y: (x < y).select(x, y): np.minimum(a, b),
        lambda x, y: (x < y).relaxed_select(x, y): np.minimum(a, b),
        lambda x, y: x & y: (a.view(f"i{a.itemsize}") & b.view(f"i{a.itemsize}")),
        lambda x, y: (x.bits() + 1).view(kind): np.nextafter(a, np.copysign(np.inf, a)),
    }  # fmt: skip
    for got, want in zip(each(list(cases), kind, a, b), cases.values()):
        assert got == want.astype(want.dtype).tobytes()
    got = each(COMPARE, kind, a, b)
    assert got == [mask_of(op(a, b), dtype) for op in COMPARE]
    fused = each(
        [lambda x, y, z: x.relaxed_madd(y, z), lambda x, y, z: x.relaxed_nmadd(y, z)],
        kind, a, b, c,
    )  # fmt: skip
    for data, want in zip(fused, (a * b + c, -(a * b) + c)):
        assert np.frombuffer(data, dtype) == pytest.approx(want, rel=1e-5)


def test_vector_conversions() -> None:
    special = np.array([1.5, -2.9, 3e10, np.nan], np.float32)
    got = each(
        [lambda x: x.to_i32(), lambda x: x.to_u32(), lambda x: x.to_f64_low()], F32x4, special
    )
    assert got[0] == np.array([1, -2, 2**31 - 1, 0], np.int32).tobytes()
    assert got[1] == np.array([1, 0, 2**32 - 1, 0], np.uint32).tobytes()
    assert got[2] == special[:2].astype(np.float64).tobytes()
    small = np.array([1.5, -2.9, 300.0, 0.0], np.float32)
    got = each([lambda x: x.relaxed_to_i32(), lambda x: abs(x).relaxed_to_u32()], F32x4, small)
    assert got[0] == small.astype(np.int32).tobytes()
    assert got[1] == np.abs(small).astype(np.uint32).tobytes()
    i = numbers(np.int32, 4)
    assert each([lambda x: x.to_f32(), lambda x: x.to_f64_low()], I32x4, i) == [
        i.astype(np.float32).tobytes(),
        i[:2].astype(np.float64).tobytes(),
    ]
    u = i.view(np.uint32)
    assert each([lambda x: x.to_f32(), lambda x: x.to_f64_low()], U32x4, u) == [
        u.astype(np.float32).tobytes(),
        u[:2].astype(np.float64).tobytes(),
    ]
    d = np.array([-7.9, 1e300])
    got = each(
        [lambda x: x.to_f32_low(), lambda x: x.to_i32_low(), lambda x: x.to_u32_low()], F64x2, d
    )
    assert got[0] == np.array([-7.9, np.inf, 0, 0], np.float32).tobytes()
    assert got[1] == np.array([-7, 2**31 - 1, 0, 0], np.int32).tobytes()
    assert got[2] == np.array([0, 2**32 - 1, 0, 0], np.uint32).tobytes()


@pytest.mark.parametrize("kind", [*INTEGERS, *FLOATS], ids=lambda k: k.__name__)
def test_lanes_splats_and_shuffles(kind: Any) -> None:
    dtype = (INTEGERS | FLOATS)[kind]
    size, last = np.dtype(dtype).itemsize, kind.LANES - 1
    a, b = numbers(dtype, kind.LANES), numbers(dtype, kind.LANES)
    order = [int(i) for i in RANDOM.integers(0, 2 * kind.LANES, kind.LANES)]

    def write(f: Function, p: I32, q: I32, out: I32) -> None:
        x, y = f.let(kind.load(p)), f.let(kind.load(q))
        f.store(out, kind.splat(x.lane(last)))
        f.store(out + 16, x.with_lane(1, y.lane(0)))
        f.store(out + 32, x.shuffle(y, order))
        f.store(out + 48, kind.load_splat(q + last * size))
        f.store(out + 64, x.load_lane(last, q))
        f.store_lane(out + 80, x, last)
        f.store(out + 96, kind.const_lanes(list(range(kind.LANES))))

    got = run(write, a, b, shape=(7, kind.LANES), dtype=dtype)
    with_lane, loaded = a.copy(), a.copy()
    with_lane[1] = b[0]
    loaded[last] = b[0]
    assert np.array_equal(got[0], np.full(kind.LANES, a[last]))
    assert np.array_equal(got[1], with_lane)
    assert np.array_equal(got[2], np.concatenate([a, b])[order])
    assert np.array_equal(got[3], np.full(kind.LANES, b[last]))
    assert np.array_equal(got[4], loaded)
    assert np.array_equal(got[5], [a[last]] + [0] * last)
    assert np.array_equal(got[6], np.arange(kind.LANES))


@pytest.mark.parametrize("kind", [F32x4, I32x4, F64x2], ids=lambda k: k.__name__)
def test_partial_vectors(kind: Any) -> None:
    dtype = (INTEGERS | FLOATS)[kind]
    a = numbers(dtype, kind.LANES)
    for count in range(1, kind.LANES + 1):

        def write(f: Function, p: I32, out: I32, count: int = count) -> None:
            x = f.load_lanes(p, count, kind)
            f.store(out, x)
            f.store(out + 16, kind.const(9))
            f.store_lanes(out + 16, x, count)

        got = run(write, a, shape=(2, kind.LANES))
        rest = kind.LANES - count
        assert np.array_equal(got[0], [*a[:count], *[0] * rest])
        assert np.array_equal(got[1], [*a[:count], *[9] * rest])


def test_mask_reductions() -> None:
    def write(f: Function, p: I32, out: I32) -> None:
        x = f.let(F32x4.load(p))
        f.store(out, (x > 0).any_true())
        f.store(out + 4, (x > 0).all_true())
        f.store(out + 8, (x > 0).bitmask())
        f.store(out + 12, (x > 100).any_true())

    got = run(write, np.array([1, -1, 2, 3], np.float32), dtype=np.int32)
    assert got.tolist() == [1, 0, 0b1101, 0]


@pytest.mark.parametrize("kind", SCALARS, ids=lambda k: k.__name__)
def test_scalars(kind: Any) -> None:
    dtype = SCALARS[kind]
    a, b = numbers(dtype, 1), numbers(dtype, 1)
    cases = {lambda x, y: x + y: a + b, lambda x, y: x - y: a - b, lambda x, y: x * y: a * b}
    cases |= {
        lambda x, y: -x: -a,
        lambda x, y: 3 - x: dtype(3) - a,
        lambda x, y: 3 * x: dtype(3) * a,
    }
    cases |= {lambda x, y: (x < y).select(x, y): np.minimum(a, b)}
    if kind.INTEGER:
        exact = int(a[0]), int(b[0])
        quotient = abs(exact[0]) // abs(exact[1])
        if (exact[0] < 0) != (exact[1] < 0):
            quotient = -quotient
        remainder = exact[0] - quotient * exact[1]
        cases |= {lambda x, y: x.div(y): np.array([quotient], dtype)}
        cases |= {lambda x, y: x.rem(y): np.array([remainder], dtype)}
        cases |= {lambda x, y: ~x: ~a, lambda x, y: x & y: a & b, lambda x, y: x ^ y: a ^ b}
        cases |= {lambda x, y: x << 5: a << dtype(5), lambda x, y: x >> 5: a >> dtype(5)}
        bits = 8 * a.itemsize
        raw = exact[0] % (1 << bits)
        rotated = (raw << 7 | raw >> (bits - 7)) % (1 << bits)
        unsigned = np.array([rotated], f"u{a.itemsize}")
        cases |= {lambda x, y: x.rotl(7): unsigned}
        cases |= {lambda x, y: x.clz(): np.array([bits - raw.bit_length()], dtype)}
    else:
        cases |= {lambda x, y: x / y: a / b, lambda x, y: abs(x).sqrt(): np.sqrt(np.abs(a))}
        cases |= {lambda x, y: x.floor(): np.floor(a), lambda x, y: x.nearest(): np.rint(a)}
        cases |= {lambda x, y: x.min(y): np.minimum(a, b), lambda x, y: x.max(y): np.maximum(a, b)}
        cases |= {lambda x, y: x.copysign(y): np.copysign(a, b)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for got, want in zip(each(list(cases), kind, a, b), cases.values()):
            assert got[: a.itemsize] == want.tobytes()
    got = each(COMPARE, kind, a, b)
    assert [data[:4] for data in got] == [struct.pack("<i", int(op(a, b)[0])) for op in COMPARE]


@pytest.mark.parametrize("source", SCALARS, ids=lambda k: k.__name__)
@pytest.mark.parametrize("target", SCALARS, ids=lambda k: k.__name__)
def test_scalar_conversions(source: Any, target: Any) -> None:
    dtype = SCALARS[target]
    a = np.array([77], SCALARS[source])
    (got,) = each([lambda x: x.to(target)], source, a)
    assert got[: np.dtype(dtype).itemsize] == a.astype(dtype).tobytes()
    if a.itemsize == np.dtype(dtype).itemsize:
        (got,) = each([lambda x: x.view(target)], source, a)
        assert got[: a.itemsize] == a.tobytes()
    else:
        with pytest.raises(TypeError, match="other width"):
            source.const(1).view(target)


def test_float_to_integer_conversions_saturate() -> None:
    (got,) = each([lambda x: x.to(I32)], F32, np.array([1e20], np.float32))
    assert got[:4] == struct.pack("<i", 2**31 - 1)
    (got,) = each([lambda x: x.to(U32)], F64, np.array([-5.0]))
    assert got[:4] == struct.pack("<I", 0)
