"""What every operation does first: turn its arguments into nodes of one dtype and one shape.

Complex tensors are pairs of nodes, which `node_of` refuses, so that no function drops an imaginary
part. A function works on them by one of two decorators: `on_parts` where each part can be treated
alone, `also_complex` where there is a rule of its own (`complex_numbers.py`, `complex_math.py`).

Promotion is that of `tabgrad.dtypes`, broadcasting NumPy's. Python scalars are weak: they take the
array's dtype. Read eagerly they become inputs of the Program, so a loop with a changing scalar
compiles once; inside a captured function they are constants.
"""

from __future__ import annotations

import functools
import inspect
import operator
import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tabgrad import dtypes, realize
from tabgrad.dtypes import DType
from tabgrad.errors import CaptureError, DtypeError, RangeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node
from tabgrad.packing import check_fits
from tabgrad.tensor import Tensor, tensor
from tabgrad.variable import Variable

Scalar = (bool, int, float)
_WITHIN = 3e38  # finite as float32
Function = TypeVar("Function", bound=Callable[..., Any])


def node_of(x: Any, dtype: DType | None = None) -> Node:
    """The node of anything array-like; Python scalars get `dtype` or their own default."""
    if isinstance(x, Tensor):
        return x.node
    if isinstance(x, Variable):
        return x.node()
    if isinstance(x, Scalar):
        if dtype is None:
            dtype = dtypes.as_dtype(type(x))
            check_fits([x], dtype)
        return scalar(x, dtype)
    return tensor(x, dtype=dtype).node


def is_complex(x: Any) -> bool:
    """True for complex tensors, arrays and numbers, and for lists that hold one."""
    kind = type(x)
    if kind is Tensor:
        return x.parts[1] is not None
    if kind is int or kind is float or x is None:
        return False
    if isinstance(x, (list, tuple)):
        return any(map(is_complex, x))
    return isinstance(x, complex) or getattr(getattr(x, "dtype", None), "kind", None) == "c"


def parts_of(x: Any, dtype: DType | None = None) -> tuple[Node, Node | None]:
    """The nodes of the real and imaginary part of anything array-like; None for a real one."""
    if isinstance(x, Tensor):
        return x.parts
    if isinstance(x, (Variable, *Scalar)) and not (dtype is not None and dtype.is_complex):
        return node_of(x, dtype), None
    return tensor(x, dtype=dtype).parts


def complex_parts(x: Any) -> tuple[Node, Node]:
    """Both parts of anything array-like as float nodes, 0 for what a real one does not have."""
    real, imag = parts_of(x)
    if imag is not None:
        return real, imag
    if not real.dtype.is_float or real.dtype.itemsize < 4:
        real = b.cast(real, dtypes.float32)
    return real, b.like(real, 0)


def on_parts(*names: str) -> Callable[[Function], Function]:
    """Decorator: where a value is complex, call the function on the real and the imaginary parts.

    For functions that are linear in their values or only move elements. `names` are the parameters
    that are values, by default the first; each is an array or a list of arrays. The result is an
    array, or a list or tuple of them.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def either(*args: Any, **kwargs: Any) -> Any:
            if not _any_complex(args, kwargs):
                return function(*args, **kwargs)
            bound = inspect.signature(function).bind(*args, **kwargs)
            values = [
                n for n in names or list(bound.signature.parameters)[:1] if n in bound.arguments
            ]
            given = [bound.arguments[name] for name in values]
            if not is_complex(given):
                return function(*args, **kwargs)
            found = [t.dtype for t in _tensors(given)] or [dtypes.complex64]
            part = dtypes.complex_of(dtypes.promote(*found).part).part
            results = []
            for which in range(2):
                for name, x in zip(values, given, strict=True):
                    bound.arguments[name] = _part(x, which, part)
                results.append(function(*bound.args, **bound.kwargs))
            return _paired(*results)

        return either  # type: ignore[return-value]

    return decorate


def on_products(*names: str) -> Callable[[Function], Function]:
    """Decorator: where the arguments called `names` are complex, combine the products of their
    parts. For functions that are linear in each of these arguments, as matmul is in two."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def either(*args: Any, **kwargs: Any) -> Any:
            if not _any_complex(args, kwargs):
                return function(*args, **kwargs)
            bound = inspect.signature(function).bind(*args, **kwargs)
            for name in names:
                if is_complex(bound.arguments[name]):
                    return _apart(bound, name, bound.arguments[name], either)
            return function(*args, **kwargs)

        return either  # type: ignore[return-value]

    return decorate


