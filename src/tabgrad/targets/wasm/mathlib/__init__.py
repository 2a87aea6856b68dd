"""Vector math emitted inline: four float32 (or 32-bit integer) lanes at a time.

Every function takes the `Function` under construction, its operands and, where rounding depends
on it, `fma`: True multiplies and adds in one relaxed instruction, False keeps to plain arithmetic
whose bits are the same on every machine. The result is a local; temporaries are given back. None
relies on `fma` really fusing. Polynomials come from `tools/fit_math.py`.
"""

from tabgrad.targets.wasm.mathlib.arithmetic import (
    choose,
    floor_divide,
    floor_mod,
    horner,
    maximum,
    minimum,
    multiply_add,
    sign,
    to_integer,
)
from tabgrad.targets.wasm.mathlib.exponential import (
    erf,
    exp,
    expm1,
    falling_exp,
    log,
    log1p,
    sigmoid,
    tanh,
)
from tabgrad.targets.wasm.mathlib.integers import (
    integer_floor_divide,
    integer_gcd,
    integer_mod,
    integer_sign,
    threefry2x32,
)
from tabgrad.targets.wasm.mathlib.power import power
from tabgrad.targets.wasm.mathlib.trigonometry import atan2, cos, sin, tan

__all__ = [
    "atan2",
    "choose",
    "cos",
    "erf",
    "exp",
    "expm1",
    "falling_exp",
    "floor_divide",
    "floor_mod",
    "horner",
    "integer_floor_divide",
    "integer_gcd",
    "integer_mod",
    "integer_sign",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "multiply_add",
    "power",
    "sigmoid",
    "sign",
    "sin",
    "tan",
    "tanh",
    "threefry2x32",
    "to_integer",
]
