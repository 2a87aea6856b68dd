"""Builders of rows of the op table: one function over sizes, views and special values.

What a row is, and how it is compared, is in comparing.py.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.comparing import (
    SIZES,
    VIEWS,
    Array,
    Case,
    integers,
    largest,
    pairs,
    random,
    remembered,
    special_floats,
    special_integers,
)

os.environ.setdefault("KERAS_BACKEND", "jax")

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

SHAPES = (*((n,) for n in SIZES), (), (1, 1), (3, 5), (2, 1, 9), (0, 4), (33,))


def layouts(
    op: str,
    call: Callable[..., Any],
    oracle: Callable[..., Any],
    make: Callable[..., Any],
    scale: Callable[..., Any] | None = None,
    **options: Any,
) -> Iterator[Case]:
    """The same function over sizes and views; `make(shape)` gives the arguments.

    One Program computes all sizes of one view, because compiling each alone takes a minute; the
    slow cases do compile each alone.
    """
    small = [shape for shape in SHAPES if shape in ((0,), (1,), (5,), (8,), (17,), (), (3, 5))]
    for view in VIEWS:
        arguments = [tuple(make(shape)) for shape in small]
        count = len(arguments[0])

        def call_all(*xs: Any, view: str = view, count: int = count) -> list[Any]:
            return [call(*xs[i : i + count]) for i in range(0, len(xs), count)]

        def oracle_all(*xs: Array, count: int = count) -> list[Array]:
            return [oracle(*xs[i : i + count]) for i in range(0, len(xs), count)]

        def scale_all(*xs: Array, count: int = count) -> list[Array]:
            assert scale is not None
            return [scale(*xs[i : i + count]) for i in range(0, len(xs), count)]

        inputs = tuple(x for group in arguments for x in group)
        yield Case(
            op,
            f"sizes, {view}",
            call_all,
            oracle_all,
            inputs,
            view=view,
            scale=scale_all if scale else None,
            **options,
        )
        for shape in SHAPES:
            label = f"{list(shape)}, {view}"
            yield Case(
                op,
                label,
                call,
                oracle,
                tuple(make(shape)),
                view=view,
                slow=True,
                scale=scale,
                **options,
            )


def unary(
    op: str,
    oracle: Callable[..., Any],
    ulp: float | None,
    low: float = -3,
    high: float = 3,
    *,
    values: Array | None = None,
    label: str = "",
    call: Callable[..., Any] | None = None,
    **options: Any,
) -> Iterator[Case]:
    """A function of one float; `low` and `high` bound the arguments of the layout cases."""
    function = call or getattr(tg.ops, op)
    chosen = special_floats() if values is None else values
    yield Case(op, f"special values {label}", function, oracle, (chosen,), ulp, **options)
    if not label:
        yield from layouts(
            op, function, oracle, lambda shape: [random(shape, 1, low, high)], ulp=ulp, **options
        )


def from_integers(op: str, oracle: Callable[..., Any], ulp: float) -> Iterator[Case]:
    """Integers given to a function of real numbers become float32 first."""
    for dtype in ("int32", "uint8", "bool"):
        yield Case(
            op,
            f"of {dtype}",
            getattr(tg.ops, op),
            lambda x: oracle(x.astype(np.float32).astype(np.float64)),
            (np.array([0, 1, 1, 0], dtype),),
            ulp,
        )


def binary(
    op: str,
    oracle: Callable[..., Any],
    ulp: float | None,
    *,
    values: Array | None = None,
    low: float = -3,
    high: float = 3,
    label: str = "",
    **options: Any,
) -> Iterator[Case]:
    """A function of two floats: all pairs of special values, sizes, views, broadcasting."""
    function = getattr(tg.ops, op)
    chosen = special_floats()[::3] if values is None else values
    yield Case(op, f"special pairs {label}", function, oracle, pairs(chosen), ulp, **options)
    yield from layouts(
        op,
        function,
        oracle,
        lambda shape: [random(shape, 1, low, high), random(shape, 2, low, high)],
        ulp=ulp,
        **options,
    )
    for left, right in (
        ((), (5,)),
        ((3, 1), (1, 4)),
        ((2, 3, 4), (4,)),
        ((1,), (2, 0)),
        ((2, 1, 3), (4, 1)),
        ((7, 1), (7, 9)),
        ((17,), (1,)),
    ):
        inputs = random(left, 3, low, high), random(right, 4, low, high)
        yield Case(op, f"{list(left)} with {list(right)}", function, oracle, inputs, ulp, **options)


def of_integers(
    op: str, oracle: Callable[..., Any], dtypes: tuple[str, ...] = INTEGERS, count: int = 2
) -> Iterator[Case]:
    """The same function on integers: exact, with the oracle's dtype."""
    for dtype in dtypes:
        values = special_integers(dtype)
        inputs = (values,) if count == 1 else pairs(values)
        yield Case(op, dtype, getattr(tg.ops, op), oracle, inputs)
        yield Case(
            op,
            f"{dtype} [17]",
            getattr(tg.ops, op),
            oracle,
            tuple(integers((17,), i, dtype=dtype) for i in range(count)),
        )


def moved(
    op: str,
    label: str,
    call: Callable[..., Any],
    oracle: Callable[..., Any],
    *inputs: Array,
    slow_views: bool = True,
) -> Iterator[Case]:
    """A call that moves elements: exact, from every view."""
    for view in VIEWS:
        yield Case(
            op,
            f"{label} {view}",
            call,
            oracle,
            inputs,
            view=view,
            slow=slow_views and view not in ("as given", "transposed"),
        )


def made(op: str, label: str, call: Callable[[], Any], expected: Any) -> Case:
    """A call without arguments."""
    return Case(op, label, call, lambda: expected, ())


def of_largest(oracle: Callable[..., Any]) -> Callable[..., Any]:
    """The scale of a comparison in units of the largest magnitude of each result."""

    def scale(*xs: Array) -> list[Array]:
        results = oracle(*xs)
        results = results if isinstance(results, list) else [results]
        return [np.full(np.shape(r), largest(r)) for r in results]

    return scale


def near(
    op: str, label: str, call: Callable[..., Any], oracle: Callable[..., Any], *inputs: Array,
    ulp: float = 16, dtype: str = "float32", slow: bool = False,
) -> Case:  # fmt: skip
    """Compared in units of the largest magnitude of the result; the oracle is asked once."""
    once = remembered(oracle)
    return Case(op, label, call, once, inputs, ulp, of_largest(once), dtype, slow=slow)


def keras_oracle(name: str, *args: Any, **options: Any) -> Callable[..., Array]:
    """keras.ops on JAX by name ("conv", "image.resize"), on float32 arrays."""

    def oracle(*xs: Array) -> Array:
        import keras

        given = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in xs]
        return np.asarray(operator.attrgetter(name)(keras.ops)(*given, *args, **options))

    return oracle
