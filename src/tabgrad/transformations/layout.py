"""Nested containers of tensors as flat lists of nodes, and back. A complex tensor is two nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad import trees
from tabgrad.errors import ArgumentError, DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Aval, Node
from tabgrad.tensor import Tensor, tensor
from tabgrad.variable import Variable

_STATIC = 0


class Layout:
    """Where the leaves of a container are in a list of nodes. `counts` has the nodes of each leaf;
    leaves without any are kept as they are."""

    __slots__ = ("counts", "static", "structure")

    def __init__(
        self, structure: trees.Structure, counts: Sequence[int], static: Sequence[Any]
    ) -> None:
        self.structure, self.counts, self.static = structure, tuple(counts), tuple(static)

    @property
    def size(self) -> int:
        """Number of nodes."""
        return sum(self.counts)

    def fill(self, nodes: Sequence[Node]) -> Any:
        """The container with tensors on these nodes."""
        rest, kept = iter(nodes), iter(self.static)
        leaves: list[Any] = []
        for count in self.counts:
            if count == _STATIC:
                leaves.append(next(kept))
            elif count == 1:
                leaves.append(Tensor(next(rest)))
            else:
                leaves.append(Tensor(next(rest), next(rest)))
        return trees.unflatten(self.structure, leaves)


def as_tensor(leaf: Any) -> Tensor | None:
    """Tensors, Variables, arrays and floats as a Tensor; None for what is static."""
    if isinstance(leaf, Tensor):
        return leaf
    if isinstance(leaf, Variable):
        return leaf.value
    if isinstance(leaf, (float, complex)) or hasattr(leaf, "__array__"):
        return tensor(leaf)
    return None


def open_up(tree: Any, *, static: bool = False) -> tuple[list[Node], Layout]:
    """The nodes of all leaves, and how to put them back.

    With `static`, leaves other than tensors, arrays and floats stay as they are; without, numbers
    become tensors and anything else is an error.
    """
    leaves, structure = trees.flatten(tree, whole=True)
    nodes: list[Node] = []
    counts: list[int] = []
    kept: list[Any] = []
    for leaf in leaves:
        value = as_tensor(leaf)
        if value is None:
            if static:
                counts.append(_STATIC)
                kept.append(leaf)
                continue
            value = tensor(leaf)
        parts = [node for node in value.parts if node is not None]
        nodes += parts
        counts.append(len(parts))
    return nodes, Layout(structure, counts, kept)


def conjugated(layout: Layout, nodes: Sequence[Node]) -> list[Node]:
    """The nodes with imaginary parts negated, which turns the cotangents of the parts of x + iy
    into the one number g_x - i g_y that users see (as in JAX), and back."""
    second = [part == 1 for count in layout.counts for part in range(count)]
    return [b.neg(node) if on else node for node, on in zip(nodes, second, strict=True)]


def like(what: str, tree: Any, layout: Layout, avals: Sequence[Aval]) -> list[Node | None]:
    """The nodes of a container that must have the structure, shapes and dtypes of another.

    A None in place of a leaf or of a whole part stands for zeros there, and gives None for each of
    its nodes. Numbers become tensors of the dtype that is expected.
    """
    leaves = _matched(what, tree, layout.structure)
    nodes: list[Node | None] = []
    rest = iter(avals)
    for leaf, count in zip(leaves, layout.counts, strict=True):
        want = [next(rest) for _ in range(count)]
        if leaf is None or not want:
            nodes += [None] * count
            continue
        nodes += _parts_like(what, leaf, want)
    return nodes


def _parts_like(what: str, leaf: Any, want: Sequence[Aval]) -> list[Node]:
    if isinstance(leaf, (Tensor, Variable)) or hasattr(leaf, "__array__"):
        value = as_tensor(leaf)
        assert value is not None
    else:
        value = tensor(leaf, dtype=want[0].dtype if len(want) == 1 else None)
    if value.shape != want[0].shape:
        raise ShapeError(
            f"expected {what} of shape {list(want[0].shape)}; received {list(value.shape)}"
        )
    real, imag = value.parts
    if len(want) == 1:
        if imag is not None:
            raise DtypeError(
                f"expected {what} of {want[0].dtype.name}; received {value.dtype.name}. Take "
                "tg.real first"
            )
        return [Tensor(real).astype(want[0].dtype).node]
    zero = Tensor(real) * 0
    parts = [Tensor(real), zero if imag is None else Tensor(imag)]
    return [part.astype(aval.dtype).node for part, aval in zip(parts, want, strict=True)]


def _matched(what: str, tree: Any, structure: trees.Structure) -> list[Any]:
    """The leaves of `tree` at the places of `structure`, None for all below a None."""
    if tree is None:
        return [None] * structure.size
    if structure.kind == "leaf":
        if isinstance(tree, dict):
            raise ArgumentError(f"expected {what} to be a tensor; received {tree!r}")
        return [tree]
    if structure.kind is type(None):
        raise ArgumentError(f"expected {what} to have None where its model has; received {tree!r}")
    if structure.kind is dict:
        fits = isinstance(tree, dict) and set(tree) == set(structure.keys)
        children = [tree[key] for key in structure.keys] if fits else []
    else:
        fits = isinstance(tree, (list, tuple)) and len(tree) == len(structure.children)
        children = list(tree) if fits else []
    if not fits:
        raise ArgumentError(
            f"expected {what} to have the structure of what it belongs to; received {tree!r}"
        )
    found: list[Any] = []
    for child, inner in zip(children, structure.children, strict=True):
        found += _matched(what, child, inner)
    return found
