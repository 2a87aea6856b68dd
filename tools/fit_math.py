"""Fits the polynomials of the math libraries: `python tools/fit_math.py [name]`.

For each function it prints the coefficients (highest power first, rounded to the precision that the
kernels use) and the largest weighted error of the rounded polynomial. The coefficient lists in
`targets/coefficients.py`, `targets/wasm/mathlib` and `ops/special.py` are these outputs. Remez's
exchange algorithm in 80 digits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np

mp.mp.dps = 80

Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Fit:
    """The polynomial of a degree that keeps weight(x) * (target(x) - polynomial(x)) smallest."""

    name: str
    target: Function
    weight: Function
    low: Any
    high: Any
    degree: int
    dtype: type[np.floating[Any]] = np.float32


def evaluate(coefficients: list[Any], x: Any) -> Any:
    """Horner, lowest power first."""
    total = mp.mpf(0)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def remez(fit: Fit) -> list[Any]:
    """The minimax coefficients, lowest power first."""
    count = fit.degree + 2
    middle, half = (fit.low + fit.high) / 2, (fit.high - fit.low) / 2
    nodes = [middle - half * mp.cos(mp.pi * (i + 0.5) / count) for i in range(count)]
    points = [middle - half * mp.cos(mp.pi * (i + 0.5) / 800) for i in range(800)]
    samples = [(x, fit.target(x), fit.weight(x)) for x in points]
    coefficients: list[Any] = []
    for _ in range(12):
        rows = [
            [x**k for k in range(count - 1)] + [(-1) ** i / fit.weight(x)]
            for i, x in enumerate(nodes)
        ]
        solution = mp.lu_solve(mp.matrix(rows), mp.matrix([fit.target(x) for x in nodes]))
        coefficients, level = list(solution)[:-1], abs(solution[count - 1])
        errors = [w * (t - evaluate(coefficients, x)) for x, t, w in samples]
        extrema: list[tuple[Any, Any]] = []
        for (x, _, _), error in zip(samples, errors):
            if not extrema or error * extrema[-1][1] < 0:
                extrema.append((x, error))
            elif abs(error) > abs(extrema[-1][1]):
                extrema[-1] = (x, error)
        if len(extrema) < count:
            raise ArithmeticError(f"{fit.name}: only {len(extrema)} extrema, need {count}")
        while len(extrema) > count:
            extrema.pop(0 if abs(extrema[0][1]) < abs(extrema[-1][1]) else -1)
        nodes = [x for x, _ in extrema]
        if max(abs(e) for _, e in extrema) < level * mp.mpf("1.001"):
            break
    return coefficients


def report(fit: Fit) -> str:
    """The rounded coefficients as Python, and their error."""
    rounded = [fit.dtype(float(c)) for c in remez(fit)]
    exact = [mp.mpf(float(c)) for c in rounded]
    points = [fit.low + (fit.high - fit.low) * i / 2000 for i in range(2001)]
    worst = max(abs(fit.weight(x) * (fit.target(x) - evaluate(exact, x))) for x in points)
    numbers = ",\n".join(f"    {c!s}" for c in reversed(rounded))
    bits = mp.nstr(mp.log(worst, 2), 4)
    interval = f"[{mp.nstr(fit.low, 6)}, {mp.nstr(fit.high, 6)}]"
    return f"# {fit.name}: {interval}, degree {fit.degree}, error 2**{bits}\n(\n{numbers},\n)"


def nonzero(function: Function) -> Function:
    """`function`, asked for a point next to 0 where 0 itself is 0/0."""
    return lambda x: function(x if x else mp.mpf("1e-19"))


LN2_HALF = mp.log(2) / 2 * mp.mpf("1.001")
SQRT_HALF, SQRT_TWO = mp.sqrt(mp.mpf(1) / 2), mp.sqrt(2)
QUARTER = (mp.pi / 4 * mp.mpf("1.001")) ** 2
ERF_SPLIT = mp.mpf("0.921875")


def _sine_tail(z: Any) -> Any:
    x = mp.sqrt(z)
    return (mp.sin(x) - x) / x**3


def _cosine_tail(z: Any) -> Any:
    return (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2


def _tangent_tail(z: Any) -> Any:
    x = mp.sqrt(z)
    return (mp.tan(x) - x) / x**3


def _arctangent_tail(z: Any) -> Any:
    x = mp.sqrt(z)
    return (mp.atan(x) - x) / x**3


def _log_tail(z: Any) -> Any:
    s = mp.sqrt(z)
    return (mp.log((1 + s) / (1 - s)) / s - 2) / z


def _atanh_tail(z: Any) -> Any:
    s = mp.sqrt(z)
    return (mp.atanh(s) / s - 1 - z / 3) / z**2


def _log2_ratio(z: Any) -> Any:
    s = mp.sqrt(z)
    return mp.log((1 + s) / (1 - s), 2) / s


ERFCX_CENTRE = mp.mpf(4)


def _erfcx(t: Any) -> Any:
    """(1 + 2 x) exp(x**2) erfc(x) where t is (x - 4) / (x + 4)."""
    x = ERFCX_CENTRE * (1 + t) / (1 - t)
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


def _erfcx_place(x: str) -> Any:
    return (mp.mpf(x) - ERFCX_CENTRE) / (mp.mpf(x) + ERFCX_CENTRE)


def _bessel_near(order: int) -> Function:
    """I_n(x) / (x / 2)**n in (x / 2)**2."""
    return lambda z: mp.besseli(order, 2 * mp.sqrt(z)) / mp.sqrt(z) ** order


def _bessel_far(order: int) -> Function:
    """sqrt(x) exp(-x) I_n(x) where t is 16 / x - 1."""

    def scaled(t: Any) -> Any:
        if t < mp.mpf("1e-12") - 1:
            return 1 / mp.sqrt(2 * mp.pi)
        x = 16 / (1 + t)
        return mp.exp(-x) * mp.sqrt(x) * mp.besseli(order, x)

    return scaled


def _relative(function: Function) -> Function:
    return lambda x: 1 / function(x)


FITS = [
    Fit(
        "exp: (exp(r) - 1 - r) / r**2, error relative to exp(r) and expm1(r)",
        nonzero(lambda r: (mp.expm1(r) - r) / r**2),
        nonzero(lambda r: abs(r**2 / mp.expm1(r))),
        -LN2_HALF, LN2_HALF, 4,
    ),
    Fit(
        "exp2: 2**r, relative",
        lambda r: mp.mpf(2) ** r,
        lambda r: mp.mpf(2) ** -r,
        mp.mpf("-0.5"), mp.mpf("0.5"), 6,
    ),
    Fit(
        "log: (log(1 + r) - r + r**2 / 2) / r**3, relative to log(1 + r)",
        nonzero(lambda r: (mp.log1p(r) - r + r**2 / 2) / r**3),
        nonzero(lambda r: abs(r**3 / mp.log1p(r))),
        SQRT_HALF - 1, SQRT_TWO - 1, 8,
    ),
    Fit(
        "erf near 0: erf(x) / x - 1 in x**2, relative to erf(x)",
        nonzero(lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1),
        nonzero(lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z))),
        mp.mpf(0), ERF_SPLIT**2, 6,
    ),
    Fit(
        "erf: log2(erfc(x)), error relative to erf(x)",
        lambda x: mp.log(mp.erfc(x), 2),
        lambda x: mp.log(2) * mp.erfc(x) / mp.erf(x),
        ERF_SPLIT, mp.mpf(4), 7,
    ),
    Fit(
        "sin: (sin(x) - x) / x**3 in x**2, relative to sin(x)",
        nonzero(_sine_tail),
        nonzero(lambda z: mp.sqrt(z) ** 3 / mp.sin(mp.sqrt(z))),
        mp.mpf(0), QUARTER, 2,
    ),
    Fit(
        "cos: (cos(x) - 1 + x**2 / 2) / x**4 in x**2, relative to cos(x)",
        nonzero(_cosine_tail),
        lambda z: z**2 / mp.cos(mp.sqrt(z)),
        mp.mpf(0), QUARTER, 2,
    ),
    Fit(
        "tan: (tan(x) - x) / x**3 in x**2, relative to tan(x), float64",
        nonzero(_tangent_tail),
        nonzero(lambda z: mp.sqrt(z) ** 3 / mp.tan(mp.sqrt(z))),
        mp.mpf(0), QUARTER, 6, np.float64,
    ),
    Fit(
        "atan: (atan(x) - x) / x**3 in x**2, relative to atan(x)",
        nonzero(_arctangent_tail),
        nonzero(lambda z: mp.sqrt(z) ** 3 / mp.atan(mp.sqrt(z))),
        mp.mpf(0), mp.mpf(1), 8,
    ),
    Fit(
        "pow: log2((1 + s) / (1 - s)) / s in s**2, relative, float64",
        nonzero(_log2_ratio),
        nonzero(lambda z: 1 / _log2_ratio(z)),
        mp.mpf(0), (3 - 2 * SQRT_TWO) ** 2, 5, np.float64,
    ),
    Fit(
        "pow: 2**r, relative, float64",
        lambda r: mp.mpf(2) ** r,
        lambda r: mp.mpf(2) ** -r,
        mp.mpf("-0.5"), mp.mpf("0.5"), 6, np.float64,
    ),
    # From here on, those of 64-bit floats.
    Fit(
        "double exp: (exp(r) - 1 - r) / r**2, error relative to exp(r) and expm1(r)",
        nonzero(lambda r: (mp.expm1(r) - r) / r**2),
        nonzero(lambda r: abs(r**2 / mp.expm1(r))),
        -LN2_HALF, LN2_HALF, 10, np.float64,
    ),
    Fit(
        "double exp2: (2**r - 1) / r, error relative to 2**r",
        nonzero(lambda r: mp.expm1(r * mp.log(2)) / r),
        nonzero(lambda r: abs(r) / mp.mpf(2) ** r),
        mp.mpf("-0.501"), mp.mpf("0.5"), 11, np.float64,
    ),
    Fit(
        "double log: (log((1 + s) / (1 - s)) / s - 2) / s**2 in s**2, relative to the logarithm",
        nonzero(_log_tail),
        nonzero(lambda z: z / (2 + z * _log_tail(z))),
        mp.mpf(0), (3 - 2 * SQRT_TWO) ** 2, 6, np.float64,
    ),
    Fit(
        "double pow: (atanh(s) / s - 1 - s**2 / 3) / s**4 in s**2, relative to atanh(s)",
        nonzero(_atanh_tail),
        nonzero(lambda z: z**2 * mp.sqrt(z) / mp.atanh(mp.sqrt(z))),
        mp.mpf(0), (3 - 2 * SQRT_TWO) ** 2, 7, np.float64,
    ),
    Fit(
        "double sin: (sin(x) - x) / x**3 in x**2, relative to sin(x)",
        nonzero(_sine_tail),
        nonzero(lambda z: mp.sqrt(z) ** 3 / mp.sin(mp.sqrt(z))),
        mp.mpf(0), QUARTER, 6, np.float64,
    ),
    Fit(
        "double cos: (cos(x) - 1 + x**2 / 2) / x**4 in x**2, relative to cos(x)",
        nonzero(_cosine_tail),
        lambda z: z**2 / mp.cos(mp.sqrt(z)),
        mp.mpf(0), QUARTER, 6, np.float64,
    ),
    Fit(
        "double atan: (atan(x) - x) / x**3 in x**2, relative to atan(x)",
        nonzero(_arctangent_tail),
        nonzero(lambda z: mp.sqrt(z) ** 3 / mp.atan(mp.sqrt(z))),
        mp.mpf(0), mp.mpf("0.4375") ** 2, 11, np.float64,
    ),
    Fit(
        "double erf near 0: erf(x) / x - 1 in x**2, relative to erf(x)",
        nonzero(lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1),
        nonzero(lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z))),
        mp.mpf(0), mp.mpf("0.75") ** 2, 12, np.float64,
    ),
    Fit(
        "double erf: log2(erfc(x)), error relative to erf(x)",
        lambda x: mp.log(mp.erfc(x), 2),
        lambda x: mp.log(2) * mp.erfc(x) / mp.erf(x),
        mp.mpf("0.75"), mp.mpf(6), 19, np.float64,
    ),
    # From here on, those of ops/special.py.
    Fit(
        "erfc: (1 + 2 x) exp(x**2) erfc(x) in (x - 4) / (x + 4), relative",
        _erfcx, _relative(_erfcx), _erfcx_place("0.25"), _erfcx_place("11"), 10,
    ),
    Fit(
        "double erfc: (1 + 2 x) exp(x**2) erfc(x) in (x - 4) / (x + 4), relative",
        _erfcx, _relative(_erfcx), _erfcx_place("0.25"), _erfcx_place("28"), 22, np.float64,
    ),
    *(
        Fit(
            f"bessel i{order} near 0: I(x) / (x / 2)**{order} in (x / 2)**2, relative",
            nonzero(_bessel_near(order)), nonzero(_relative(_bessel_near(order))),
            mp.mpf(0), mp.mpf(16), 16, np.float64,
        )
        for order in (0, 1)
    ),
    *(
        Fit(
            f"bessel i{order} far from 0: sqrt(x) exp(-x) I(x) in 16 / x - 1, relative",
            _bessel_far(order), _relative(_bessel_far(order)),
            mp.mpf(-1), mp.mpf(1), 24, np.float64,
        )
        for order in (0, 1)
    ),
]  # fmt: skip


if __name__ == "__main__":
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    for fit in FITS:
        if fit.name.startswith(wanted):
            print(report(fit), flush=True)
