"""What Keras asks of a tensor without computing anything: shape, size, rank, dtype, kind."""

from __future__ import annotations

from typing import Any

from tabgrad.ops.arguments import parts_of
from tabgrad.ops.elementwise import convert_to_tensor
from tabgrad.ops.indexing import getitem
from tabgrad.tensor import Tensor
from tabgrad.variable import Variable


def shape(x: Any) -> tuple[int, ...]:
    """The size of each axis.

    Args:
        x: a tensor of any dtype, or what can be one.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.shape([[1, 2]])
        (1, 2)
    """
    return Tensor(*parts_of(x)).shape


def size(x: Any) -> int:
    """The number of elements.

    Args:
        x: a tensor of any dtype, or what can be one.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.size([[1, 2]])
        2
    """
    return Tensor(*parts_of(x)).size


def ndim(x: Any) -> int:
    """The number of axes.

    Args:
        x: a tensor of any dtype, or what can be one.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.ndim([[1, 2]])
        2
    """
    return Tensor(*parts_of(x)).ndim


def dtype(x: Any) -> str:
    """The name of the dtype, as Keras gives it.

    Args:
        x: a tensor of any shape, or what can be one.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.dtype([[1, 2]])
        'int32'
    """
    return Tensor(*parts_of(x)).dtype.name


def is_tensor(x: Any) -> bool:
    """Whether x is a tensor (or a Variable), not just something that can become one.

    Args:
        x: anything of any type and shape.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.is_tensor(tg.ones(2)), tg.ops.is_tensor([1, 2])
        (True, False)
    """
    return isinstance(x, (Tensor, Variable))


def convert_to_numpy(x: Any) -> Any:
    """The value as a NumPy array.

    Args:
        x: a tensor of any shape and dtype, or what can be one.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.convert_to_numpy(tg.ones((2,))).tolist()
        [1.0, 1.0]
    """
    return Tensor(*parts_of(x)).numpy()


def array(x: Any, dtype: Any = None) -> Tensor:
    """Anything array-like as a tensor, `convert_to_tensor` under NumPy's name.

    Args:
        x: a tensor, a number, nested lists, or an array of any shape.
        dtype: by default that of x.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.array([1, 2]).dtype
        int32
    """
    return convert_to_tensor(x, dtype)


def copy(x: Any) -> Tensor:
    """A tensor of its own with the values of x.

    Args:
        x: of any shape and dtype, which the result has, too.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.copy([1, 2]).tolist()
        [1, 2]
    """
    return Tensor(*parts_of(x))


def get_item(x: Any, key: Any) -> Tensor:
    """x[key].

    Args:
        x: of any shape and dtype.
        key: what stands between the brackets.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.get_item([1, 2, 3], slice(1, None)).tolist()
        [2, 3]
    """
    return getitem(x, key)
