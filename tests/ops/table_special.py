"""The op table: inverse and hyperbolic functions, special functions, parts and kinds of floats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import special

import tabgrad as tg
from tests.ops.building import binary, from_integers, of_integers, unary
from tests.ops.comparing import Array, Case, pairs, special_floats, special_integers

FLOATS = ("float16", "float32", "float64")
SIGNED = ("int8", "int16", "int32", "int64")
INTEGERS = (*SIGNED, "uint8", "uint16", "uint32", "uint64")


def edges(dtype: str) -> Array:
    """Zeros, neighbours of 1, the ends of the type, infinities and NaN."""
    info = np.finfo(dtype)
    positive = [0, 1, 1 + info.eps, 2.5, 3, 7, 1 / 3, info.max, info.tiny, info.smallest_subnormal]
    values = np.array([*positive, np.inf], dtype)
    return np.concatenate([values, -values, np.array([np.nan], dtype)])


def same_bits(op: str, oracle: Callable[..., Any], count: int) -> Iterator[Case]:
    """An exact function of floats, in every float dtype, the sign of zeros included."""
    function = getattr(tg.ops, op)

    def with_signs(*xs: Any) -> list[Any]:
        result = function(*xs)
        return [result, tg.ops.signbit(tg.ops.where(tg.ops.isnan(result), 1.0, result))]

    def oracle_with_signs(*xs: Array) -> list[Array]:
        result = oracle(*xs)
        return [result, np.signbit(np.where(np.isnan(result), 1, result))]

    for dtype in FLOATS:
        values = edges(dtype)
        inputs = pairs(values) if count == 2 else (values,)
        yield Case(op, f"edges {dtype}", with_signs, oracle_with_signs, inputs)


def sinc(x: Array) -> Array:
    """NumPy's rounds pi x first, which leaves no digit beside whole numbers."""
    whole = np.rint(x)
    sine = np.sin(np.pi * (x - whole)) * np.where(whole % 2 == 0, 1, -1)
    return np.where(x == 0, 1.0, sine / np.where(x == 0, 1.0, np.pi * x))


def i0(x: Array) -> Array:
    return np.where(np.isinf(x), np.inf, special.i0(x))


def inverses_and_hyperbolic() -> Iterator[Case]:
    for op, other, bound, low, high in (
        ("arcsin", "asin", 3, -1, 1),
        ("arccos", "acos", 3, -1, 1),
        ("arctan", "atan", 2, -5, 5),
        ("arcsinh", "asinh", 3, -5, 5),
        ("arccosh", "acosh", 3, 1, 9),
        ("arctanh", "atanh", 3, -1, 1),
    ):
        yield from unary(op, getattr(np, op), bound, low, high)
        yield from from_integers(op, getattr(np, op), bound)
        yield from unary(other, getattr(np, op), bound, low, high, label="Array API name")
    yield from unary("sinh", np.sinh, 3, -20, 20)
    yield from unary("cosh", np.cosh, 3, -20, 20)
    yield from from_integers("sinh", np.sinh, 4)


def _power_of_two(x: Array) -> Array:
    return np.ldexp(x.dtype.type(1), x.astype(np.int32))


