"""Variable: the only mutable thing. Weights, optimizer slots, counters, metrics, random state.

Reading one gives a Tensor pinned to the value of that moment. A Program updates the buffer in place
only while no live Tensor pins it; otherwise the buffer is copied first.
"""

from __future__ import annotations

import itertools
from typing import Any, Protocol
from weakref import ref

from tabgrad import realize
from tabgrad.dtypes import DType, as_dtype
from tabgrad.errors import DtypeError, ShapeError
from tabgrad.ir.graph import Node, make
from tabgrad.realize import Buffer
from tabgrad.tensor import Tensor, tensor


class Scope(Protocol):
    """Something that stands between a Variable and whoever reads or assigns it: a capture, which
    turns it into state of a Program, or a gradient, which marks it as an input."""

    def read(self, variable: Variable, outer: int) -> Node | None:
        """The node to read instead, or None to ask the scope below `outer`."""
        ...

    def assign(self, variable: Variable, node: Node) -> bool:
        """True when the assignment was taken over."""
        ...


_scopes: list[Scope] = []
_names = itertools.count()


class Variable:
    """A named array that can be assigned.

    Args:
        initial: a value `tg.tensor` accepts, or a function of (shape, dtype) returning one.
        shape: needed with a function.
        dtype: by default that of the value.
        trainable: whether optimizers change it.
        name: by default "variable", "variable_1", ...

    Raises:
        ShapeError: assigning a value of another shape.

    Example:
        >>> import tabgrad as tg
        >>> v = tg.Variable([1.0, 2.0], name="v")
        >>> v.assign(v + 1).tolist()
        [2.0, 3.0]
    """

    def __init__(
        self,
        initial: Any,
        shape: tuple[int, ...] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
    ) -> None:
        want = None if dtype is None else as_dtype(dtype)
        if callable(initial) and not isinstance(initial, Tensor):
            initial = initial(() if shape is None else shape, want or as_dtype("float32"))
        value = tensor(initial, shape, want)
        self.shape: tuple[int, ...] = value.shape
        self.dtype: DType = value.dtype
        self.trainable = trainable
        number = next(_names) if name is None else 0
        self.name = name if name is not None else f"variable_{number}" if number else "variable"
        self.path = self.name
        self.version = 0
        self._node: Node | None = value.node  # an assigned value, pending or shared with tensors
        self._own: Buffer | None = None  # or the buffer only this Variable writes
        self._leaf: ref[Node] | None = None  # the leaf through which `_own` was last read

    @property
    def value(self) -> Tensor:
        """The value now, as a Tensor that later assignments do not change."""
        return Tensor(self.node())

    def node(self, below: int | None = None) -> Node:
        """The graph node of the current value, as the scopes below index `below` see it."""
        for i in range(len(_scopes) if below is None else below, 0, -1):
            found = _scopes[i - 1].read(self, i - 1)
            if found is not None:
                return found
        if self._node is not None:
            return self._node
        leaf = self._leaf() if self._leaf is not None else None
        if leaf is None:
            leaf = realize.value_node(self._own, self.shape, self.dtype)
            self._leaf = ref(leaf)
        return leaf

    def assign(self, value: Any) -> Tensor:
        """Set the value; returns it as a Tensor. Shapes must be equal; the dtype is converted."""
        if isinstance(value, Variable):
            value = value.value
        given = tensor(value, dtype=None if isinstance(value, Tensor) else self.dtype)
        if given.shape != self.shape:
            raise ShapeError(
                f"expected a value of shape {list(self.shape)} for Variable {self.path!r}; "
                f"received {list(given.shape)}"
            )
        node = given.node
        if given.dtype is not self.dtype:
            if given.dtype.is_float and not self.dtype.is_float:
                raise DtypeError(
                    f"expected {self.dtype.name} for Variable {self.path!r}; received "
                    f"{given.dtype.name}. Cast it first: tg.cast(x, {self.dtype.name!r})"
                )
            node = make("cast", node, dtype=self.dtype)
        for i in range(len(_scopes), 0, -1):
            if _scopes[i - 1].assign(self, node):
                return Tensor(node)
        self._node, self._own, self._leaf = node, None, None
        self.version += 1
        return Tensor(node)

    def assign_add(self, value: Any) -> Tensor:
        """Add to the value."""
        return self.assign(self.value + value)

    def assign_sub(self, value: Any) -> Tensor:
        """Subtract from the value."""
        return self.assign(self.value - value)

    def numpy(self) -> Any:
        """The value as a NumPy array."""
        return self.value.numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.value.__array__(dtype, copy)

    def tolist(self) -> Any:
        """The value as nested lists."""
        return self.value.tolist()

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        total = 1
        for n in self.shape:
            total *= n
        return total

    def handle(self, update: bool) -> int:
        """The engine's handle for a Program to read, or, with `update`, to write in place.

        Before a write the buffer is made this Variable's alone: a Tensor that pins the present
        value keeps the old buffer and the Variable goes on in a copy.
        """
        current = realize.engine()
        if self._node is not None:
            realize.realize([self._node])
            node, self._node = self._node, None
            buffer = realize.handle_of(node)
            # A number kept on the host is uploaded into a buffer nobody else has.
            uploaded = buffer is not node.buffer
            watch = ref(node)
            del node
            shared = watch() is not None and not uploaded
            if shared and not update:
                self._node = watch()
                return int(buffer.handle)
            self._own, self._leaf = (buffer.copy(current) if shared else buffer), None
        assert self._own is not None
        if self._own.engine is not current:
            if self._own.host is None and self._own.engine.closed:
                raise realize.gone(self._own, f"Variable {self.path!r}")
            self._own = self._own.copy(current)
            self._leaf = None
        if update and self._leaf is not None:
            if self._leaf() is not None:
                self._own = self._own.copy(current)
            self._leaf = None
        if update:
            self._own.host = None
        return int(self._own.handle)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec) if spec else str(self)

    def __copy__(self) -> Variable:
        return self.__deepcopy__(None)

    def __deepcopy__(self, memo: Any) -> Variable:
        return _restored(self.value, self.name, self.path, self.trainable)

    def __reduce__(self) -> Any:
        return _restored, (self.value, self.name, self.path, self.trainable)

    def __repr__(self) -> str:
        return f"<Variable {self.path} shape={self.shape} dtype={self.dtype.name}>"

    def __hash__(self) -> int:
        return id(self)


def _restored(value: Tensor, name: str, path: str, trainable: bool) -> Variable:
    variable = Variable(value, trainable=trainable, name=name)
    variable.path = path
    return variable


class scope:
    """Put a Scope between Variables and their users."""

    def __init__(self, entered: Scope) -> None:
        self._entered = entered

    def __enter__(self) -> Scope:
        _scopes.append(self._entered)
        return self._entered

    def __exit__(self, *exc: object) -> None:
        _scopes.remove(self._entered)
