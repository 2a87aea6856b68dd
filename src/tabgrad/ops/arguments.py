"""What every operation does first: turn its arguments into nodes of one dtype and one shape.

Promotion is that of `tabgrad.dtypes`, broadcasting NumPy's. Python scalars are weak: they take the
array's dtype. Read eagerly they become inputs of the Program, so a loop with a changing scalar
compiles once; inside a captured function they are constants.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from tabgrad import dtypes, realize
from tabgrad.dtypes import DType
from tabgrad.errors import DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node
from tabgrad.tensor import Tensor, tensor
from tabgrad.variable import Variable

Scalar = (bool, int, float)


def node_of(x: Any, dtype: DType | None = None) -> Node:
    """The node of anything array-like; Python scalars get `dtype` or their own default."""
    if isinstance(x, Tensor):
        return x.node
    if isinstance(x, Variable):
        return x.node()
    if isinstance(x, Scalar):
        return scalar(x, dtype or dtypes.as_dtype(type(x)))
    return tensor(x, dtype=dtype).node


def scalar(value: bool | int | float, dtype: DType) -> Node:
    """A 0-d node for a Python scalar: an input when computing eagerly, else a constant."""
    if realize.capturing() or dtype.itemsize != 4:
        return b.const(value, dtype)
    raw = struct.pack("<" + dtype.format, dtypes.wrap(value, dtype))
    return realize.upload(raw, (), dtype)


def common(name: str, *xs: Any, floating: bool = False) -> list[Node]:
    """Nodes of one dtype for all arguments; `floating` turns integers and bools into floats."""
    arrays = [node_of(x) for x in xs if not isinstance(x, Scalar)]
    scalars = [x for x in xs if isinstance(x, Scalar)]
    if arrays:
        dtype = dtypes.promote(*(node.dtype for node in arrays))
        for value in scalars:
            dtype = dtypes.weak_result(dtype, value)
    else:
        dtype = dtypes.promote(*(dtypes.as_dtype(type(x)) for x in scalars))
    if floating and not dtype.is_float:
        dtype = dtypes.float32
    if dtype.kind in "iu":
        low, high = dtypes.limits(dtype)
        for value in scalars:
            if not isinstance(value, float) and not low <= value <= high:
                raise DtypeError(
                    f"{name} expected a Python integer that fits {dtype.name}; received {value}"
                )
    rest = iter(arrays)
    return [scalar(x, dtype) if isinstance(x, Scalar) else b.cast(next(rest), dtype) for x in xs]


def broadcast_shapes(name: str, *shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape all of `shapes` broadcast to; raises ShapeError naming them."""
    rank = max((len(s) for s in shapes), default=0)
    out = [1] * rank
    for shape in shapes:
        for i, n in enumerate(shape):
            d = rank - len(shape) + i
            if n != 1:
                if out[d] not in (1, n):
                    raise ShapeError(
                        f"{name} expected shapes that broadcast together; received "
                        f"{' and '.join(str(list(s)) for s in shapes)}"
                    )
                out[d] = n
    return tuple(out)


def spread(node: Node, shape: Sequence[int]) -> Node:
    """A node broadcast to `shape` by NumPy's rule."""
    lead = len(shape) - len(node.shape)
    return b.broadcast(node, shape, range(lead, len(shape)))


def aligned(name: str, *xs: Any, floating: bool = False) -> list[Node]:
    """Nodes of one dtype and one shape for all arguments."""
    nodes = common(name, *xs, floating=floating)
    shape = broadcast_shapes(name, *(node.shape for node in nodes))
    return [spread(node, shape) for node in nodes]


def axis_of(name: str, axis: int, rank: int) -> int:
    """A non-negative axis below `rank`; raises ShapeError."""
    if not isinstance(axis, int) or not -rank <= axis < rank:
        raise ShapeError(f"{name} expected an axis from {-rank} to {rank - 1}; received {axis}")
    return axis % rank


def axes_of(name: str, axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Sorted distinct axes; None means all."""
    if axis is None:
        return tuple(range(rank))
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    found = [axis_of(name, a, rank) for a in given]
    if len(set(found)) != len(found):
        raise ShapeError(f"{name} expected distinct axes; received {axis}")
    return tuple(sorted(found))
