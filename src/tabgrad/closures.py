"""What a function sees beside its arguments, so that `tg.compile` notices when it changes.

Looked at are the function's closure, the globals it names and the attributes it names of the
objects among those (a method's `self` too), also through the functions it calls that are written in
Python: wherever there is a tensor, a Variable, a number, a string, or a container of such. What
those objects compute, and arrays changed in place, are not seen.
"""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tabgrad.tensor import Node, Tensor
from tabgrad.variable import Variable

# Larger containers are data, not parameters, and not looked at.
MAX_LEAVES = 1_000
_MISSING = object()
_PLAIN = (bool, int, float, complex, str)


class Place(NamedTuple):
    """A name that a function reads, and how to read it now."""

    name: str
    read: Callable[[], Any]


class Surroundings:
    """What a function read when it was captured."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._seen = [
            _Seen(place, value, print_of)
            for place in _places(fn)
            for value in [_value(place)]
            for print_of in [_print(value)]
            if print_of is not None
        ]

    def changed(self) -> str | None:
        """The name of something that is not what it was, or None. Asked at every call."""
        for seen in self._seen:
            now = _value(seen.place)
            if now is seen.value and seen.untouched():
                continue
            if _print(now) != seen.print_of:
                return seen.place.name
            seen.look_at(now)
        return None

    def values(self) -> dict[str, Any]:
        """What each name stood for."""
        return {seen.place.name: seen.value for seen in self._seen}

    def rebound(self) -> Iterator[tuple[str, Tensor, tuple[Node, Node | None]]]:
        """Tensors that stand for another value by `x[i] = v`: name, tensor, what it stood for."""
        for seen in self._seen:
            for tensor, node, imag in zip(seen.tensors, seen.nodes, seen.imags, strict=True):
                if tensor.parts != (node, imag):
                    yield seen.place.name, tensor, (node, imag)


_node_of, _imag_of = operator.attrgetter("_node"), operator.attrgetter("_imag")


class _Seen:
    """A place, and what was there.

    Its print tells exactly whether something else is there now, and takes 90 us for 200 numbers.
    Nearly always everything is the very same object, which a walk in C finds in a tenth of that:
    for this it is noted what the containers held, but for tuples, which always hold the same.
    """

    __slots__ = ("dicts", "imags", "lists", "nodes", "place", "print_of", "tensors", "value")

    def __init__(self, place: Place, value: Any, print_of: Any) -> None:
        self.place, self.print_of = place, print_of
        self.look_at(value)

    def look_at(self, value: Any) -> None:
        """Note the objects inside a value with this print."""
        self.value = value
        self.lists: list[tuple[Any, tuple[Any, ...]]] = []
        self.dicts: list[tuple[Any, tuple[Any, ...], tuple[Any, ...]]] = []
        self.tensors: list[Tensor] = []
        stack = [value]
        while stack:
            one = stack.pop()
            if isinstance(one, Tensor):
                self.tensors.append(one)
            elif isinstance(one, dict):
                self.dicts.append((one, tuple(one), tuple(one.values())))
                stack += one.values()
            elif isinstance(one, (list, tuple)):
                if isinstance(one, list):
                    self.lists.append((one, tuple(one)))
                stack += one
        self.nodes = [tensor.parts[0] for tensor in self.tensors]
        self.imags = [tensor.parts[1] for tensor in self.tensors]

    def untouched(self) -> bool:
        """Whether all objects inside are those noted."""
        same = operator.is_
        for one, items in self.lists:
            if len(one) != len(items) or not all(map(same, one, items)):
                return False
        for one, keys, values in self.dicts:
            if len(one) != len(keys) or not all(map(same, one.values(), values)):
                return False
            if not all(map(same, one, keys)):
                return False
        return not self.tensors or (
            all(map(same, map(_node_of, self.tensors), self.nodes))
            and all(map(same, map(_imag_of, self.tensors), self.imags))
        )


def _value(place: Place) -> Any:
    try:
        return place.read()
    except Exception:  # an empty cell, a deleted name, a property that fails
        return _MISSING


def _print(value: Any) -> Any:
    """What tells a value from others; None for what is not looked at."""
    if isinstance(value, Tensor):
        return tuple(map(_Same, value.parts))
    if isinstance(value, Variable):
        return _Same(value)
    if isinstance(value, _PLAIN):
        return (type(value), repr(value))
    if isinstance(value, (dict, list, tuple)):
        try:
            inside = _print_inside(value, [MAX_LEAVES])
        except (_TooMuch, RecursionError):  # data, or a container that holds itself
            return None
        return inside if _says_something(inside) else None
    return None


class _TooMuch(Exception):
    """More leaves than are looked at."""


def _print_inside(value: Any, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise _TooMuch
    if isinstance(value, dict):
        return (dict, tuple(value), tuple([_print_inside(v, left) for v in value.values()]))
    if isinstance(value, (list, tuple)):
        return (type(value), None, tuple([_print_inside(v, left) for v in value]))
    return _print(value)


def _says_something(inside: Any) -> bool:
    if isinstance(inside, tuple) and len(inside) == 3:
        return any(map(_says_something, inside[2]))
    return inside is not None


class _Same:
    """Equal to itself alone, and keeps its object alive so that no other takes its place."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    __hash__ = None  # type: ignore[assignment]


