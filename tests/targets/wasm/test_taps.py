"""Folds over few taps on wasmtime against NumPy: depthwise convolutions, narrow groups, pooling,
their gradients, at sizes around every tile and vector."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tabgrad.compiler.collapse import collapse
from tabgrad.ir import build as b
from tabgrad.ir.graph import make
from tabgrad.ir.reverse import cotangents
from tabgrad.targets.wasm import correlation, taps
from tests.targets.wasm.arrays import normal, whole_numbers
from tests.targets.wasm.computing import Given, compute, machine
from tests.targets.wasm.convolving import (
    LAST,
    check_convolutions,
    conv_case,
    first,
    gradients,
)

SAME, VALID = ((1, 1), (1, 1)), ((0, 0), (0, 0))


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small kernels as well."""
    monkeypatch.setattr(taps, "MIN_STEPS", 0)
    monkeypatch.setattr(correlation, "MIN_STEPS", 0)


def ways(variant: str) -> list[str]:
    """How the folds of the last Program were computed."""
    found = []
    for kernel in machine(variant)[1].kernels():
        if kernel.kind == "reduce":
            by = [("correlation", correlation.of), ("taps", taps.of)]
            made = [name for name, of in by if of(collapse(kernel), variant == "fma")]
            found.append(made[0] if made else "loops")
    return found


def depthwise(size: tuple[int, ...], channels: int, window: tuple[int, ...], multiplier: int = 1,
              rows: int = 2, **params: Any) -> tuple[Any, ...]:  # fmt: skip
    return conv_case(
        (rows, *size, channels), (*window, 1, channels * multiplier), groups=channels, **params
    )


def check(variant: str, cases: list[Any], way: str = "taps") -> None:
    check_convolutions(variant, cases)
    assert set(ways(variant)) == {way}


def check_gradients(variant: str, case: Any, expected: list[str] | None = None) -> None:
    given, nodes, picks = gradients(*case)
    slopes = compute(nodes, given.arrays, variant)
    for operand, flat, true in picks:
        assert slopes[operand].flat[flat] == true
    if expected is not None:
        assert ways(variant) == expected


# Depthwise convolutions


@pytest.mark.parametrize("columns", [4, 6, 7, 8, 9, 14, 15, 16, 17, 25])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_columns(variant: str, columns: int, stride: int) -> None:
    check(variant, [
        depthwise((5, columns), 5, (3, 3), strides=(stride,) * 2, padding=padding)
        for padding in (SAME, VALID, ((0, 1), (0, 1)), ((2, 0), (2, 3)))
    ])  # fmt: skip


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 130])
def test_lanes(variant: str, channels: int) -> None:
    cases = [depthwise((6, 9), channels, (3, 3), padding=SAME)]
    check_convolutions(variant, cases)
    assert channels == 1 or ways(variant) == ["taps"]
    check_gradients(variant, cases[0])


