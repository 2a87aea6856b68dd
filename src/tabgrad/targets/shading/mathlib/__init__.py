"""Scalar functions as shader functions, of one lane or four.

Builtins of shading languages are up to 63 ULP off, or wrong at the edges, and compilers rearrange
sums; so these are polynomials of ours, and `held` stands wherever rounding order matters. Results
that are subnormal may come out as 0: software adapters flush them.
"""

from tabgrad.targets.shading.mathlib.arithmetic import maximum, minimum
from tabgrad.targets.shading.mathlib.conversions import (
    half_from_bits,
    half_to_bits,
    rounded_to_half,
    to_float,
    to_integer,
)
from tabgrad.targets.shading.mathlib.division import (
    floor_divide,
    floor_mod,
    integer_floor_divide,
    integer_gcd,
    integer_mod,
)
from tabgrad.targets.shading.mathlib.exponential import erf, exp, expm1, log, log1p, sigmoid, tanh
from tabgrad.targets.shading.mathlib.integers import integer_power, threefry2x32
from tabgrad.targets.shading.mathlib.power import power
from tabgrad.targets.shading.mathlib.trigonometry import atan2, cos, sin, tan

__all__ = [
    "atan2",
    "cos",
    "erf",
    "exp",
    "expm1",
    "floor_divide",
    "floor_mod",
    "half_from_bits",
    "half_to_bits",
    "integer_floor_divide",
    "integer_gcd",
    "integer_mod",
    "integer_power",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "power",
    "rounded_to_half",
    "sigmoid",
    "sin",
    "tan",
    "tanh",
    "threefry2x32",
    "to_float",
    "to_integer",
]