def _apart(
    bound: inspect.BoundArguments, name: str, value: Any, function: Callable[..., Any]
) -> Tensor:
    results = []
    at = (
        next((i for i, x in enumerate(value) if is_complex(x)), 0) if type(value) is tuple else None
    )
    for which in range(2):
        if at is None:
            bound.arguments[name] = Tensor(complex_parts(value)[which])
        else:  # one of any number of operands
            part = Tensor(complex_parts(value[at])[which])
            bound.arguments[name] = (*value[:at], part, *value[at + 1 :])
        results.append(function(*bound.args, **bound.kwargs))
    (a, b_), (c, d) = (result.parts for result in results)
    if b_ is None or d is None:
        return Tensor(a, c)
    return Tensor(b.sub(a, d), b.add(b_, c))


def _any_complex(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    for x in args:
        kind = type(x)
        if kind is Tensor:  # asked here already: every operation passes
            if x.parts[1] is not None:
                return True
        elif kind is not float and is_complex(x):
            return True
    return bool(kwargs) and any(map(is_complex, kwargs.values()))


def _tensors(x: Any) -> list[Tensor]:
    if isinstance(x, (list, tuple)):
        return [t for item in x for t in _tensors(item)]
    return [] if x is None or isinstance(x, (*Scalar, complex)) else [Tensor(*parts_of(x))]


def _part(x: Any, which: int, dtype: DType) -> Any:
    if isinstance(x, (list, tuple)):
        return [_part(item, which, dtype) for item in x]
    if x is None:
        return None
    if isinstance(x, (*Scalar, complex)):
        return float((x.real, x.imag)[which])
    return Tensor(b.cast(complex_parts(x)[which], dtype))


def _paired(real: Any, imag: Any) -> Any:
    if isinstance(real, Tensor):
        return Tensor(real.node, imag.node)
    pairs = [_paired(x, y) for x, y in zip(real, imag, strict=True)]
    return type(real)(*pairs) if hasattr(real, "_fields") else type(real)(pairs)


_complex_rules: dict[str, Callable[..., Any]] = {}


def complex_rule(name: str) -> Callable[[Function], Function]:
    """Decorator: makes a function what `also_complex` calls for complex arguments of `name`."""

    def decorate(function: Function) -> Function:
        _complex_rules[name] = function
        return function

    return decorate


def also_complex(function: Function) -> Function:
    """Decorator: where an argument is complex, call the rule registered under the function's name.

    A function without a rule goes on to its own code, which refuses complex tensors.
    """
    name = function.__name__

    @functools.wraps(function)
    def either(*args: Any, **kwargs: Any) -> Any:
        if _any_complex(args, kwargs):
            return _complex_rules.get(name, function)(*args, **kwargs)
        return function(*args, **kwargs)

    return either  # type: ignore[return-value]


def scalar(value: bool | int | float, dtype: DType) -> Node:
    """A 0-d node for a Python scalar: an input when computing eagerly, else a constant."""
    if realize.capturing() or (dtype.itemsize < 4 and not dtype.is_float):
        return b.const(value, dtype)
    if dtype is dtypes.float32 and -_WITHIN < value < _WITHIN:
        raw = struct.pack("<f", value)  # rounds as `wrap` does
    else:
        raw = struct.pack("<" + dtype.format, dtypes.wrap(value, dtype))
    return realize.upload(raw, (), dtype)


def common(name: str, *xs: Any, floating: bool = False) -> list[Node]:
    """Nodes of one dtype for all arguments; `floating` turns integers and bools into floats."""
    scalars = [x for x in xs if isinstance(x, Scalar)]
    arrays = [node_of(x) for x in xs if not isinstance(x, Scalar)]
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
                    f"{name} expected a Python integer that fits {dtype.name}; received {value}. "
                    "Cast the tensor to a wider dtype"
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
                        f"{' and '.join(str(list(s)) for s in shapes)}. "
                        "Sizes must be equal or 1, from the last axis on: reshape one, or insert "
                        "axes with x[:, None]"
                    )
                out[d] = n
    return tuple(out)


