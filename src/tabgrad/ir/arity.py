"""How many sources each primitive takes; (least, None) where there is no upper limit."""

from __future__ import annotations

from collections.abc import Mapping

_UNARY = (
    "neg abs sign floor ceil round trunc sqrt exp expm1 log log1p sin cos tan tanh sigmoid erf not "
    "stop cast bitcast tag reshape permute broadcast slice flip reduce_sum reduce_prod reduce_max "
    "reduce_min argmax argmin size window_reduce window_argmax proj cumulative"
)
_BINARY = (
    "add sub mul div floordiv mod gcd pow atan2 max min and or xor shl shr eq ne lt le "
    "broadcast_like pad dot conv gather"
)
ARITY: Mapping[str, int | tuple[int, None]] = {
    **dict.fromkeys("input value const array iota rows".split(), 0),
    **dict.fromkeys(_UNARY.split(), 1),
    **dict.fromkeys(_BINARY.split(), 2),
    "select": 3,
    "scatter": 3,
    "threefry": 4,
    "concatenate": (1, None),
    "dynamic_slice": (1, None),
    "dynamic_update_slice": (2, None),
    "scan": (0, None),
    "while": (0, None),
    "cond": (1, None),
    "sort": (1, None),
    "custom": (1, None),
    "barrier": 2,
}
