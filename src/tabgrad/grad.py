"""Gradients of Python functions: `grad` and `value_and_grad`. The rules are with the primitives.

The function runs once, on its real arguments (so Python control flow works) or on abstract ones
inside `tg.compile`; its result is differentiated by walking the graph it built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tabgrad import realize, trees
from tabgrad.errors import ArgumentError, DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, fresh_id, make
from tabgrad.ir.reverse import cotangents
from tabgrad.tensor import Tensor, tensor
from tabgrad.variable import Variable, scope


class _Marked:
    """A scope in which some Variables read as nodes the gradient can stop at."""

    def __init__(self, variables: Sequence[Variable]) -> None:
        self._wanted = {id(v) for v in variables}
        self.tags: dict[int, Node] = {}
        self._assigned: set[int] = set()

    def read(self, variable: Variable, outer: int) -> Node | None:
        key = id(variable)
        if key not in self._wanted or key in self._assigned:
            return None
        if key not in self.tags:
            self.tags[key] = _tag(variable.node(below=outer))
        return self.tags[key]

    def assign(self, variable: Variable, node: Node) -> bool:
        self._assigned.add(id(variable))
        return False


def _tag(node: Node) -> Node:
    return make("tag", node, id=fresh_id())


def value_and_grad(
    fn: Callable[..., Any],
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    variables: Sequence[Variable] | None = None,
) -> Callable[..., tuple[Any, Any]]:
    """A function returning the value of `fn` and its gradient.

    Args:
        fn: returns a scalar float tensor, or (scalar, aux) with `has_aux`.
        argnums: which positional arguments to differentiate (default 0, or none with `variables`);
            each may be a nested container of float tensors.
        has_aux: whether `fn` returns something beside the scalar.
        variables: Variables to differentiate; their gradients come as a list.

    Returns:
        A function giving `(value, gradient)`, or `((value, aux), gradient)`. The gradient has the
        structure of the argument, a tuple for several argnums, a list for `variables`, and
        `(arguments' gradients, variables' gradients)` when both are given.

    Raises:
        ShapeError: when `fn` does not return a scalar. DtypeError: arguments that are not floats.

    Example:
        >>> import tabgrad as tg
        >>> value, slope = tg.value_and_grad(lambda x: x * x)(tg.tensor(3.0))
        >>> float(value), float(slope)
        (9.0, 6.0)
    """
    single = argnums is None or isinstance(argnums, int)
    if argnums is None:
        positions: tuple[int, ...] = () if variables is not None else (0,)
    elif isinstance(argnums, int):
        positions = (argnums,)
    else:
        positions = tuple(argnums)

    def differentiated(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        marked = _Marked(variables or ())
        call = list(args)
        tags: list[Node] = []
        trees_of: list[trees.Structure] = []
        for position in positions:
            if not -len(args) <= position < len(args):
                raise ArgumentError(
                    f"expected at least {position + 1} positional arguments to differentiate "
                    f"argument {position}; received {len(args)}"
                )
            leaves, structure = trees.flatten(args[position])
            nodes = [_tag(_float_node(leaf, position)) for leaf in leaves]
            tags += nodes
            trees_of.append(structure)
            call[position] = trees.unflatten(structure, [Tensor(node) for node in nodes])
        with realize.gradient_scope(), scope(marked):
            result = fn(*call, **kwargs)
            value, aux = result if has_aux else (result, None)
            if isinstance(value, Variable):
                value = value.value
            if not isinstance(value, Tensor) or value.shape != () or not value.dtype.is_float:
                got = (
                    f"{value.dtype.name} {list(value.shape)}"
                    if isinstance(value, Tensor)
                    else value
                )
                raise ShapeError(
                    "expected the differentiated function to return a scalar float tensor; "
                    f"received {got}. Reduce it with .sum() or .mean()"
                )
            wanted = [marked.tags.get(id(v)) for v in variables or ()]
            inputs = [*tags, *(node for node in wanted if node is not None)]
            found = iter(gradients(value.node, inputs))
            grads = [
                trees.unflatten(s, [Tensor(next(found)) for _ in range(s.size)]) for s in trees_of
            ]
            of_variables = [
                Tensor(next(found) if node is not None else b.full(v.shape, 0, v.dtype))
                for v, node in zip(variables or (), wanted, strict=True)
            ]
        gradient: Any = grads[0] if single and grads else tuple(grads)
        if variables is not None:
            gradient = (gradient, of_variables) if positions else of_variables
        return ((value, aux) if has_aux else value), gradient

    return differentiated


def grad(
    fn: Callable[..., Any],
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    variables: Sequence[Variable] | None = None,
) -> Callable[..., Any]:
    """A function returning the gradient of `fn`; see `value_and_grad` for the arguments.

    With `has_aux` it returns `(gradient, aux)`.

    Example:
        >>> import tabgrad as tg
        >>> cube = lambda x: x * x * x
        >>> float(tg.grad(cube)(tg.tensor(2.0))), float(tg.grad(tg.grad(cube))(tg.tensor(2.0)))
        (12.0, 12.0)
    """
    both = value_and_grad(fn, argnums, has_aux, variables)

    def gradient_only(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return gradient_only


def gradients(output: Node, inputs: Sequence[Node], cotangent: Node | None = None) -> list[Node]:
    """The nodes of d output / d inputs; zeros where nothing flows."""
    seed = cotangent if cotangent is not None else b.like(output, 1)
    found = cotangents([output], [seed], inputs)
    return [g if g is not None else b.like(x, 0) for g, x in zip(found, inputs, strict=True)]


def _float_node(leaf: Any, position: int) -> Node:
    if isinstance(leaf, Variable):
        leaf = leaf.value
    value = tensor(float(leaf) if isinstance(leaf, int) else leaf)
    if not value.dtype.is_float:
        raise DtypeError(
            f"expected float tensors in argument {position} to differentiate; received "
            f"{value.dtype.name}. Convert with tg.cast(x, 'float32')"
        )
    return value.node
