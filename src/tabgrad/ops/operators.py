"""Gives Tensor and Variable their operators and the methods people expect on arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tabgrad.errors import DtypeError, ShapeError
from tabgrad.ops import (
    activation,
    arrangement,
    complex_numbers,
    cumulative,
    elementwise,
    indexing,
    linear,
    manipulation,
    order,
    reduction,
    repeating,
    sets,
    standard,
    updates,
)
from tabgrad.ops.public import guarded
from tabgrad.tensor import Tensor
from tabgrad.variable import Variable

_BINARY: dict[str, Callable[[Any, Any], Tensor]] = {
    "add": elementwise.add,
    "sub": elementwise.subtract,
    "mul": elementwise.multiply,
    "truediv": elementwise.divide,
    "floordiv": standard.floor_divide,
    "mod": elementwise.mod,
    "pow": elementwise.power,
    "matmul": linear.matmul,
    "and": elementwise.bitwise_and,
    "or": elementwise.bitwise_or,
    "xor": elementwise.bitwise_xor,
    "lshift": elementwise.bitwise_left_shift,
    "rshift": elementwise.bitwise_right_shift,
}
_COMPARE: dict[str, Callable[[Any, Any], Tensor]] = {
    "lt": elementwise.less,
    "le": elementwise.less_equal,
    "gt": elementwise.greater,
    "ge": elementwise.greater_equal,
    "eq": elementwise.equal,
    "ne": elementwise.not_equal,
}
_UNARY: dict[str, Callable[[Any], Tensor]] = {
    "neg": elementwise.negative,
    "pos": elementwise.positive,
    "abs": elementwise.abs,
    "invert": elementwise.bitwise_invert,
}
_METHODS: dict[str, Callable[..., Any]] = {
    "sum": reduction.sum,
    "prod": reduction.prod,
    "mean": reduction.mean,
    "std": reduction.std,
    "var": reduction.var,
    "max": reduction.max,
    "min": reduction.min,
    "all": reduction.all,
    "any": reduction.any,
    "argmax": reduction.argmax,
    "argmin": reduction.argmin,
    "cumsum": cumulative.cumsum,
    "cumprod": cumulative.cumprod,
    "sort": order.sort,
    "argsort": order.argsort,
    "searchsorted": order.searchsorted,
    "nonzero": sets.nonzero,
    "astype": elementwise.cast,
    "clip": standard.clip,
    "round": elementwise.round,
    "conj": complex_numbers.conj,
    "dot": linear.dot,
    "squeeze": manipulation.squeeze,
    "ravel": manipulation.ravel,
    "flatten": manipulation.ravel,
    "swapaxes": manipulation.swapaxes,
    "repeat": repeating.repeat,
    "take": indexing.take,
    "diagonal": arrangement.diagonal,
    "trace": arrangement.trace,
    "relu": activation.relu,
    "exp": elementwise.exp,
    "log": elementwise.log,
    "tanh": elementwise.tanh,
    "sqrt": elementwise.sqrt,
    "__getitem__": indexing.getitem,
    "__setitem__": updates.setitem,
}


def _forward(function: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Any]:
    def operator(self: Any, other: Any) -> Any:
        return function(self, other)

    return operator


def _backward(function: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Any]:
    def operator(self: Any, other: Any) -> Any:
        return function(other, self)

    return operator


def _equality(function: Callable[[Any, Any], Tensor], otherwise: bool) -> Callable[[Any, Any], Any]:
    def operator(self: Any, other: Any) -> Any:
        # Comparing with None or a string must not raise: containers and tests do it.
        return otherwise if other is None or isinstance(other, str) else function(self, other)

    return operator


def _reshape(self: Any, *shape: Any) -> Tensor:
    return manipulation.reshape(self, shape[0] if len(shape) == 1 else shape)


def _transpose(self: Any, *axes: Any) -> Tensor:
    return manipulation.transpose(self, (axes[0] if len(axes) == 1 else axes) if axes else None)


def _matrix_transpose(self: Any) -> Tensor:
    if self.ndim < 2:
        raise ShapeError(
            f"expected at least two axes for .mT; received {list(self.shape)}. "
            "Insert one with x[None]"
        )
    return manipulation.matrix_transpose(self)


def _iterate(self: Any) -> Iterator[Tensor]:
    if not self.shape:
        # Without this, an index error would end the loop before it began.
        raise DtypeError(
            "expected a tensor with at least one axis to iterate over; received 0-d. "
            "Insert one with x[None], or take x.item()"
        )
    return (indexing.getitem(self, i) for i in range(self.shape[0]))


def _divmod(self: Any, other: Any) -> tuple[Tensor, Tensor]:
    return standard.floor_divide(self, other), elementwise.mod(self, other)


def _rdivmod(self: Any, other: Any) -> tuple[Tensor, Tensor]:
    return standard.floor_divide(other, self), elementwise.mod(other, self)


def _round(self: Any, ndigits: int | None = None) -> Tensor:
    rounded: Tensor = guarded(elementwise.round)(self, 0 if ndigits is None else ndigits)
    return rounded


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    function = guarded(function)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs:
            # np.sum(x) calls x.sum(axis=None, dtype=None, out=None) whatever x is.
            kwargs = {k: v for k, v in kwargs.items() if v is not None or k not in _UNSAID}
        return function(self, *args, **kwargs)

    method.__doc__ = function.__doc__
    return method


_UNSAID = ("out", "dtype", "initial")


def _at(self: Any) -> updates.At:
    return updates.At(self)


def install(cls: type) -> None:
    """Attach all operators and methods to a class."""
    for name, function in _BINARY.items():
        setattr(cls, f"__{name}__", _forward(function))
        setattr(cls, f"__r{name}__", _backward(function))
    for name, function in _COMPARE.items():
        special = {"eq": False, "ne": True}
        operator = _equality(function, special[name]) if name in special else _forward(function)
        setattr(cls, f"__{name}__", operator)
    for name, unary in _UNARY.items():
        setattr(cls, f"__{name}__", lambda self, unary=unary: unary(self))
    for name, method in _METHODS.items():
        setattr(cls, name, _method(method))
    for name, method in (("divmod", _divmod), ("rdivmod", _rdivmod), ("round", _round)):
        setattr(cls, f"__{name}__", method)
    cls.reshape = _reshape  # type: ignore[attr-defined]
    cls.transpose = _transpose  # type: ignore[attr-defined]
    cls.T = property(manipulation.transpose)  # type: ignore[attr-defined]
    cls.mT = property(_matrix_transpose)  # type: ignore[attr-defined]
    cls.real = property(complex_numbers.real)  # type: ignore[attr-defined]
    cls.imag = property(complex_numbers.imag)  # type: ignore[attr-defined]
    cls.__iter__ = _iterate  # type: ignore[attr-defined]
    cls.copy = cls.__copy__  # type: ignore[attr-defined]
    cls.at = property(_at)  # type: ignore[attr-defined]
    # NumPy must ask us instead of looping over elements.
    cls.__array_priority__ = 1000  # type: ignore[attr-defined]


install(Tensor)
install(Variable)
