"""The op table: reductions, softmax and products of matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy import special

import tabgrad as tg
from tests.ops.comparing import SIZES, VIEWS, Array, Case, integers, random

AXES: tuple[tuple[tuple[int, ...], int | tuple[int, ...] | None], ...] = (
    ((), None),
    ((1,), None),
    ((7,), 0),
    ((8,), None),
    ((17,), -1),
    ((3, 5), None),
    ((3, 5), 0),
    ((5, 17), 1),
    ((16, 9), 0),
    ((2, 3, 4), (0, 2)),
    ((2, 3, 4), 1),
    ((2, 3, 4), (-1, -2)),
    ((4, 1, 8), 1),
    ((1, 33, 2), 1),
    ((0, 4), 1),
    ((300,), None),
)


def _keyed(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return lambda *xs: function(*xs, **options)


def reduction(
    op: str,
    oracle: Callable[..., Any],
    ulp: float | None,
    scale: Callable[..., Any] | None = None,
    *,
    low: float = -3,
    high: float = 3,
    empty: bool = True,
) -> Iterator[Case]:
    """Over shapes, axes, keepdims and views. `ulp` counts in units of `scale` where it is given."""
    call = getattr(tg.ops, op)
    sizes = [*(((n,), None) for n in SIZES if n), *(((n, 3), 0) for n in SIZES if n)]
    cases = [*AXES, *(pair for pair in sizes if pair not in AXES)]
    if empty:
        cases += [((0,), None), ((3, 0), 1), ((0, 4), 0)]
    for shape, axis in cases:
        for keepdims in (False, True):
            options = {"axis": axis, "keepdims": keepdims}
            for view in VIEWS:
                quick = view == "as given" and not keepdims and (shape, axis) in AXES
                quick |= shape in ((2, 3, 4), (5, 17)) and keepdims is (view != "transposed")
                yield Case(
                    op, f"{list(shape)} axis {axis} keepdims {keepdims}, {view}",
                    _keyed(call, **options), _keyed(oracle, **options),
                    (random(shape, 1, low, high),), ulp,
                    _keyed(scale, **options) if scale else None,
                    view=view, slow=not quick,
                )  # fmt: skip


def of_integers(
    op: str, oracle: Callable[..., Any], dtypes: Sequence[str], result: Callable[[str], str]
) -> Iterator[Case]:
    for dtype in dtypes:
        for shape, axis in (((17,), None), ((5, 9), 0), ((5, 9), 1)):
            yield Case(
                op, f"{dtype} {list(shape)} axis {axis}", _keyed(getattr(tg.ops, op), axis=axis),
                lambda x, axis=axis, dtype=dtype: np.asarray(oracle(x, axis=axis)).astype(
                    result(dtype)
                ),
                (integers(shape, 1, dtype=dtype),),
            )  # fmt: skip


def _widened(dtype: str) -> str:
    small = {"int8": "int32", "int16": "int32", "bool": "int32"}
    return {**small, "uint8": "uint32", "uint16": "uint32"}.get(dtype, dtype)


def _sum_abs(x: Array, **options: Any) -> Array:
    return np.sum(np.abs(x), **options)


def _mean_abs(x: Array, **options: Any) -> Array:
    return np.mean(np.abs(x), **options)


def _product(x: Array, **options: Any) -> Array:
    return np.abs(np.prod(x, **options)) * np.maximum(np.sum(np.ones_like(x), **options), 1)


def _mean_square(x: Array, **options: Any) -> Array:
    return np.mean(x * x, **options)


def _std_scale(x: Array, **options: Any) -> Array:
    # The relative error of a square root is half that of what it is taken of.
    return np.mean(x * x, **options) / np.maximum(np.std(x, **options), 1e-3)


def _arg(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, **options: np.asarray(function(x, **options)).astype(np.int32)


def _logsumexp(x: Array, **options: Any) -> Array:
    # SciPy gives a 0-d array an axis when dimensions are kept.
    return np.reshape(special.logsumexp(x, **options), np.shape(np.sum(x, **options)))


def _logsumexp_scale(x: Array, **options: Any) -> Array:
    return np.max(np.abs(x), **options) + 1


def reductions() -> Iterator[Case]:
    # Few ULP of the sum of magnitudes: the order of the sum is the engine's, its error is not.
    yield from reduction("sum", np.sum, 4, _sum_abs)
    yield from reduction("mean", np.mean, 4, _mean_abs, empty=False)
    yield from reduction("prod", np.prod, 2, _product, low=0.5, high=1.5)
    yield from reduction("max", np.max, None, empty=False)
    yield from reduction("min", np.min, None, empty=False)
    yield from reduction("var", np.var, 8, _mean_square, empty=False)
    yield from reduction("std", np.std, 8, _std_scale, empty=False)
    yield from reduction("any", lambda x, **o: np.any(x, **o), None)
    yield from reduction("all", lambda x, **o: np.all(x, **o), None)
    yield from reduction("logsumexp", _logsumexp, 4, _logsumexp_scale, empty=False)
    yield from reduction("norm", lambda x, **o: np.sqrt(np.sum(x * x, **o)), 4)
    integer = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
    yield from of_integers("sum", np.sum, integer, _widened)
    yield from of_integers("prod", np.prod, ("int8", "int32", "int64", "uint32", "bool"), _widened)
    yield from of_integers("max", np.max, integer, lambda d: d)
    yield from of_integers("min", np.min, integer, lambda d: d)
    yield from of_integers("any", np.any, ("int32", "bool"), lambda d: "bool")
    yield from of_integers("all", np.all, ("int32", "bool"), lambda d: "bool")
    yield from of_integers("count_nonzero", np.count_nonzero, ("int32", "bool"), lambda d: "int32")
    yield Case(
        "sum",
        "wraps",
        tg.ops.sum,
        lambda x: np.sum(x, dtype=np.int32),
        (np.int32([2**31 - 1, 1, 5]),),
    )
    yield Case("mean", "integers", tg.ops.mean, np.mean, (integers((7,)),), 1)
    for op in ("amax", "amin"):
        yield Case(op, "[3, 5]", getattr(tg.ops, op), getattr(np, op), (random((3, 5)),))
    for name, values in {
        "nan": [1, np.nan, 3, np.inf], "infinities": [np.inf, 1, -np.inf], "inf": [np.inf, 1, 2],
        "minus inf": [-np.inf, -np.inf], "zeros": [0.0, -0.0], "late nan": [0] * 16 + [np.nan],
    }.items():  # fmt: skip
        x = np.float32(values)
        for op, oracle in (
            ("sum", np.sum),
            ("max", np.max),
            ("min", np.min),
            ("mean", np.mean),
            ("prod", np.prod),
            ("logsumexp", special.logsumexp),
        ):
            yield Case(op, name, getattr(tg.ops, op), oracle, (x,), 1)
        yield Case("argmax", name, tg.ops.argmax, _arg(np.argmax), (x,))
        yield Case("argmin", name, tg.ops.argmin, _arg(np.argmin), (x,))
    for op, function in (("argmax", np.argmax), ("argmin", np.argmin)):
        call, oracle = getattr(tg.ops, op), _arg(function)
        for shape, axis in (
            ((1,), None),
            ((5, 17), None),
            ((5, 17), 0),
            ((5, 17), 1),
            ((2, 3, 4), 1),
            ((2, 9, 8), -1),
            *(((n,), 0) for n in SIZES if n),
        ):
            for view in VIEWS:
                options = {"axis": axis, "keepdims": len(shape) > 1}
                yield Case(
                    op,
                    f"{list(shape)} axis {axis}, {view}",
                    _keyed(call, **options),
                    _keyed(oracle, **options),
                    (np.float32(integers(shape, 1, -3, 4)),),
                    view=view,
                    slow=view != "as given" and shape != (5, 17),
                )
        for dtype in ("bool", "int8", "uint32"):
            yield Case(
                op,
                dtype,
                _keyed(call, axis=0),
                _keyed(oracle, axis=0),
                (integers((9, 3), 1, dtype=dtype),),
            )
    yield Case(
        "count",
        "[2, 3, 4]",
        _keyed(tg.ops.count, axis=(0, 2)),
        lambda x: np.int32(x.shape[0] * x.shape[2]),
        (random((2, 3, 4)),),
    )
    yield Case(
        "moments",
        "[4, 5]",
        _keyed(tg.ops.moments, axes=(0,)),
        lambda x: [np.mean(x, axis=0), np.var(x, axis=0)],
        (random((4, 5)),),
        8,
        lambda x: [np.mean(np.abs(x), axis=0), np.mean(x * x, axis=0)],
    )
    yield Case(
        "logsumexp",
        "large",
        tg.ops.logsumexp,
        special.logsumexp,
        (np.float32([1000, 1000.5, -1000]),),
        2,
    )


def softmaxes() -> Iterator[Case]:
    for shape, axis in (
        ((5,), -1),
        ((3, 7), -1),
        ((3, 7), 0),
        ((2, 3, 4), 1),
        ((2, 3, 4), (1, 2)),
        ((4, 10), -1),
        ((1, 1), -1),
        ((3, 17), 1),
    ):
        for view in VIEWS:
            slow = view != "as given" and shape != (3, 7)
            x = (random(shape, 1, -10, 10),)
            label = f"{list(shape)} axis {axis}, {view}"
            yield Case(
                "softmax",
                label,
                _keyed(tg.ops.softmax, axis=axis),
                _keyed(special.softmax, axis=axis),
                x,
                16,
                view=view,
                slow=slow,
            )
            yield Case(
                "log_softmax",
                label,
                _keyed(tg.ops.log_softmax, axis=axis),
                _keyed(special.log_softmax, axis=axis),
                x,
                4,
                lambda x: np.abs(x) + 20,
                view=view,
                slow=slow,
            )
    big = (np.float32([[1e4, 0, -1e4], [88, 89, 90], [-np.inf, 0, 1], [3e38, -3e38, 0]]),)
    yield Case("softmax", "large", tg.ops.softmax, _keyed(special.softmax, axis=-1), big, 16)
    yield Case(
        "log_softmax", "large", tg.ops.log_softmax, _keyed(special.log_softmax, axis=-1), big, 4
    )


def _magnitudes(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *xs: function(*(np.abs(x) for x in xs))


def product(
    op: str,
    label: str,
    oracle: Callable[..., Any],
    shapes: Sequence[tuple[int, ...]],
    call: Callable[..., Any] | None = None,
    *,
    slow: bool = False,
    views: bool = False,
) -> Iterator[Case]:
    inputs = tuple(random(shape, seed) for seed, shape in enumerate(shapes))
    for view in VIEWS:
        yield Case(
            op,
            f"{label} {list(map(list, shapes))}, {view}",
            call or getattr(tg.ops, op),
            oracle,
            inputs,
            4,
            _magnitudes(oracle),
            view=view,
            slow=slow or (view != "as given" and not views),
        )


def products() -> Iterator[Case]:
    for m, k, n in (
        (1, 1, 1),
        (1, 5, 1),
        (3, 4, 5),
        (8, 8, 8),
        (7, 9, 15),
        (16, 17, 9),
        (1, 33, 7),
        (33, 1, 4),
        (5, 3, 1),
        (4, 64, 16),
        (65, 70, 33),
    ):
        yield from product("matmul", "", np.matmul, [(m, k), (k, n)], views=m == 7)
    for left, right in (
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((4,), (4, 3)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((5, 1, 2, 3), (4, 3, 2)),
        ((1, 2, 3), (4, 3, 2)),
        ((2, 2, 3), (3,)),
        ((3,), (2, 3, 4)),
        ((0, 4), (4, 5)),
        ((3, 0), (0, 5)),
        ((2, 17, 9), (2, 9, 16)),
    ):
        yield from product("matmul", "", np.matmul, [left, right])
    for m in SIZES[1:]:
        for n in SIZES[1:]:
            yield from product("matmul", "sizes", np.matmul, [(m, 5), (5, n)], slow=True)
    for left, right in (
        ((4,), (4,)),
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4,)),
        ((2, 3, 4), (5, 4, 2)),
        ((), (3,)),
    ):
        yield from product("dot", "", np.dot, [left, right])
    yield from product("outer", "", np.outer, [(3,), (5,)])
    yield from product("outer", "", np.outer, [(2, 2), (3,)])
    yield from product("vecdot", "", lambda x, y: np.sum(x * y, -1), [(3, 5), (5,)])
    yield from product("tensordot", "2", lambda x, y: np.tensordot(x, y, 2), [(2, 3, 4), (3, 4, 5)])
    for axes in (1, 0, ((0, 2), (2, 0)), ((-1,), (1,))):
        yield from product(
            "tensordot", str(axes), lambda x, y, a=axes: np.tensordot(x, y, a),
            [(2, 3, 4), (4, 5, 2)] if axes != ((-1,), (1,)) else [(2, 3, 4), (3, 4)],
            lambda x, y, a=axes: tg.ops.tensordot(x, y, a),
        )  # fmt: skip
    for equation, shapes in (
        ("ij,jk->ik", [(3, 4), (4, 5)]), ("ij->ji", [(3, 4)]), ("ij->", [(3, 4)]),
        ("ii->i", [(4, 4)]), ("ii", [(4, 4)]), ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("i,j->ij", [(3,), (4,)]), ("ij,j", [(3, 4), (4,)]), ("ijk,k->ij", [(2, 3, 4), (4,)]),
        ("bqhd,bkhd->bhqk", [(2, 3, 2, 4), (2, 5, 2, 4)]),
        ("...ij,...jk->...ik", [(2, 3, 4), (4, 2)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]), ("ij,kl->", [(2, 3), (2, 2)]),
        ("ij,ij->ij", [(2, 3), (2, 3)]), ("ba,b->a", [(3, 4), (3,)]),
        ("iij,j->i", [(3, 3, 2), (2,)]),
    ):  # fmt: skip
        yield from product(
            "einsum", equation, lambda *xs, e=equation: np.einsum(e, *xs), shapes,
            lambda *xs, e=equation: tg.ops.einsum(e, *xs),
        )  # fmt: skip
    for dtype in ("int32", "uint8"):
        yield Case(
            "matmul",
            dtype,
            tg.ops.matmul,
            np.matmul,
            (integers((3, 4), 0, dtype=dtype), integers((4, 5), 1, dtype=dtype)),
        )
    special_rows = np.float32([[np.nan, 1], [np.inf, 1], [0, 1]])
    yield Case(
        "matmul",
        "special values",
        tg.ops.matmul,
        np.matmul,
        (special_rows, np.float32([[1, 0], [1, 1]])),
        1,
    )


CASES = [case for part in (reductions, softmaxes, products) for case in part()]