def special_functions() -> Iterator[Case]:
    yield from unary("exp2", np.exp2, 2)
    yield from unary("cbrt", np.cbrt, 2)
    yield from unary("deg2rad", np.deg2rad, 2)
    yield from unary("rad2deg", np.rad2deg, 2)
    # float64 has no digits left of the sine of pi times a huge number.
    values = special_floats()
    yield from unary("sinc", sinc, 4, values=values)
    yield from unary("erfc", special.erfc, 4)
    yield from unary("erfinv", special.erfinv, 4, -1, 1)
    yield from unary("i0", i0, 5, -20, 20)
    whole = np.arange(-140, 128, dtype=np.float32)
    yield Case("exp2", "whole numbers", tg.ops.exp2, _power_of_two, (whole,))
    powers = np.ldexp(np.float32(1), np.arange(-149, 128))
    yield Case(
        "log2", "powers", tg.ops.log2,
        lambda x: np.where(x == 0, -np.inf, np.frexp(x)[1] - 1).astype(np.float32), (powers,),
    )  # fmt: skip
    tens = np.array([float(f"1e{k}") for k in range(-37, 39)], np.float32)
    yield Case("log10", "powers", tg.ops.log10, lambda x: np.rint(np.log10(x)), (tens,))
    cubes = np.arange(-30, 31, dtype=np.float32)
    yield Case("cbrt", "cubes", tg.ops.cbrt, lambda x: np.rint(np.cbrt(x)), (cubes**3,))
    yield Case(
        "sinc", "whole numbers", tg.ops.sinc, lambda x: (x == 0) + x * 0, (np.abs(cubes),), 0
    )
    yield from binary("hypot", np.hypot, 2)
    for op in ("logaddexp", "logaddexp2"):
        oracle = getattr(np, op)
        yield from binary(op, oracle, 2, scale=_largest(oracle))


