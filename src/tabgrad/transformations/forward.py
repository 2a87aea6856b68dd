"""Forward mode for Python functions: `jvp` and `linearize`. The walk is in `ir/forward.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tabgrad import realize
from tabgrad.errors import ArgumentError
from tabgrad.ir import build as b
from tabgrad.ir.forward import tangents as tangents_of
from tabgrad.ir.graph import Node, substitute
from tabgrad.transformations.layout import Layout, like, open_up
from tabgrad.transformations.reverse import tag, with_aux


def jvp(
    fn: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> tuple[Any, ...]:
    """The value of `fn` at `primals`, and how it moves when they move along `tangents`.

    Args:
        fn: takes and returns nested containers of tensors.
        primals: a list or tuple with the arguments; numbers become tensors.
        tangents: the directions, of the structure and shapes of `primals`. None stands for a part
            that does not move, such as integers.
        has_aux: whether `fn` returns (result, aux), of which only the first is differentiated.

    Returns:
        `(result, tangent)`, or `(result, tangent, aux)`. What cannot move (integers, and all that
        depends on no moving part) has zeros for its tangent.

    Raises:
        ShapeError: a tangent of another shape than its primal.
        NotSupportedError: a custom gradient on the way that is not linear.

    Example:
        >>> import tabgrad as tg
        >>> y, moved = tg.jvp(lambda x: x * x, (tg.tensor([1.0, 3.0]),), (tg.tensor([1.0, 0.5]),))
        >>> y.tolist(), moved.tolist()
        ([1.0, 9.0], [2.0, 3.0])
    """
    xs, layout = _primals(primals)
    given = like("a tangent", list(tangents), layout, [x.outs[0] for x in xs])
    with forward_scope():
        returned = fn(*layout.fill(xs))
        result, aux = with_aux(returned) if has_aux else (returned, None)
        ys, out_layout = open_up(result)
        moving = {
            x: t for x, t in zip(xs, given, strict=True) if t is not None and x.dtype.is_float
        }
        moved = out_layout.fill(_moved(ys, moving))
    return (result, moved, aux) if has_aux else (result, moved)


def linearize(fn: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of `fn` at `primals`, and the linear function from tangents of them to its tangent.

    The function is run once, however often the linear one is called.

    Args:
        fn: a function from tensors, or containers of them, to such.
        primals: its arguments; tangents have their shapes and dtypes.

    Example:
        >>> import tabgrad as tg
        >>> y, pushforward = tg.linearize(tg.sin, tg.tensor(0.0))
        >>> float(pushforward(tg.tensor(3.0)))
        3.0
    """
    xs, layout = _primals(primals)
    with forward_scope():
        result = fn(*layout.fill(xs))
        ys, out_layout = open_up(result)
        slots = {x: b.input(x.shape, x.dtype) for x in xs if x.dtype.is_float}
        moved = _moved(ys, slots)

    def pushforward(*tangents: Any) -> Any:
        given = like("a tangent", list(tangents), layout, [x.outs[0] for x in xs])
        filled = {
            slots[x]: b.like(x, 0) if t is None else t
            for x, t in zip(xs, given, strict=True)
            if x in slots
        }
        return out_layout.fill(substitute(moved, filled))

    return result, pushforward


@contextmanager
def forward_scope() -> Iterator[None]:
    """A gradient scope for forward mode, which differentiates what a gradient gives: functions
    whose rules call functions with rules (those of tg.linalg) count how deep they have to go."""
    with realize.gradient_scope(), realize.gradient_scope():
        yield


def _primals(primals: Any) -> tuple[list[Node], Layout]:
    if not isinstance(primals, (list, tuple)):
        raise ArgumentError(
            f"expected a list or tuple of primals, one for each argument; received {primals!r}"
        )
    nodes, layout = open_up(list(primals))
    return [tag(node) for node in nodes], layout


def _moved(ys: Sequence[Node], moving: dict[Node, Node]) -> list[Node]:
    found = tangents_of(ys, moving)
    return [b.like(y, 0) if t is None else t for y, t in zip(ys, found, strict=True)]
