"""The op table, part 1: functions of one element of each argument."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import special

import tabgrad as tg
from tests.ops.comparing import (
    SIZES,
    VIEWS,
    Array,
    Case,
    integers,
    pairs,
    random,
    special_floats,
    special_integers,
)

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

SHAPES = (*((n,) for n in SIZES), (), (1, 1), (3, 5), (2, 1, 9), (0, 4), (33,))


def _layouts(
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
        yield from _layouts(
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
    yield from _layouts(
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


def _python_floor_divide(x: Array, y: Array) -> Array:
    info = np.iinfo(x.dtype)
    span = 2**info.bits
    x, y = np.broadcast_arrays(x, y)
    exact = [int(a) // int(b) if b else 0 for a, b in zip(x.flat, y.flat, strict=True)]
    wrapped = [(v - int(info.min)) % span + int(info.min) for v in exact]
    return np.array(wrapped, x.dtype).reshape(x.shape)


def _python_mod(x: Array, y: Array) -> Array:
    x, y = np.broadcast_arrays(x, y)
    found = [int(a) % int(b) if b else 0 for a, b in zip(x.flat, y.flat, strict=True)]
    return np.array(found, x.dtype).reshape(x.shape)


def _softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


def _gelu_tanh(x: Array) -> Array:
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return x * special.expit(2 * inner)


def _gelu(x: Array) -> Array:
    return x * special.ndtr(x)


def _vanishing(function: Callable[..., Any]) -> Callable[..., Any]:
    """The scale of x times a factor that becomes subnormal: its last place counts x times."""
    return lambda x: np.abs(function(x)) + np.abs(x) * np.finfo(np.float32).tiny


def _silu(x: Array) -> Array:
    return x * special.expit(x)


def _mish(x: Array) -> Array:
    return x * np.tanh(_softplus(x))


def _elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def arithmetic() -> Iterator[Case]:
    yield from binary("add", np.add, 0.5)
    yield from binary("subtract", np.subtract, 0.5)
    yield from binary("multiply", np.multiply, 0.5)
    yield from binary("divide", np.divide, 0.5)
    yield from of_integers("add", np.add)
    yield from of_integers("subtract", np.subtract)
    yield from of_integers("multiply", np.multiply)
    yield from of_integers("floor_divide", _python_floor_divide)
    yield from of_integers("mod", _python_mod)
    yield from of_integers("remainder", _python_mod, ("int32",))
    yield from of_integers("absolute", np.abs, ("int32",), count=1)
    yield from binary("true_divide", np.divide, 0.5)
    yield from of_integers("maximum", np.maximum, (*INTEGERS, "bool"))
    yield from of_integers("minimum", np.minimum, (*INTEGERS, "bool"))
    yield from of_integers("negative", np.negative, ("int8", "int16", "int32", "int64"), count=1)
    yield from of_integers("abs", np.abs, (*INTEGERS, "bool"), count=1)
    yield from of_integers("sign", np.sign, ("int8", "int32", "uint8"), count=1)
    yield from of_integers("square", np.square, ("int32", "uint8"), count=1)
    # Quotients well away from whole numbers: there a float's rounding decides nothing.
    x = np.float32([7, -7, 7, -7, 5.5, 1.25, 100.3, -0.5, 1e6])
    y = np.float32([3, 3, -3, -3, 2, 0.5, 7, 1, 7])
    yield Case("floor_divide", "floats", tg.ops.floor_divide, np.floor_divide, (x, y), 0)
    yield Case("mod", "floats", tg.ops.mod, np.mod, (x, y), 1)
    yield Case(
        "mod",
        "special",
        tg.ops.mod,
        np.mod,
        (np.float32([np.nan, 1, 1, np.inf, 0]), np.float32([1, np.nan, 0, 2, 3])),
        1,
    )
    # NumPy's own float32 at the edges; only an infinity divided by zero is left open.
    edges = np.float32([0, -0.0, 1, -1, 2.5, -3, 7, 0.1, 0.3, 1e10, 1e-10, 1e38, 1e-40])
    grid = pairs(np.concatenate([edges, np.float32([np.inf, -np.inf, np.nan])]))
    kept = ~(np.isinf(grid[0]) & (grid[1] == 0))
    for op, oracle in (("floor_divide", np.floor_divide), ("mod", np.mod)):
        yield Case(op, "edges", getattr(tg.ops, op), oracle, (grid[0][kept], grid[1][kept]))
    yield from unary("negative", np.negative, None)
    yield from unary("abs", np.abs, None)
    yield from unary("sign", np.sign, 0)
    yield from unary("square", np.square, 0.5)
    yield from unary("reciprocal", np.reciprocal, 0.5)
    yield from unary("sqrt", np.sqrt, 0.5, low=0)
    yield from unary(
        "rsqrt",
        lambda x: 1 / np.sqrt(x),
        2,
        low=0.1,
        values=special_floats()[special_floats() != 0],
    )
    yield from binary("maximum", np.maximum, None)
    yield from binary("minimum", np.minimum, None)
    for op, function in (("add", np.add), ("multiply", np.multiply), ("maximum", np.maximum)):
        call = getattr(tg.ops, op)
        yield Case(
            op,
            "python scalar right",
            lambda x, call=call: call(x, 2),
            lambda x, function=function: function(x, 2),
            (random((5,)),),
            0.5,
        )
        yield Case(
            op,
            "python scalar left",
            lambda x, call=call: call(2, x),
            lambda x, function=function: function(2, x),
            (integers((5,)),),
        )
    yield Case(
        "divide", "integers", tg.ops.divide, np.divide, (integers((9,)), integers((9,), 1)), 0.5
    )
    yield Case(
        "add",
        "bool",
        tg.ops.add,
        lambda x, y: x.astype(np.int32) + y,
        pairs(np.array([False, True])),
    )
    yield Case("add", "int32 with float32", tg.ops.add, np.add, (integers((5,)), random((5,))), 0.5)
    yield Case(
        "add",
        "uint8 with int8",
        tg.ops.add,
        np.add,
        (integers((5,), dtype="uint8"), integers((5,), dtype="int8")),
    )


def rounding() -> Iterator[Case]:
    halves = np.arange(-9, 10, dtype=np.float32) / 2
    values = np.concatenate([special_floats(), halves, np.float32([8388607.5, -8388607.5])])
    for op, oracle in (
        ("floor", np.floor),
        ("ceil", np.ceil),
        ("trunc", np.trunc),
        ("round", np.rint),
    ):
        yield from unary(op, oracle, None, low=-20, high=20, values=values)
        yield Case(op, "integers", getattr(tg.ops, op), lambda x: x, (integers((5,)),))
    yield Case(
        "round",
        "decimals",
        lambda x: tg.ops.round(x, 2),
        lambda x: np.round(x, 2),
        (np.float32([1.234, -5.678, 0.125, 100.0]),),
        2,
    )
    for decimals, x in (
        (-1, np.float32([15, 25, -35.5, 1234567, 2])),
        (1, np.int32([15, -7])),
        (-1, np.int32([15, 25, -35, 1234567, 2])),
        (-2, np.uint8([50, 150, 249])),
    ):
        yield Case(
            "round",
            f"{decimals} decimals of {x.dtype.name}",
            lambda x, d=decimals: tg.ops.round(x, d),
            lambda x, d=decimals: np.round(x, d),
            (x,),
        )


def exponentials() -> Iterator[Case]:
    yield from unary("exp", np.exp, 2, low=-20, high=20)
    yield from unary("expm1", np.expm1, 2)
    yield from unary("log", np.log, 2, low=0.01)
    yield from unary("log1p", np.log1p, 2, low=-0.9)
    yield from unary("log2", np.log2, 2, low=0.01)
    yield from unary("log10", np.log10, 2, low=0.01)
    for op, oracle in (("exp", np.exp), ("log", np.log), ("sqrt", np.sqrt), ("tanh", np.tanh)):
        yield from from_integers(op, oracle, 4)
    yield from unary("sin", np.sin, 2)
    yield from unary("cos", np.cos, 2)
    yield from unary("tan", np.tan, 4)
    yield from unary("tanh", np.tanh, 4)
    yield from unary("sigmoid", special.expit, 4)
    yield from unary("erf", special.erf, 2)
    near = np.float32([0.5, 1, 1.5, 2, 3, 0.1, 10, 0.99, 1.01, 100])
    exponents = np.float32([-2, -1, -0.5, 0, 0.5, 1, 2, 3, 7.5])
    grid = tuple(a.ravel() for a in np.meshgrid(near, exponents))
    yield Case("power", "ordinary", tg.ops.power, np.power, grid, 4)
    odd = np.float32([0, -0.0, 1, -1, 2, -2, np.inf, -np.inf, np.nan, 0.5, -0.5])
    yield Case("power", "special", tg.ops.power, np.power, pairs(odd), 4)
    yield from _layouts(
        "power", tg.ops.power, np.power, lambda s: [random(s, 1, 0.1, 3), random(s, 2)], ulp=4
    )
    wide = np.float32([1e-30, 1e-5, 0.3, 7, 1e5, 1e30])
    yield Case(
        "power",
        "wide",
        tg.ops.power,
        np.power,
        tuple(a.ravel() for a in np.meshgrid(wide, np.float32([-1.2, 0.01, 1.1]))),
        4,
    )
    for exponent in (-1, 0.5, 1, 2, 3):
        yield Case(
            "power",
            f"to the {exponent}",
            lambda x, e=exponent: tg.ops.power(x, e),
            lambda x, e=exponent: np.power(x, e),
            (random((9,), low=0.1),),
            2,
        )
    yield Case(
        "power",
        "integers",
        tg.ops.power,
        np.power,
        (np.int32([2, 3, -2, 7, 0, 10]), np.int32([10, 4, 5, 0, 0, 3])),
    )
    yield Case(
        "power",
        "integers to a float",
        lambda x: tg.ops.power(x, 2.0),
        lambda x: np.power(x.astype(np.float64), 2),
        (integers((5,)),),
        1,
    )
    yield Case(
        "arctan2",
        "quadrants",
        tg.ops.arctan2,
        np.arctan2,
        pairs(np.float32([0, -0.0, 1, -1, 0.3, -7, np.inf, -np.inf, np.nan])),
        4,
    )
    yield from _layouts(
        "arctan2", tg.ops.arctan2, np.arctan2, lambda s: [random(s, 1), random(s, 2)], ulp=4
    )


def choosing() -> Iterator[Case]:
    comparisons = {
        "equal": np.equal, "not_equal": np.not_equal, "less": np.less,
        "less_equal": np.less_equal, "greater": np.greater, "greater_equal": np.greater_equal,
    }  # fmt: skip
    for op, oracle in comparisons.items():
        yield from binary(op, oracle, None)
        yield from of_integers(op, oracle, ("int8", "int32", "uint32", "bool"))
        yield Case(
            op,
            "bool result in [3, 5]",
            getattr(tg.ops, op),
            oracle,
            (integers((3, 5)), integers((5,), 1)),
        )
    for op, oracle in (("isnan", np.isnan), ("isinf", np.isinf), ("isfinite", np.isfinite)):
        yield from unary(op, oracle, None)
        yield Case(op, "integers", getattr(tg.ops, op), oracle, (integers((5,)),))
    for op, oracle in (
        ("logical_and", np.logical_and),
        ("logical_or", np.logical_or),
        ("logical_xor", np.logical_xor),
    ):
        yield from of_integers(op, oracle, ("bool", "int32"))
        yield Case(
            op,
            "floats",
            getattr(tg.ops, op),
            oracle,
            pairs(np.float32([0, -0.0, 1, np.nan, 1e-45])),
        )
    yield from of_integers("logical_not", np.logical_not, ("bool", "int32"), count=1)
    yield Case(
        "logical_not",
        "floats",
        tg.ops.logical_not,
        np.logical_not,
        (np.float32([0, -0.0, 1, np.nan]),),
    )
    condition = np.array([True, False, True, False, True])
    yield Case(
        "where",
        "floats",
        tg.ops.where,
        np.where,
        (condition, np.float32([1, np.nan, np.inf, 2, -0.0]), random((5,))),
    )
    yield Case(
        "where",
        "broadcast",
        tg.ops.where,
        np.where,
        (np.array([[True], [False]]), random((3,)), random((2, 3), 1)),
    )
    yield Case(
        "where",
        "number as condition",
        tg.ops.where,
        lambda c, x, y: np.where(c != 0, x, y),
        (np.int32([0, 2, -1]), integers((3,)), integers((3,), 1)),
    )
    yield Case(
        "where",
        "python scalar",
        lambda c, x: tg.ops.where(c, x, 0.0),
        lambda c, x: np.where(c, x, np.float32(0)),
        (condition, random((5,))),
    )
    yield from unary(
        "clip", lambda x: np.clip(x, -1, 2), None, call=lambda x: tg.ops.clip(x, -1, 2)
    )
    yield Case(
        "clip",
        "integers",
        lambda x: tg.ops.clip(x, -2, 3),
        lambda x: np.clip(x, -2, 3),
        (integers((9,)),),
    )


def bits() -> Iterator[Case]:
    both = (*INTEGERS, "bool")
    yield from of_integers("bitwise_and", np.bitwise_and, both)
    yield from of_integers("bitwise_or", np.bitwise_or, both)
    yield from of_integers("bitwise_xor", np.bitwise_xor, both)
    yield from of_integers("bitwise_invert", np.invert, both, count=1)
    yield from of_integers("bitwise_not", np.invert, ("int32",), count=1)
    for dtype in INTEGERS:
        values, width = special_integers(dtype), np.iinfo(dtype).bits
        x, y = (a.ravel() for a in np.meshgrid(values, [0, 1, 3, width - 1]))
        x, y = x.astype(dtype), y.astype(dtype)
        yield Case("bitwise_left_shift", dtype, tg.ops.bitwise_left_shift, np.left_shift, (x, y))
        yield Case("bitwise_right_shift", dtype, tg.ops.bitwise_right_shift, np.right_shift, (x, y))
    yield Case(
        "bitcast",
        "float32 to int32",
        lambda x: tg.ops.bitcast(x, "int32"),
        lambda x: x.view(np.int32),
        (special_floats()[:-1],),
    )
    yield Case(
        "bitcast",
        "uint32 to float32",
        lambda x: tg.ops.bitcast(x, "float32"),
        lambda x: x.view(np.float32),
        (np.uint32([0, 0x3F800000, 0x80000000]),),
    )


def _saturated(x: Array, dtype: str) -> Array:
    info = np.iinfo(dtype)
    return np.array(
        [
            0 if v != v else info.max if v > info.max else info.min if v < info.min else int(v)
            for v in x.tolist()
        ],
        dtype,
    )


def casts() -> Iterator[Case]:
    for dtype in INTEGERS:
        call = lambda x, d=dtype: tg.ops.cast(x, d)  # noqa: E731
        yield Case(
            "cast",
            f"float32 to {dtype}",
            call,
            lambda x, d=dtype: _saturated(x, d),
            (special_floats(),),
        )
        yield Case(
            "cast",
            f"{dtype} to float32",
            lambda x: tg.ops.cast(x, "float32"),
            lambda x: x.astype(np.float32),
            (special_integers(dtype),),
        )
        yield Case(
            "cast",
            f"{dtype} to bool",
            lambda x: tg.ops.cast(x, "bool"),
            lambda x: x != 0,
            (special_integers(dtype),),
        )
        for source in (*INTEGERS, "bool"):
            yield Case(
                "cast",
                f"{source} to {dtype}",
                call,
                lambda x, d=dtype: x.astype(d),
                (special_integers(source),),
                slow=source not in ("int32", "bool"),
            )
    yield Case(
        "cast",
        "float32 to bool",
        lambda x: tg.ops.cast(x, "bool"),
        lambda x: x != 0,
        (special_floats(),),
    )
    yield Case(
        "cast",
        "bool to float32",
        lambda x: tg.ops.cast(x, "float32"),
        lambda x: x.astype(np.float32),
        (np.array([True, False] * 9),),
    )
    yield Case(
        "convert_to_tensor",
        "with dtype",
        lambda x: tg.ops.convert_to_tensor(x, "float32"),
        lambda x: x.astype(np.float32),
        (integers((3,)),),
    )
    yield from unary("stop_gradient", lambda x: x, None)


def activations() -> Iterator[Case]:
    # jax.nn's definitions; the magnitude of x where the formula subtracts from 1.
    by_x = {"scale": lambda x: np.abs(x)}
    finite = special_floats()[np.isfinite(special_floats())]
    yield from unary("relu", lambda x: np.maximum(x, 0), 0)
    yield from unary("relu6", lambda x: np.clip(x, 0, 6), 0, low=-10, high=10)
    yield from unary("leaky_relu", lambda x: np.where(x >= 0, x, x * np.float32(0.2)), 0.5)
    yield Case(
        "leaky_relu",
        "slope",
        lambda x: tg.ops.leaky_relu(x, 0.5),
        lambda x: np.where(x >= 0, x, x * 0.5),
        (random((9,)),),
        0,
    )
    yield from unary("elu", _elu, 3)
    yield Case(
        "elu", "alpha", lambda x: tg.ops.elu(x, 0.5), lambda x: _elu(x, 0.5), (random((9,)),), 3
    )
    yield from unary("selu", lambda x: _SELU_SCALE * _elu(x, _SELU_ALPHA), 4)
    yield from unary("gelu", _gelu_tanh, 4, values=finite, **by_x)
    yield Case("gelu", "infinities", tg.ops.gelu, _gelu_tanh, (np.float32([np.inf, np.nan]),), 1)
    yield from unary(
        "gelu",
        _gelu,
        4,
        values=finite,
        label="exact",
        call=lambda x: tg.ops.gelu(x, approximate=False),
        **by_x,
    )
    yield from unary("silu", _silu, 5, scale=_vanishing(_silu))
    yield from unary("swish", _silu, 5, scale=_vanishing(_silu))
    yield from unary("softplus", _softplus, 4)
    yield from unary("softsign", lambda x: x / (1 + np.abs(x)), 2)
    yield from unary("log_sigmoid", lambda x: -_softplus(-x), 4)
    yield from unary(
        "hard_sigmoid",
        lambda x: np.clip(x + 3, 0, 6) / 6,
        2,
        scale=lambda x: np.minimum(np.abs(x), 3) / 6 + 0.5,
    )
    for op in ("hard_silu", "hard_swish"):
        yield from unary(
            op,
            lambda x: x * np.clip(x + 3, 0, 6) / 6,
            2,
            values=finite,
            scale=lambda x: np.abs(x) * (np.minimum(np.abs(x), 3) / 6 + 0.5),
        )
    yield from unary("hard_tanh", lambda x: np.clip(x, -1, 1), None)
    yield from unary("mish", _mish, 8, scale=_vanishing(_mish))


CASES = [
    case
    for part in (arithmetic, rounding, exponentials, choosing, bits, casts, activations)
    for case in part()
]
