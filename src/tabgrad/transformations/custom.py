"""Gradients that the user gives, and checkpoints, whose gradient computes the function again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from tabgrad import realize
from tabgrad.errors import ArgumentError
from tabgrad.ir import build as b
from tabgrad.ir.closing import close
from tabgrad.ir.control import projections
from tabgrad.ir.graph import Graph, Node, fresh_id, make
from tabgrad.ir.reverse import cotangents
from tabgrad.transformations.layout import Layout, conjugated, like, open_up

Function = Callable[..., Any]


def custom_gradient(fn: Function) -> Function:
    """A function whose gradient is given by the function itself.

    Args:
        fn: `fn(*args)` returns `(result, grad_fn)`. `grad_fn(upstream)` takes a cotangent for the
            result (of the same structure; several arguments, or the keyword `upstream`, where it
            asks for them) and returns the cotangent of the argument, or a tuple with one for each
            argument. None stands for zeros. Arguments and results may be nested containers;
            integers, strings and other static arguments get no cotangent.

    Returns:
        A function giving `result`. `grad_fn` may use anything `fn` computed, and functions with a
        gradient of their own, this one among them. Its own operations are differentiated in
        gradients of gradients.

    Raises:
        ArgumentError: results or cotangents of another structure than described.
        NotSupportedError: when a gradient is wanted for a tensor or Variable that `fn` uses without
            being given it as an argument.

    Example:
        >>> import tabgrad as tg
        >>> @tg.custom_gradient
        ... def log1pexp(x):
        ...     e = tg.exp(x)
        ...     return tg.log(1 + e), lambda upstream: upstream * (1 - 1 / (1 + e))
        >>> float(tg.grad(log1pexp)(tg.tensor(100.0)))
        1.0
    """

    @functools.wraps(fn)
    def with_gradient(*args: Any, **kwargs: Any) -> Any:
        nodes, layout = open_up(args, static=True)
        # Marked, to tell an argument from the same tensor used in another way.
        xs = [make("tag", node, id=fresh_id()) for node in nodes]
        returned = fn(*layout.fill(xs), **kwargs)
        if not isinstance(returned, tuple) or len(returned) != 2 or not callable(returned[1]):
            raise ArgumentError(
                "expected the function under tg.custom_gradient to return (result, grad_fn); "
                f"received {returned!r}"
            )
        result, grad_fn = returned
        if not realize.wants_rules():
            return result
        ys, out_layout = open_up(result, static=True)
        if not ys:
            return result
        given = [b.input(y.shape, y.dtype) for y in ys if y.dtype.is_float]
        with realize.capture_scope("tg.custom_gradient", "grad_fn"), realize.rule_scope():
            back = _apply(grad_fn, given, ys, out_layout, result)
            slopes = _cotangents_of(back, args, xs, layout)
        return out_layout.fill(_attach(ys, xs, given, slopes))

    return with_gradient


def _apply(
    grad_fn: Function, given: Sequence[Node], ys: Sequence[Node], layout: Layout, result: Any
) -> Any:
    """What `grad_fn` returns for stand-ins of the cotangents, passed the way it asks for them."""
    rest = iter(given)
    filled = [next(rest) if y.dtype.is_float else b.like(y, 0) for y in ys]
    upstream = layout.fill(conjugated(layout, filled))
    try:
        parameters = list(inspect.signature(grad_fn).parameters.values())
    except (TypeError, ValueError):  # some builtins have no signature
        return grad_fn(upstream)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    star = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    several = isinstance(result, (tuple, list)) and not hasattr(result, "_fields")
    if several and (len(required) > 1 or (star and not positional)):
        return grad_fn(*upstream)
    if not positional and not star:
        return grad_fn(upstream=upstream)
    return grad_fn(upstream)


def _cotangents_of(
    back: Any, args: tuple[Any, ...], xs: Sequence[Node], layout: Layout
) -> list[Node]:
    """The nodes of the returned cotangents, one for each float argument node."""
    if len(args) == 1 and not (isinstance(back, tuple) and len(back) == 1):
        back = (back,)
    if not isinstance(back, (tuple, list)) or len(back) != len(args):
        raise ArgumentError(
            f"expected grad_fn to return a tuple of {len(args)} cotangents, one for each argument "
            f"(None for zeros); received {back!r}"
        )
    found = like("a cotangent", tuple(back), layout, [x.outs[0] for x in xs])
    filled = [b.like(x, 0) if g is None else g for x, g in zip(xs, found, strict=True)]
    slopes = conjugated(layout, filled)
    return [slope for x, slope in zip(xs, slopes, strict=True) if x.dtype.is_float]


def _attach(
    ys: Sequence[Node], xs: Sequence[Node], given: Sequence[Node], slopes: Sequence[Node]
) -> list[Node]:
    """The results on a node that holds the gradient."""
    stand_ins = [b.input(x.shape, x.dtype) for x in xs]
    cuts = dict(zip(xs, stand_ins, strict=True))
    outs, captured, inputs = close(slopes, cuts | {g: g for g in given})
    _, used, _ = close(ys, cuts)
    closed = [node for node in used if node.dtype.is_float]
    node = make(
        "custom",
        *ys,
        *xs,
        *captured,
        *closed,
        back=Graph([*given, *stand_ins, *inputs], outs),
        n_out=len(ys),
        n_x=len(xs),
    )
    return projections(node)


def checkpoint(fn: Function) -> Function:
    """`fn`, computing its intermediate values again in the backward pass instead of keeping them.

    Values and gradients are those of `fn`; what is kept for the gradient are its arguments (and the
    tensors and Variables it uses) alone. As `jax.checkpoint` (Chen et al., Training Deep Nets with
    Sublinear Memory Cost, 2016).

    Example:
        >>> import tabgrad as tg
        >>> block = tg.checkpoint(lambda x: tg.sin(tg.sin(x)))
        >>> round(float(tg.grad(block)(tg.tensor(0.5))), 6)
        0.778644
    """

    @functools.wraps(fn)
    def recomputing(*args: Any, **kwargs: Any) -> Any:
        if not realize.differentiating():
            return fn(*args, **kwargs)
        nodes, layout = open_up((args, kwargs), static=True)
        xs = [make("tag", node, id=fresh_id()) for node in nodes]
        call_args, call_kwargs = layout.fill(xs)
        ys, out_layout = open_up(fn(*call_args, **call_kwargs), static=True)
        stand_ins = [b.input(x.shape, x.dtype) for x in xs]
        outs, captured, inputs = close(ys, dict(zip(xs, stand_ins, strict=True)))
        if not ys:
            return out_layout.fill(ys)
        forward = Graph([*stand_ins, *inputs], outs)
        node = make(
            "custom",
            *ys,
            *xs,
            *captured,
            back=_recomputing_gradient(forward),
            n_out=len(ys),
            n_x=len(xs) + len(captured),
        )
        return out_layout.fill(projections(node))

    return recomputing


def _recomputing_gradient(forward: Graph) -> Graph:
    """(cotangents of float results, inputs) -> cotangents of the float inputs of `forward`."""
    given = [b.input(y.shape, y.dtype) for y in forward.outputs if y.dtype.is_float]
    # Not before the first cotangent is there, or all segments would be computed again at once.
    again = [make("barrier", x, given[0]) if given else x for x in forward.inputs]
    floats = [x for x in again if x.dtype.is_float]
    ys = [y for y in forward(*again) if y.dtype.is_float]
    found = cotangents(ys, given, floats)
    slopes = [b.like(x, 0) if g is None else g for x, g in zip(floats, found, strict=True)]
    return Graph([*given, *forward.inputs], slopes)
