"""`vmap`: a function of one example as a function of many. The walk is in `ir/batching.py`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tabgrad import realize, trees
from tabgrad.errors import ArgumentError, NotSupportedError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.batching import batched, moved, repeated
from tabgrad.ir.graph import Node, captured
from tabgrad.transformations.inside import Inside
from tabgrad.transformations.layout import Layout, open_up
from tabgrad.variable import scope


def vmap(
    fn: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0, axis_size: int | None = None
) -> Callable[..., Any]:
    """A function that applies `fn` to every example of a batch at once, as `jax.vmap`.

    Args:
        fn: a function of tensors without the batch axis; takes and returns nested containers.
        in_axes: where the batch is in the positional arguments: an axis for all, None for those
            shared by all examples, or a tuple with an entry for each argument, in which containers
            may have entries for their parts. Keyword arguments have it on axis 0.
        out_axes: where to put it in the results, likewise; None for what does not depend on it.
        axis_size: the number of examples, needed where no argument has them.

    Returns:
        A function of the batch. Random numbers drawn inside with a key of each example differ;
        with one seed or generator for all, they are the same in every example.

    Raises:
        ShapeError: sizes that differ, or an axis that an argument does not have.
        ArgumentError: in_axes with another number of entries than there are arguments.
        CaptureError: reading a value inside `fn` that depends on the example.
        NotSupportedError: assigning such a value to a Variable.

    Example:
        >>> import tabgrad as tg
        >>> rows = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> dot = lambda x, w: (x * w).sum()
        >>> tg.vmap(dot, in_axes=(0, None))(rows, tg.tensor([1.0, 10.0])).tolist()
        [21.0, 43.0]
    """

    @functools.wraps(fn)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        spec = in_axes
        if isinstance(spec, list):
            spec = tuple(spec)
        if isinstance(spec, tuple) and len(spec) != len(args):
            raise ArgumentError(
                f"expected in_axes with an entry for each of {len(args)} positional arguments; "
                f"received {in_axes!r}"
            )
        axes = [*_axes(spec, tuple(args), "in_axes"), *_axes(0, kwargs, "in_axes")]
        nodes, layout = open_up((args, kwargs), static=True)
        leaves = trees.flatten((args, kwargs), whole=True)[0]
        where = [
            axis + len(node.shape) if axis is not None and axis < 0 else axis
            for node, axis in zip(nodes, _of_nodes(leaves, axes, layout), strict=True)
        ]
        size = _size(nodes, where, axis_size)
        fronts: dict[Node, Node] = {}
        inner = []
        for node, axis in zip(nodes, where, strict=True):
            if axis is None:
                inner.append(node)
                continue
            front = moved(node, axis, 0)
            inner.append(b.input(front.shape[1:], front.dtype))
            fronts[inner[-1]] = front
        inner_args, inner_kwargs = layout.fill(inner)
        # A function compiled or differentiated inside must be a part of this graph.
        name = repr(getattr(fn, "__name__", "function"))
        with (
            realize.gradient_scope(),
            captured("tg.vmap", name),
            scope(Inside(list(fronts), _refusal)),
        ):
            result = fn(*inner_args, **inner_kwargs)
            ys, out_layout = open_up(result)
        out_where = _of_nodes(
            trees.flatten(result, whole=True)[0], _axes(out_axes, result, "out_axes"), out_layout
        )
        outs = [
            _placed(out, flag, axis, size)
            for (out, flag), axis in zip(batched(ys, fronts), out_where, strict=True)
        ]
        return out_layout.fill(outs)

    return mapped


def _refusal(path: str) -> NotSupportedError:
    """What a Variable is told that has no one value to take."""
    return NotSupportedError(
        f"Variable {path!r} was assigned a value that depends on the example inside tg.vmap, where "
        "there are many at once. Return the value and assign a reduction of it outside"
    )


def _axes(spec: Any, tree: Any, what: str) -> list[int | None]:
    """The axis of each leaf, of a container of axes that may end higher up than the tree."""
    return list(_walk(spec, tree, what))


def _walk(spec: Any, tree: Any, what: str) -> Iterator[int | None]:
    if spec is None or (isinstance(spec, int) and not isinstance(spec, bool)):
        yield from [spec] * len(trees.flatten(tree, whole=True)[0])
        return
    if isinstance(spec, dict):
        fits = isinstance(tree, dict) and set(tree) == set(spec)
        pairs = [(spec[key], tree[key]) for key in sorted(spec)] if fits else []
    else:
        fits = isinstance(spec, (tuple, list)) and isinstance(tree, (tuple, list))
        fits = fits and len(spec) == len(tree)
        pairs = list(zip(spec, tree, strict=True)) if fits else []
    if not fits:
        raise ArgumentError(
            f"expected {what} of ints and None in the structure of what they describe; received "
            f"{spec!r} for a {type(tree).__name__}"
        )
    for inner, part in pairs:
        yield from _walk(inner, part, what)


def _of_nodes(
    leaves: Sequence[Any], axes: Sequence[int | None], layout: Layout
) -> list[int | None]:
    """The axis of each node; complex leaves have two."""
    found: list[int | None] = []
    for leaf, axis, count in zip(leaves, axes, layout.counts, strict=True):
        if axis is not None and not count and isinstance(leaf, int):
            raise ShapeError(
                f"vmap expected an argument with axis {axis} to map over; received the number "
                f"{leaf!r}. Put None in in_axes for what all examples share"
            )
        found += [axis] * count
    return found


def _size(nodes: Sequence[Node], where: Sequence[int | None], given: int | None) -> int:
    sizes = {} if given is None else {given: "axis_size"}
    for node, axis in zip(nodes, where, strict=True):
        if axis is None:
            continue
        if not 0 <= axis < len(node.shape):
            raise ShapeError(
                f"vmap expected an argument with axis {axis} to map over; received shape "
                f"{list(node.shape)}. Put None in in_axes for what all examples share"
            )
        sizes.setdefault(node.shape[axis], f"axis {axis} of {list(node.shape)}")
    if len(sizes) != 1:
        found = ", ".join(f"{size} ({where})" for size, where in sizes.items()) or "none"
        raise ShapeError(
            f"vmap expected one number of examples in all mapped arguments; received {found}. "
            "Give in_axes that name the batch axes, or axis_size where no argument has one"
        )
    return next(iter(sizes))


def _placed(out: Node, flag: bool, axis: int | None, size: int) -> Node:
    if axis is None:
        if flag:
            raise ArgumentError(
                "expected a result that all examples share where out_axes is None; received one "
                f"of shape {list(out.shape[1:])} that depends on the example. Give it an axis"
            )
        return out
    whole = repeated(out, size, flag)
    rank = len(whole.shape)
    if not -rank <= axis < rank:
        raise ShapeError(
            f"vmap expected out_axes from {-rank} to {rank - 1} for results of {rank} axes (the "
            f"batch included); received {axis}"
        )
    return moved(whole, 0, axis % rank)
