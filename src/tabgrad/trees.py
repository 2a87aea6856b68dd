"""Nested containers of leaves: flatten to a list, rebuild from it. Dicts go in key order.

Containers are dict, list, tuple (named tuples too) and None, and what a class has registered (a
complex tensor is a container of its two parts); anything else is a leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tabgrad.errors import ArgumentError


class Structure:
    """The shape of a nested container without its leaves; hashable, so it can key a cache."""

    __slots__ = ("children", "keys", "kind")

    def __init__(self, kind: Any, keys: tuple[Any, ...], children: tuple[Structure, ...]) -> None:
        self.kind, self.keys, self.children = kind, keys, children

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Structure) and (self.kind, self.keys, self.children) == (
            other.kind,
            other.keys,
            other.children,
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.keys, self.children))

    @property
    def size(self) -> int:
        """Number of leaves."""
        return 1 if self.kind is _LEAF else sum(child.size for child in self.children)


_registered: dict[type, tuple[Callable[[Any], Sequence[Any] | None], Callable[..., Any]]] = {}


def register(
    kind: type, parts: Callable[[Any], Sequence[Any] | None], build: Callable[..., Any]
) -> None:
    """Make objects of `kind` containers: `parts` gives what one holds, None where it is a leaf
    after all, and `build(*parts)` puts it together again."""
    _registered[kind] = parts, build


_LEAF = "leaf"
_LEAF_STRUCTURE = Structure(_LEAF, (), ())


def flatten(tree: Any, whole: bool = False) -> tuple[list[Any], Structure]:
    """The leaves of `tree` in order, and its structure for `unflatten`. With `whole`, objects of
    registered classes are leaves."""
    leaves: list[Any] = []
    return leaves, _walk(tree, leaves, {} if whole else _registered)


def _walk(tree: Any, leaves: list[Any], opened: Mapping[type, Any]) -> Structure:
    if tree is None:
        return Structure(type(None), (), ())
    if isinstance(tree, dict):
        keys = tuple(sorted(tree))
        return Structure(dict, keys, tuple(_walk(tree[k], leaves, opened) for k in keys))
    if isinstance(tree, (list, tuple)):
        return Structure(type(tree), (), tuple(_walk(item, leaves, opened) for item in tree))
    if type(tree) in opened:
        parts = opened[type(tree)][0](tree)
        if parts is not None:
            return Structure(type(tree), (), tuple(_walk(item, leaves, opened) for item in parts))
    leaves.append(tree)
    return _LEAF_STRUCTURE


def unflatten(structure: Structure, leaves: Sequence[Any]) -> Any:
    """The container of this structure holding `leaves`; ArgumentError when the counts differ."""
    if structure.size != len(leaves):
        raise ArgumentError(
            f"expected {structure.size} leaves for this structure; received {len(leaves)}"
        )
    return _build(structure, iter(leaves))


def _build(structure: Structure, leaves: Iterator[Any]) -> Any:
    kind = structure.kind
    if kind is _LEAF:
        return next(leaves)
    if kind is type(None):
        return None
    children = [_build(child, leaves) for child in structure.children]
    if kind is dict:
        return dict(zip(structure.keys, children, strict=True))
    if kind in _registered:
        return _registered[kind][1](*children)
    if hasattr(kind, "_fields"):
        return kind(*children)
    return kind(children)


def map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """`function` applied to corresponding leaves of trees of the same structure."""
    leaves, structure = flatten(tree)
    columns = [leaves]
    for other in others:
        more, its_structure = flatten(other)
        if its_structure != structure:
            raise ArgumentError("expected trees of the same structure; received different ones")
        columns.append(more)
    return unflatten(structure, [function(*row) for row in zip(*columns, strict=True)])
