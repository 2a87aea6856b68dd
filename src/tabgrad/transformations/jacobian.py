"""Jacobians and Hessians: one pullback or pushforward, mapped over a basis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tabgrad import realize, trees
from tabgrad.dtypes import int32
from tabgrad.errors import ArgumentError, DtypeError
from tabgrad.ir import build as b
from tabgrad.ir.batching import batched, moved, repeated
from tabgrad.ir.forward import tangents
from tabgrad.ir.graph import Node
from tabgrad.transformations.forward import forward_scope
from tabgrad.transformations.layout import open_up
from tabgrad.transformations.reverse import Arguments, positions_of, pulled_back, with_aux

Function = Callable[..., Any]


def jacobian(
    fn: Function,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    mode: str = "auto",
) -> Function:
    """A function returning the Jacobian of `fn`: all partial derivatives of all outputs.

    Args:
        fn: takes and returns nested containers of float tensors.
        argnums: which positional arguments to differentiate, by default the first.
        has_aux: whether `fn` returns (result, aux), of which only the first is differentiated.
        mode: "reverse" maps a pullback over the outputs, "forward" a pushforward over the inputs,
            "auto" takes that of the two with fewer.

    Returns:
        A function giving a container like the result, with a Jacobian of shape
        `(*output shape, *input shape)` at each leaf: one like the argument (a container of several
        where it is one), or a tuple for several argnums. With `has_aux`, `(jacobian, aux)`.

    Raises:
        DtypeError: arguments or results that are not floats. Take `tg.vjp` or `tg.jvp` for complex
            ones.
        ArgumentError: an unknown mode.

    Example:
        >>> import tabgrad as tg
        >>> tg.jacobian(lambda x: x * x)(tg.tensor([1.0, 2.0])).tolist()
        [[2.0, 0.0], [0.0, 4.0]]
    """
    if mode not in ("auto", "forward", "reverse"):
        raise ArgumentError(f"expected mode 'auto', 'forward' or 'reverse'; received {mode!r}")
    single = argnums is None or isinstance(argnums, int)

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        given = Arguments(args, positions_of(argnums))
        with realize.gradient_scope() if mode == "reverse" else forward_scope():
            returned = fn(*given.call, **kwargs)
            result, aux = with_aux(returned) if has_aux else (returned, None)
            ys, layout = open_up(result)
            for node in (*given.tags, *ys):
                _refuse(node, layout.counts, *(part.counts for part in given.layouts))
            inputs, outputs = (sum(x.size for x in nodes) for nodes in (given.tags, ys))
            forward = mode == "forward" or (mode == "auto" and inputs < outputs)
            blocks = (_by_columns if forward else _by_rows)(ys, given.tags)
        rows = []
        for row in blocks:
            rest = iter(row)
            parts = [part.fill([next(rest) for _ in range(part.size)]) for part in given.layouts]
            rows.append(parts[0] if single else tuple(parts))
        answer = trees.unflatten(layout.structure, rows)
        return (answer, aux) if has_aux else answer

    return differentiated


def jacrev(
    fn: Function, argnums: int | Sequence[int] | None = None, has_aux: bool = False
) -> Function:
    """`jacobian` in reverse mode: good where there are fewer outputs than inputs.

    Args:
        fn: a function from tensors, or containers of them, to such.
        argnums: which arguments to differentiate with respect to, the first by default.
        has_aux: whether `fn` returns (value, anything); then the result is (derivatives, anything).

    Returns:
        A function of the same arguments; its result has the shape of the value, then that of the
        argument, and the dtype of the argument.

    Example:
        >>> import tabgrad as tg
        >>> tg.jacrev(lambda x: (x * x).sum())(tg.tensor([1.0, 2.0])).tolist()
        [2.0, 4.0]
    """
    return jacobian(fn, argnums, has_aux, "reverse")


def jacfwd(
    fn: Function, argnums: int | Sequence[int] | None = None, has_aux: bool = False
) -> Function:
    """`jacobian` in forward mode: good where there are fewer inputs than outputs.

    Args:
        fn: a function from tensors, or containers of them, to such.
        argnums: which arguments to differentiate with respect to, the first by default.
        has_aux: whether `fn` returns (value, anything); then the result is (derivatives, anything).

    Returns:
        A function of the same arguments; its result has the shape of the value, then that of the
        argument, and the dtype of the value.

    Example:
        >>> import tabgrad as tg
        >>> tg.jacfwd(lambda t: tg.stack([t, t * t]))(tg.tensor(3.0)).tolist()
        [1.0, 6.0]
    """
    return jacobian(fn, argnums, has_aux, "forward")


def hessian(
    fn: Function, argnums: int | Sequence[int] | None = None, has_aux: bool = False
) -> Function:
    """A function returning the second derivatives of `fn`, forward over reverse, as jax.hessian.

    Args:
        fn: a function from tensors, or containers of them, to such.
        argnums: which arguments to differentiate with respect to, the first by default.
        has_aux: whether `fn` returns (value, anything); then the result is (derivatives, anything).

    Returns:
        A function of the same arguments. For a scalar function of one tensor its result has the
        shape `(*shape, *shape)` and the dtype of the tensor; containers nest twice.

    Example:
        >>> import tabgrad as tg
        >>> tg.hessian(lambda x: (x * x * x).sum())(tg.tensor([1.0, 2.0])).tolist()
        [[6.0, 0.0], [0.0, 12.0]]
    """
    return jacfwd(jacrev(fn, argnums, has_aux), argnums, has_aux)


def _refuse(node: Node, *counts: Sequence[int]) -> None:
    if any(2 in one for one in counts):
        raise DtypeError(
            "a Jacobian expected real arguments and results; received complex ones. Use tg.vjp or "
            "tg.jvp, or differentiate tg.real and tg.imag"
        )
    if not node.dtype.is_float:
        raise DtypeError(
            f"a Jacobian expected float results; received {node.dtype.name} {list(node.shape)}. "
            "Return the others beside them, with has_aux=True"
        )


def _basis(like: Node) -> Node:
    """Every unit vector of the shape of a node, one after the other."""
    shape = (like.size, like.size)
    same = b.eq(b.iota(shape, 0, int32), b.iota(shape, 1, int32))
    return b.reshape(b.cast(same, like.dtype), (like.size, *like.shape))


def _by_rows(ys: Sequence[Node], xs: Sequence[Node]) -> list[list[Node]]:
    blocks = []
    for y in ys:
        slot = b.input(y.shape, y.dtype)
        mapped = batched(pulled_back([y], [slot], xs), {slot: _basis(y)})
        rows = [repeated(slope, y.size, flag) for slope, flag in mapped]
        blocks.append([_shaped(row, y, x) for row, x in zip(rows, xs, strict=True)])
    return blocks


def _by_columns(ys: Sequence[Node], xs: Sequence[Node]) -> list[list[Node]]:
    columns = []
    for x in xs:
        slot = b.input(x.shape, x.dtype)
        found = [
            b.like(y, 0) if t is None else t
            for y, t in zip(ys, tangents(ys, {x: slot}), strict=True)
        ]
        mapped = batched(found, {slot: _basis(x)})
        whole = [repeated(t, x.size, flag) for t, flag in mapped]
        columns.append([_shaped(moved(t, 0, len(t.shape) - 1), y, x)
                        for t, y in zip(whole, ys, strict=True)])  # fmt: skip
    return [[column[i] for column in columns] for i in range(len(ys))]


def _shaped(block: Node, y: Node, x: Node) -> Node:
    return b.reshape(block, (*y.shape, *x.shape))