def _places(fn: Any) -> Iterator[Place]:
    stack: list[tuple[str, Any]] = [] if _is_ours(fn) else [("", fn)]
    seen: set[int] = set()
    while stack:
        prefix, function = stack.pop()
        while isinstance(function, functools.partial):
            function = function.func
        if isinstance(function, types.MethodType):
            owner, function = function.__self__, function.__func__
            yield from _attributes("self", owner, _names(function.__code__))
        if not isinstance(function, types.FunctionType) or id(function) in seen:
            continue
        seen.add(id(function))
        code, names = function.__code__, _names(function.__code__)
        inner: list[tuple[str, Callable[[], Any]]] = []
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            inner.append((name, functools.partial(getattr, cell, "cell_contents")))
        known = function.__globals__
        for name in names:
            if name in known:
                inner.append((name, functools.partial(known.get, name, _MISSING)))
        for name, read in inner:
            place = Place(prefix + name, read)
            value = _value(place)
            if _is_ours(value):
                continue
            if isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
                stack.append((f"{prefix}{name}: ", value))
            elif isinstance(value, types.ModuleType) or not isinstance(value, type):
                yield place
                yield from _attributes(prefix + name, value, names)


def _attributes(name: str, owner: Any, names: set[str]) -> Iterator[Place]:
    held = getattr(owner, "__dict__", None)
    if not isinstance(held, dict) or _is_ours(owner):
        return
    for attribute in sorted(names & held.keys()):
        if _holds_tensors(held[attribute]):
            yield Place(f"{name}.{attribute}", functools.partial(held.get, attribute, _MISSING))


def _holds_tensors(value: Any) -> bool:
    """Numbers among attributes are left out: counters and flags that a method changes itself."""
    stack, left = [value], MAX_LEAVES
    while stack and left:
        one, left = stack.pop(), left - 1
        if isinstance(one, (Tensor, Variable)):
            return True
        if isinstance(one, (dict, list, tuple)):
            stack += list(one.values() if isinstance(one, dict) else one)[:MAX_LEAVES]
    return False


def _names(code: types.CodeType) -> set[str]:
    """Names that a function and those written inside it use, of globals and attributes alike."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found


def _is_ours(value: Any) -> bool:
    """Part of this package, whose own state is in Variables: layers, modules, functions."""
    module = value.__name__ if isinstance(value, types.ModuleType) else None
    if module is None:
        if isinstance(value, (Tensor, Variable, dict, list, tuple, *_PLAIN)):
            return False
        kind = value if isinstance(value, (type, types.FunctionType)) else type(value)
        module = getattr(kind, "__module__", "") or ""
    return str(module).partition(".")[0] == __name__.partition(".")[0]