def _largest(oracle: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y: np.fmax(np.abs(oracle(x, y)), np.fmax(np.abs(x), np.abs(y)))


def parts_of_floats() -> Iterator[Case]:
    for op in ("copysign", "heaviside", "fmod"):
        yield from same_bits(op, getattr(np, op), 2)
    # NumPy's float16 keeps the first of two zeros, C gives the second.
    yield from same_bits("nextafter", lambda x, y: np.where(x == y, y, np.nextafter(x, y)), 2)
    for op in ("fabs", "nan_to_num"):
        yield from same_bits(op, getattr(np, op), 1)
    for dtype in FLOATS:
        values = edges(dtype)
        known = values[~np.isnan(values)]
        for op in ("signbit", "isposinf", "isneginf"):
            yield Case(op, dtype, getattr(tg.ops, op), getattr(np, op), (known,))
        # NumPy's fmax and fmin leave the sign of zeros open.
        for op in ("fmax", "fmin"):
            yield Case(op, dtype, getattr(tg.ops, op), getattr(np, op), pairs(values))
        steps = [0, 1, -1, 5, -30, 130, -130, -150, 200, -300, 2000, -2000, 10**6, -(10**6)]
        grid = np.meshgrid(values, np.int32(steps))
        yield Case("ldexp", dtype, tg.ops.ldexp, np.ldexp, tuple(a.ravel() for a in grid))
    yield Case(
        "ldexp",
        "int8 and weak number",
        lambda n: tg.ops.ldexp(1.5, n),
        lambda n: np.ldexp(np.float32(1.5), n),
        (np.int8([-128, -3, 0, 127]),),
    )
    x = np.float32([np.nan, np.inf, -np.inf, 2, -0.0])
    yield Case(
        "nan_to_num",
        "given numbers",
        lambda x: tg.ops.nan_to_num(x, nan=7.0, posinf=8.0, neginf=-9.0),
        lambda x: np.nan_to_num(x, nan=7.0, posinf=8.0, neginf=-9.0),
        (x,),
    )
    one, other = pairs(np.float32([0, -2, 0.5, np.inf, np.nan]))
    yield Case(
        "divide_no_nan",
        "edges",
        tg.ops.divide_no_nan,
        lambda x, y: np.where(y == 0, 0, x / y),
        (one, other),
        0.5,
    )
    near = np.float32([1, 1 + 1e-6, 1.1, 0, 1e-9, np.inf, -np.inf, np.nan])
    for equal_nan in (False, True):
        yield Case(
            "isclose",
            f"equal_nan={equal_nan}",
            lambda x, y, equal_nan=equal_nan: tg.ops.isclose(x, y, equal_nan=equal_nan),
            lambda x, y, equal_nan=equal_nan: np.isclose(x, y, equal_nan=equal_nan),
            pairs(near),
        )


def casts_and_comparisons() -> Iterator[Case]:
    z, w = pairs(np.complex64([0, 1 + 1j, 1 + 1.000001j, np.inf, np.nan, complex(0, np.inf)]))
    yield Case("isclose", "complex64", tg.ops.isclose, np.isclose, (z, w))
    yield Case("nan_to_num", "complex64", tg.ops.nan_to_num, np.nan_to_num, (z,))
    one = np.float32([1, 2, np.nan])
    for other, equal_nan in ((one, True), (one, False), (one + 1, True)):
        yield Case(
            "allclose",
            f"{other.tolist()} {equal_nan}",
            lambda x, y, equal_nan=equal_nan: tg.ops.allclose(x, y, equal_nan=equal_nan),
            lambda x, y, equal_nan=equal_nan: np.bool_(np.allclose(x, y, equal_nan=equal_nan)),
            (one, other),
        )
    yield Case("isreal", "float32", tg.ops.isreal, np.isreal, (one,))
    yield Case("isreal", "complex64", tg.ops.isreal, np.isreal, (np.complex64([1, 1j, 2 - 0j]),))
    for op, oracle in (("left_shift", np.left_shift), ("right_shift", np.right_shift)):
        yield Case(op, "int32", getattr(tg.ops, op), oracle, (np.int32([-9, 5]), np.int32([1, 2])))
    for source in INTEGERS:
        for target in INTEGERS:
            info = np.iinfo(target)
            yield Case(
                "saturate_cast",
                f"{source} to {target}",
                lambda x, target=target: tg.ops.saturate_cast(x, target),
                lambda x, info=info: np.array(
                    [min(max(int(v), info.min), info.max) for v in x.flat], info.dtype
                ).reshape(x.shape),
                (special_integers(source),),
                slow=source != "int32" and target != "uint8",
            )
    wide = np.float32([1e9, -1e9, np.inf, -np.inf, 1.5, np.nan])
    yield Case(
        "saturate_cast",
        "float32 to float16",
        lambda x: tg.ops.saturate_cast(x, "float16"),
        lambda x: np.clip(x, -65504, 65504).astype(np.float16),
        (wide,),
    )
    yield Case(
        "saturate_cast",
        "float32 to int8",
        lambda x: tg.ops.saturate_cast(x, "int8"),
        lambda x: np.clip(np.nan_to_num(x), -128, 127).astype(np.int8),
        (wide,),
    )


def of_whole_numbers() -> Iterator[Case]:
    for op in ("gcd", "lcm", "fmod"):
        yield from of_integers(op, getattr(np, op), INTEGERS)
    # Neighbouring Fibonacci numbers need the most steps.
    fibonacci = [1, 1]
    while fibonacci[-1] < 2**63:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    for dtype in INTEGERS:
        values = np.array([n for n in fibonacci if n <= np.iinfo(dtype).max], dtype)
        yield Case("gcd", f"fibonacci {dtype}", tg.ops.gcd, np.gcd, (values[1:], values[:-1]))
    for op in ("signbit", "isposinf", "isneginf"):
        for dtype in ("int32", "uint8", "bool"):
            values = special_integers(dtype)
            yield Case(
                op,
                f"of {dtype}",
                getattr(tg.ops, op),
                lambda x, op=op: (x < 0) if op == "signbit" else np.zeros(x.shape, bool),
                (values,),
            )
    yield Case("nan_to_num", "int32", tg.ops.nan_to_num, lambda x: x, (special_integers("int32"),))
    yield Case(
        "fabs", "int32", tg.ops.fabs, lambda x: np.fabs(x).astype("float32"), (np.int32([-2, 3]),)
    )


CASES = [
    *inverses_and_hyperbolic(),
    *special_functions(),
    *parts_of_floats(),
    *casts_and_comparisons(),
    *of_whole_numbers(),
]
