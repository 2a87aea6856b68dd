"""The arguments of a compiled function: which are inputs, static or donated, and what a call with
other arguments has that is new. Nothing here captures or runs anything."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from tabgrad import trees
from tabgrad.errors import ArgumentError
from tabgrad.ir.graph import Node
from tabgrad.realize import Scalar
from tabgrad.tensor import Tensor, tensor
from tabgrad.variable import Variable


class _Static:
    """An argument that is part of what is compiled: a leaf, whatever it is."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Static) or type(self.value) is not type(other.value):
            return False
        return bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))

    def __repr__(self) -> str:
        return repr(self.value)


class Call(NamedTuple):
    """A call's arguments, taken apart. `leaves` and `parts` go together."""

    leaves: list[Any]
    structure: trees.Structure
    nodes: list[Node]
    donated: list[bool]  # for each node
    parts: tuple[Any, ...]  # what each leaf is, as far as it decides about the Program
    key: Any

    def fill(self, tensors: Iterable[Any]) -> Any:
        """(args, kwargs) with these in the place of the nodes."""
        rest = iter(tensors)
        filled = [
            next(rest) if part[0] != "static" else leaf.value if type(leaf) is _Static else leaf
            for leaf, part in zip(self.leaves, self.parts, strict=True)
        ]
        return trees.unflatten(self.structure, filled)