def spread(node: Node, shape: Sequence[int]) -> Node:
    """A node broadcast to `shape` by NumPy's rule."""
    lead = len(shape) - len(node.shape)
    return b.broadcast(node, shape, range(lead, len(shape)))


def aligned(name: str, *xs: Any, floating: bool = False) -> list[Node]:
    """Nodes of one dtype and one shape for all arguments."""
    if len(xs) == 2 and type(xs[0]) is type(xs[1]) is Tensor:
        # The common case, which needs nothing done; below, the next most common.
        one, other = xs[0].node, xs[1].node
        if one.outs == other.outs and (one.dtype.is_float or not floating):
            return [one, other]
    elif len(xs) == 2 and type(xs[0]) is Tensor and type(xs[1]) is float:
        one = xs[0].node
        if one.dtype.is_float:
            other = scalar(xs[1], one.dtype)
            if one.outs[0][0]:
                other = b.make("broadcast", other, shape=one.outs[0][0], dims=())
            return [one, other]
    nodes = common(name, *xs, floating=floating)
    shape = broadcast_shapes(name, *(node.shape for node in nodes))
    return [spread(node, shape) for node in nodes]


def axis_of(name: str, axis: int, rank: int) -> int:
    """A non-negative axis below `rank`; raises ShapeError."""
    if not rank:
        raise RangeError(
            f"{name} expected a tensor that has axis {axis}; received shape []. Reshape it to (1,)"
        )
    number = integer(axis)
    if number is None or axis is True or axis is False or not -rank <= number < rank:
        raise RangeError(
            f"{name} expected an axis from {-rank} to {rank - 1}; received {axis}. "
            "Negative axes count from the last one"
        )
    return number % rank


def integer(x: Any) -> int | None:
    """A Python or NumPy integer as an int (bools count as 0 and 1); None for anything else."""
    if isinstance(x, int):
        return x
    if isinstance(x, (Tensor, Variable)) or getattr(x, "shape", None) != ():
        return None
    try:
        return operator.index(x)
    except TypeError:  # NumPy's arrays without axes all have __index__
        return None


def whole(name: str, what: str, value: Any) -> Any:
    """Tensors of whole numbers among sizes, axes or counts as Python integers: an int for a scalar,
    a list for a vector; anything else as it is.

    Raises:
        CaptureError: a tensor that has no value while a function is captured.
        DtypeError: a tensor of anything but integers.
    """
    if isinstance(value, (list, tuple)):
        return [whole(name, what, item) for item in value]
    if not isinstance(value, (Tensor, Variable)):
        return value
    received = f"{value.dtype.name} {list(value.shape)}"
    if realize.is_abstract(node_of(value)):
        instead = (
            "Take a fixed size, or pass it to the function as a Python number (static_argnums)"
        )
        raise CaptureError(
            f"{name} takes {what} as Python integers: "
            f"{realize.missing_value([node_of(value)], instead)}"
        )
    if not value.dtype.is_integer or len(value.shape) > 1:
        raise DtypeError(
            f"{name} expected {what} as Python integers; received {received}. Use int(t), or a "
            "fixed size"
        )
    return (value.value if isinstance(value, Variable) else value).tolist()


def sizes_of(name: str, shape: Any) -> list[int]:
    """A shape given as an integer or several; raises ShapeError for anything else, bools too."""
    given = [shape] if type(shape) is int else shape
    if isinstance(given, (list, tuple)) and all(type(n) is int for n in given):
        return list(given)
    one = integer(shape := whole(name, "a shape", shape))
    try:
        given = list(shape) if one is None else [shape]
    except TypeError:
        given = [shape]
    sizes = [None if isinstance(n, bool) else integer(n) for n in given]
    if None in sizes:
        raise ShapeError(
            f"{name} expected a shape of integers; received {shape!r}. Convert them with int(...)"
        )
    return sizes  # type: ignore[return-value]


def axes_of(name: str, axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Sorted distinct axes; None means all."""
    if axis is None:
        return tuple(range(rank))
    one = integer(axis)
    given = tuple(axis) if one is None else (one,)  # type: ignore[arg-type]
    found = [axis_of(name, a, rank) for a in given]
    if len(set(found)) != len(found):
        raise ShapeError(
            f"{name} expected distinct axes; received {axis}. "
            "Name each axis once; -1 and the last one are the same"
        )
    return tuple(sorted(found))