@pytest.mark.parametrize("window", [(1, 2), (2, 2), (3, 1), (1, 5), (5, 5), (7, 7), (2, 9)])
@pytest.mark.parametrize("stride", [1, 2])
def test_windows(variant: str, window: tuple[int, int], stride: int) -> None:
    padding = tuple((n // 2, n - 1 - n // 2) for n in window)
    cases = [
        depthwise((12, 19), 6, window, strides=(stride,) * 2, padding=padding),
        depthwise((12, 19), 6, window, strides=(stride,) * 2, rhs_dilation=(2, 1), padding=padding),
        depthwise((20, 30), 6, window, rhs_dilation=(1, 3), padding=((0, 0), (9, 12))),
    ]
    check(variant, cases)
    for case in cases:
        check_gradients(variant, case)


@pytest.mark.parametrize(("columns", "holes", "pieces"), [(91, 6, 3), (33, 6, 1)])
def test_wide_borders_are_asked_for(variant: str, columns: int, holes: int, pieces: int) -> None:
    """Where a row would fall into too many pieces."""
    pad = 4 * holes
    case = depthwise((4, columns), 5, (1, 9), rhs_dilation=(1, holes),
                     padding=((0, 0), (pad, pad)))  # fmt: skip
    check(variant, [case])
    plan = taps.of(collapse(machine(variant)[1].kernels()[-1]), variant == "fma")
    assert plan is not None and [piece.turns for piece in plan.pieces][::2] == [1, 1][:pieces]
    assert len(plan.pieces) == pieces
    check_gradients(variant, case)


@pytest.mark.parametrize("window", [(9, 9), (1, 31)])
def test_many_taps(variant: str, window: tuple[int, int]) -> None:
    padding = tuple((n // 2, n // 2) for n in window)
    case = depthwise((13, 70), 6, window, padding=padding)
    check(variant, [case])
    check_gradients(variant, case, ["taps", "correlation"] if window[0] > 1 else None)
    line = depthwise((90,), 6, window[1:], rows=1, padding=padding[1:])
    check(variant, [line])


@pytest.mark.parametrize("multiplier", [2, 3, 4, 8])
@pytest.mark.parametrize("stride", [1, 2])
def test_several_results_for_a_channel(variant: str, multiplier: int, stride: int) -> None:
    case = depthwise((9, 11), 6, (3, 3), multiplier, strides=(stride,) * 2, padding=SAME)
    check_convolutions(variant, [case])
    if multiplier in (2, 4):
        assert ways(variant) == ["taps"]
    check_gradients(variant, case)


@pytest.mark.parametrize("share", [1, 2, 4, 5])
@pytest.mark.parametrize("each", [2, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_narrow_groups(variant: str, share: int, each: int, stride: int) -> None:
    groups = 5
    case = conv_case(
        (3, 10, 9, groups * share), (3, 3, share, groups * each), groups=groups,
        strides=(stride,) * 2, padding=SAME,
    )  # fmt: skip
    check(variant, [case])
    check_gradients(variant, case)


@pytest.mark.parametrize("rank", [1, 3])
def test_other_ranks(variant: str, rank: int) -> None:
    size, window = (9, 8, 17)[-rank:], (3,) * rank
    for rows, stride in itertools.product((1, 2), (1, 2)):
        case = depthwise(size, 5, window, rows=rows, strides=(stride,) * rank,
                         padding=((1, 1),) * rank)  # fmt: skip
        check(variant, [case])
        check_gradients(variant, case)


def test_channels_first(variant: str) -> None:
    shapes = (2, 6, 11, 13), (6, 1, 3, 3)
    cases = [conv_case(*shapes, groups=6, dims=first(2), padding=p) for p in (SAME, VALID)]
    cases.append(conv_case(shapes[0], (3, 3, 1, 6), groups=6, padding=SAME,
                           dims=(first(2)[0], LAST[2][1], LAST[2][2])))  # fmt: skip
    check_convolutions(variant, cases)
    for case in cases:
        check_gradients(variant, case)


def test_gradients_are_computed_in_tiles(variant: str) -> None:
    for stride in (1, 2):
        case = depthwise((14, 17), 9, (3, 3), strides=(stride,) * 2, padding=SAME)
        check_gradients(variant, case, ["taps", "correlation"])


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_floats(variant: str, dtype: str) -> None:
    case = depthwise((9, 13), 7, (3, 3), padding=SAME)
    x = whole_numbers(*case[0], low=-2, high=3).astype(dtype)
    w = whole_numbers(*case[1], seed=1, low=-2, high=3).astype(dtype)
    given, check32 = Given(), Given()
    wide = [check32(x.astype("float32")), check32(w.astype("float32"))]
    nodes = [make("conv", given(x), given(w), **case[2])]
    expected = compute([make("conv", *wide, **case[2])], check32.arrays, variant)
    slope = given(whole_numbers(*nodes[0].shape, seed=2, low=-2, high=3).astype(dtype))
    nodes += [g for g in cotangents(nodes, [slope], list(given.arrays)[:2]) if g is not None]
    got = compute(nodes, given.arrays, variant)
    np.testing.assert_array_equal(got[0].astype("float32"), expected[0])
    if dtype == "float64":
        wide_slope = check32(given.arrays[slope].astype("float32"))
        made = make("conv", *wide, **case[2])
        expected = compute(
            [g for g in cotangents([made], [wide_slope], wide) if g is not None],
            check32.arrays, variant,
        )  # fmt: skip
        for mine, true in zip(got[1:], expected, strict=True):
            np.testing.assert_array_equal(mine, true)


# Order and special values


def test_sums_run_in_the_order_of_taps() -> None:
    """Bit for bit, whatever the tile: taps one by one, and rows of outputs for the kernel."""
    rows, size, channels = 2, 19, 6
    x, w = normal(rows, size, size, channels), normal(3, 3, 1, channels, seed=1)
    slope = normal(rows, size, size, channels, seed=2)
    case = depthwise((size, size), channels, (3, 3), rows=rows, padding=SAME)
    given = Given()
    nodes = [given(x), given(w), given(slope)]
    made = make("conv", *nodes[:2], **case[2])
    grads = cotangents([made], [nodes[2]], nodes[:2])
    got = compute([made, *(g for g in grads if g is not None)], given.arrays, "deterministic")
    wide = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    total = np.zeros_like(x)
    for i, j in itertools.product(range(3), repeat=2):
        total = total + wide[:, i : i + size, j : j + size] * w[i, j, 0]
    np.testing.assert_array_equal(got[0], total)
    wide_slope = np.pad(slope, ((0, 0), (1, 1), (1, 1), (0, 0)))
    total = np.zeros_like(x)
    for i, j in itertools.product(range(3), repeat=2):
        total = total + wide_slope[:, i : i + size, j : j + size] * w[2 - i, 2 - j, 0]
    np.testing.assert_array_equal(got[1], total)
    for i, j in itertools.product(range(3), repeat=2):
        sums = np.zeros(channels, np.float32)
        for n, r in itertools.product(range(rows), range(size)):
            line = np.zeros(channels, np.float32)
            for c in range(size):
                line = line + wide[n, r + i, c + j] * slope[n, r, c]
            sums = sums + line
        np.testing.assert_array_equal(got[2][i, j, 0], sums)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_an_image_is_the_same_in_any_batch(variant: str, multiplier: int,
                                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.undo()
    x, w = normal(40, 4, 5, 6), normal(3, 3, 1, 6 * multiplier, seed=1)
    results = []
    for rows in (1, 2, 40):
        case = depthwise((4, 5), 6, (3, 3), multiplier, rows=rows, padding=SAME)
        given = Given()
        node = make("conv", given(x[:rows]), given(w), **case[2])
        results.append(compute([node], given.arrays, variant)[0])
    for got in results:
        np.testing.assert_array_equal(got, results[-1][: len(got)])


def test_a_border_may_lie_below_the_first_address(variant: str) -> None:
    """What follows a convolution may read a few rows before the beginning of memory, guarded."""
    rows = 30
    case = depthwise((40 + rows, 40), 40, (3, 3), rows=1, padding=SAME)
    x, w = whole_numbers(*case[0]), whole_numbers(*case[1], seed=1)
    rest = whole_numbers(1, 40, 40, 40, seed=3)
    given = Given()
    nodes = [given(a) for a in (rest, x, w)]
    y = make("conv", *nodes[1:], **case[2])
    low = (0, rows, 0, 0)
    moved = make("pad", nodes[0], b.const(0.0, y.dtype), low=low, high=(0,) * 4, interior=(0,) * 4)
    plain, got = compute([y, b.add(y, moved)], given.arrays, variant)
    wide = np.pad(rest, ((0, 0), (rows, 0), (0, 0), (0, 0)))
    np.testing.assert_array_equal(got, plain + wide)


def test_what_is_outside_adds_nothing(variant: str) -> None:
    """Not even where a weight is infinite or no number."""
    x, w = np.ones((1, 9, 9, 4), np.float32), np.ones((3, 3, 1, 4), np.float32)
    w[0, 0] = np.inf
    case = depthwise((9, 9), 4, (3, 3), rows=1, padding=SAME)
    given = Given()
    (got,) = compute([make("conv", given(x), given(w), **case[2])], given.arrays, variant)
    assert np.isfinite(got[:, 0]).all() and np.isfinite(got[:, :, 0]).all()
    assert np.isinf(got[:, 1:, 1:]).all()


# Pooling


def windows(x: Any, p: dict[str, Any], fill: Any) -> Any:
    """The elements of every window, along a last axis."""
    wide = np.pad(x, p["padding"], constant_values=fill)
    parts = []
    out = None
    for tap in itertools.product(*map(range, p["window"])):
        at = []
        for d, k in enumerate(tap):
            span = (p["window"][d] - 1) * p["dilation"][d] + 1
            count = (wide.shape[d] - span) // p["strides"][d] + 1
            start = k * p["dilation"][d]
            at.append(slice(start, start + (count - 1) * p["strides"][d] + 1, p["strides"][d]))
        parts.append(wide[tuple(at)])
        out = parts[-1].shape
    assert out is not None
    return np.stack(parts, -1)


def pooling(window: int, stride: int, pad: tuple[int, int], dilation: int = 1) -> dict[str, Any]:
    return {
        "window": (1, window, window, 1), "strides": (1, stride, stride, 1),
        "padding": ((0, 0), pad, pad, (0, 0)), "dilation": (1, dilation, dilation, 1),
    }  # fmt: skip


POOLS = [
    pooling(2, 2, (0, 0)), pooling(3, 2, (0, 1)), pooling(3, 2, (1, 1)), pooling(3, 1, (1, 1)),
    pooling(2, 1, (0, 1)), pooling(3, 3, (0, 0)), pooling(3, 2, (2, 2), 2), pooling(5, 3, (2, 1)),
]  # fmt: skip


@pytest.mark.parametrize("p", POOLS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "float16", "int8"])
def test_pooling(variant: str, p: dict[str, Any], dtype: str) -> None:
    for columns, channels in ((9, 5), (16, 8), (17, 4), (8, 1)):
        x = whole_numbers(2, 10, columns, channels, seed=columns).astype(dtype)
        given = Given()
        node = given(x)
        limits = np.finfo(dtype) if dtype.startswith("f") else np.iinfo(dtype)
        low, high = (limits.min, limits.max) if dtype[0] == "i" else (-np.inf, np.inf)
        expected = {
            "max": windows(x, p, low).max(-1), "min": windows(x, p, high).min(-1),
            "sum": windows(x, p, 0).sum(-1, dtype=dtype),
        }  # fmt: skip
        places = windows(np.arange(x.size, dtype=np.int32).reshape(x.shape), p, 2**31 - 1)
        best = windows(x, p, low).astype("float64")
        first_best = np.where(best == best.max(-1, keepdims=True), places, 2**31 - 1).min(-1)
        nodes = [make("window_reduce", node, op=op, **p) for op in expected]
        nodes.append(make("window_argmax", node, **p))
        got = compute(nodes, given.arrays, variant)
        for (op, true), mine in zip(expected.items(), got, strict=False):
            np.testing.assert_array_equal(mine, true, err_msg=op)
        np.testing.assert_array_equal(got[-1], first_best)
        if channels > 1:
            assert set(ways(variant)) == {"taps"}


@pytest.mark.parametrize("p", POOLS, ids=str)
def test_pooling_of_what_is_no_number(variant: str, p: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    x = rng.choice([1.0, -2.0, np.nan, np.inf, -np.inf, -np.inf], (2, 11, 17, 6)).astype("f4")
    given = Given()
    node = given(x)
    got = compute(
        [make("window_reduce", node, op=op, **p) for op in ("max", "min")]
        + [make("window_argmax", node, **p)],
        given.arrays, variant,
    )  # fmt: skip
    np.testing.assert_array_equal(got[0], windows(x, p, -np.inf).max(-1))
    np.testing.assert_array_equal(got[1], windows(x, p, np.inf).min(-1))
    # The first NaN, else the first of the largest; what is outside loses even against -inf.
    values, places = (
        windows(x, p, -np.inf),
        windows(np.arange(x.size, dtype=np.int32).reshape(x.shape), p, 2**31 - 1),
    )
    any_nan = np.isnan(values).any(-1, keepdims=True)
    best = np.where(any_nan, np.isnan(values), values == values.max(-1, keepdims=True))
    np.testing.assert_array_equal(got[2], np.where(best, places, 2**31 - 1).min(-1))


@pytest.mark.parametrize("p", POOLS, ids=str)
def test_gradients_of_pooling(variant: str, p: dict[str, Any]) -> None:
    x = np.random.default_rng(1).permutation(2 * 10 * 13 * 5).reshape(2, 10, 13, 5).astype("f4")
    given = Given()
    node = given(x)
    for op in ("max", "sum"):
        y = make("window_reduce", node, op=op, **p)
        slope = whole_numbers(*y.shape, seed=3)
        nodes = cotangents([y], [given(slope)], [node])
        (got,) = compute([n for n in nodes if n is not None], given.arrays, variant)
        values = windows(x, p, -np.inf)
        places = windows(np.arange(x.size).reshape(x.shape), p, -1)
        true = np.zeros(x.size, np.float32)
        for tap in range(values.shape[-1]):
            takes = values.argmax(-1) == tap if op == "max" else places[..., tap] >= 0
            np.add.at(true, places[..., tap][takes], slope[takes])
        np.testing.assert_array_equal(got.ravel(), true)
        del given.arrays[list(given.arrays)[-1]]


# What follows


@pytest.mark.parametrize("channels", [3, 4, 9])
def test_what_follows_is_one_kernel(variant: str, channels: int) -> None:
    """Scale, shift, a residual (with a border of its own) and limits."""
    case = depthwise((7, 11), channels, (3, 3), padding=SAME)
    x, w = whole_numbers(*case[0]), whole_numbers(*case[1], seed=1)
    scale, rest = whole_numbers(channels, seed=2), whole_numbers(2, 5, 9, channels, seed=3)
    given = Given()
    nodes = [given(a) for a in (x, w, scale, rest)]
    y = make("conv", *nodes[:2], **case[2])
    plain = compute([y], given.arrays, variant)[0]
    low = (0, 1, 1, 0)
    moved = make("pad", nodes[3], b.const(2.0, y.dtype), low=low, high=low, interior=(0,) * 4)
    y = b.add(b.mul(y, b.broadcast(nodes[2], y.shape, (3,))), moved)
    y = make("min", make("max", y, b.like(y, 0)), b.like(y, 6))
    (got,) = compute([y], given.arrays, variant)
    wide = np.pad(rest, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=2)
    np.testing.assert_array_equal(got, np.clip(plain * scale + wide, 0, 6))
    assert ways(variant) == ["taps"]