class Signature:
    """The arguments of a function: their names, which are static and which are donated."""

    def __init__(
        self,
        fn: Callable[..., Any],
        static_argnums: int | Sequence[int],
        static_argnames: str | Sequence[str],
        donate_argnums: int | Sequence[int],
    ) -> None:
        try:
            parameters = list(inspect.signature(fn).parameters.values())
        except (TypeError, ValueError):  # some builtins have no signature
            parameters = []
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self._names = [p.name for p in parameters if p.kind in kinds]
        known = {p.name for p in parameters}
        star = any(p.kind is p.VAR_KEYWORD for p in parameters) or not parameters
        names = {static_argnames} if isinstance(static_argnames, str) else set(static_argnames)
        if not star and names - known:
            raise ArgumentError(
                f"expected static_argnames among {sorted(known)}; received {sorted(names - known)}"
            )
        self._static = set(_numbers("static_argnums", static_argnums, self._names))
        self._static |= {self._names.index(name) for name in names if name in self._names}
        self._static_names = names | {self._names[i] for i in self._static if i < len(self._names)}
        self._donated = _numbers("donate_argnums", donate_argnums, self._names)
        both = self._static & set(self._donated)
        if both:
            raise ArgumentError(f"expected arguments {sorted(both)} to be static or donated")

    def open(self, args: Any, kwargs: Any, engine: Any, donating: bool = True) -> Call:
        """Take the arguments of a call apart, for an engine."""
        marked_args, marked_kwargs = self.mark_static(args, kwargs)
        leaves, structure = trees.flatten((marked_args, marked_kwargs))
        if any(_is_complex_value(leaf) for leaf in leaves):
            tensors = [tensor(x) if _is_complex_value(x) else x for x in leaves]
            marked_args, marked_kwargs = trees.unflatten(structure, tensors)
            leaves, structure = trees.flatten((marked_args, marked_kwargs))
        gone = self.donated(marked_args) if donating else set()
        nodes: list[Node] = []
        donated: list[bool] = []
        parts: list[Any] = []
        for i, leaf in enumerate(leaves):
            node = as_node(leaf)
            if node is None:
                parts.append(("static", type(leaf), leaf))
                continue
            gives = i in gone and isinstance(leaf, Tensor)
            if any(node is other and (gives or its) for other, its in zip(nodes, donated)):
                raise ArgumentError(
                    "expected a donated tensor in one argument only; received one of shape "
                    f"{list(node.shape)} in two. Copy it first: x + 0"
                )
            nodes.append(node)
            donated.append(gives)
            scalar = isinstance(node.buffer, Scalar) and not gives
            parts.append((node.shape, node.dtype, scalar, gives))
        key = (engine, structure, tuple(parts))
        return Call(leaves, structure, nodes, donated, tuple(parts), key)

    def mark_static(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments with each static one as a leaf."""
        if not self._static and not self._static_names:
            return args, kwargs
        marked = tuple(
            self._marked(self._name(i), arg) if i in self._static else arg
            for i, arg in enumerate(args)
        )
        named = {
            name: self._marked(name, arg) if name in self._static_names else arg
            for name, arg in kwargs.items()
        }
        return marked, named

    def _marked(self, name: str, arg: Any) -> _Static:
        try:
            hash(arg)
        except TypeError:
            raise ArgumentError(
                f"expected the static argument {name!r} to be hashable; received "
                f"{type(arg).__name__}. Use a tuple for a list, or do not make it static"
            ) from None
        if isinstance(arg, (Tensor, Variable)):
            raise ArgumentError(
                f"expected a Python value for the static argument {name!r}; received a "
                f"{type(arg).__name__}, whose values the Program cannot depend on"
            )
        return _Static(arg)

    def donated(self, args: Sequence[Any]) -> set[int]:
        """Which leaves of (args, kwargs) are donated."""
        if not self._donated:
            return set()
        found: set[int] = set()
        at = 0
        for i, arg in enumerate(args):
            size = trees.flatten(arg)[1].size
            if i in self._donated:
                found |= set(range(at, at + size))
            at += size
        return found

    def _name(self, i: int) -> str:
        return self._names[i] if i < len(self._names) else f"argument {i}"

    def differences(self, now: Call, before: Call) -> list[str]:
        """What is new in a call, the whole of it first."""
        if now.key[0] is not before.key[0]:
            return ["the engine is another one"]
        if now.structure != before.structure:
            return ["the structure of the arguments is another one"] * (len(now.parts) + 2)
        found = [
            f"{name} is {_described(part)}, was {_described(old)}"
            for name, part, old in zip(
                self._leaf_names(now.structure), now.parts, before.parts, strict=True
            )
            if part != old
        ]
        return ["; ".join(found), *found]

    def _leaf_names(self, structure: trees.Structure) -> list[str]:
        args, kwargs = structure.children
        names: list[str] = []
        for i, child in enumerate(args.children):
            names += _paths(self._name(i), child)
        for key, child in zip(kwargs.keys, kwargs.children, strict=True):
            names += _paths(str(key), child)
        return names


def _numbers(what: str, given: int | Sequence[int], names: Sequence[str]) -> list[int]:
    numbers = [given] if isinstance(given, int) else list(given)
    found = [n + len(names) if n < 0 else n for n in numbers]
    if any(n < 0 for n in found):
        raise ArgumentError(f"expected {what} of the {len(names)} arguments; received {given!r}")
    return found


def _paths(name: str, structure: trees.Structure) -> list[str]:
    if structure.kind == "leaf":
        return [name]
    keys = structure.keys or range(len(structure.children))
    return [
        path
        for key, child in zip(keys, structure.children, strict=True)
        for path in _paths(f"{name}[{key!r}]", child)
    ]


def _described(part: tuple[Any, ...]) -> str:
    if part[0] == "static":
        return f"the static {part[2]!r}"
    shape, dtype, scalar, _ = part
    return f"{dtype.name} {list(shape)}" + (" from the host" if scalar else "")


def as_node(leaf: Any) -> Node | None:
    """The node of what is an input of a compiled function; None for what is static."""
    if isinstance(leaf, Tensor):
        return leaf.node
    if isinstance(leaf, Variable):
        return leaf.node()
    if isinstance(leaf, float) or hasattr(leaf, "__array__"):
        return tensor(leaf).node
    return None


def _is_complex_value(leaf: Any) -> bool:
    if isinstance(leaf, (Tensor, Variable, _Static)):
        return False
    return isinstance(leaf, complex) or getattr(getattr(leaf, "dtype", None), "kind", "") == "c"
