"""Vector math on 64-bit floats, two lanes at a time, with the names of the 32-bit functions.

Within 2 ULP (tanh and sigmoid 4) over all exponents. As there, `fma` allows relaxed multiply-add,
and nothing relies on its really fusing.
"""

from tabgrad.targets.wasm.mathlib.arithmetic import maximum, minimum, sign
from tabgrad.targets.wasm.mathlib.double.arithmetic import (
    floor_divide,
    floor_mod,
    from_integer,
    to_integer,
)
from tabgrad.targets.wasm.mathlib.double.power import power
from tabgrad.targets.wasm.mathlib.double.trigonometry import atan2, cos, sin, tan
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

__all__ = [
    "atan2",
    "cos",
    "erf",
    "exp",
    "expm1",
    "falling_exp",
    "floor_divide",
    "floor_mod",
    "from_integer",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "power",
    "sigmoid",
    "sign",
    "sin",
    "tan",
    "tanh",
    "to_integer",
]
