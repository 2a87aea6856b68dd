"""Reverse mode for Python functions: `grad`, `value_and_grad`, `vjp`. The rules are with the
primitives, the walk is in `ir/reverse.py`.

The function runs once, on its real arguments (so Python control flow works) or on abstract ones
inside `tg.compile`; its result is differentiated by walking the graph it built.

Complex tensors follow JAX: the gradient of a real function of x + iy is df/dx - i df/dy, and a
cotangent of a complex tensor is written the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tabgrad import realize, trees
from tabgrad.errors import ArgumentError, DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, fresh_id, make, substitute
from tabgrad.ir.reverse import cotangents
from tabgrad.tensor import Tensor, tensor
from tabgrad.transformations.layout import Layout, as_tensor, conjugated, like, open_up
from tabgrad.variable import Variable, scope


class Marked:
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
            self.tags[key] = tag(variable.node(below=outer))
        return self.tags[key]

    def assign(self, variable: Variable, node: Node) -> bool:
        self._assigned.add(id(variable))
        return False


def tag(node: Node) -> Node:
    """The same value under a name of its own."""
    return make("tag", node, id=fresh_id())


class Arguments:
    """The positional arguments of a call, of which some are differentiated."""

    def __init__(self, args: Sequence[Any], positions: Sequence[int]) -> None:
        self.call = list(args)
        self.tags: list[Node] = []
        self.layouts: list[Layout] = []
        for position in positions:
            if not -len(args) <= position < len(args):
                raise ArgumentError(
                    f"expected at least {position + 1} positional arguments to differentiate "
                    f"argument {position}; received {len(args)}"
                )
            leaves, structure = trees.flatten(args[position], whole=True)
            values = [float_tensor(leaf, f"argument {position}") for leaf in leaves]
            nodes, flat = open_up(values)
            layout = Layout(structure, flat.counts, ())
            tags = [tag(node) for node in nodes]
            self.tags += tags
            self.layouts.append(layout)
            self.call[position] = layout.fill(tags)


def positions_of(argnums: int | Sequence[int] | None) -> tuple[int, ...]:
    """Argument numbers as a tuple, the first where none are given."""
    if argnums is None:
        return (0,)
    return (argnums,) if isinstance(argnums, int) else tuple(argnums)


def float_tensor(leaf: Any, where: str) -> Tensor:
    """A float or complex tensor to differentiate by; whole numbers become floats."""
    value = tensor(float(leaf)) if isinstance(leaf, int) else as_tensor(leaf)
    if value is None:
        value = tensor(leaf)
    if value.dtype.kind not in "fc":
        raise DtypeError(
            f"expected float tensors in {where} to differentiate; received "
            f"{value.dtype.name}. Convert with tg.cast(x, 'float32')"
        )
    return value


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
            each may be a nested container of float or complex tensors.
        has_aux: whether `fn` returns something beside the scalar.
        variables: Variables to differentiate; their gradients come as a list.

    Returns:
        A function giving `(value, gradient)`, or `((value, aux), gradient)`. The gradient has the
        structure of the argument, a tuple for several argnums, a list for `variables`, and
        `(arguments' gradients, variables' gradients)` when both are given. Where the argument is
        complex, x + iy, the gradient is df/dx - i df/dy, as in JAX.

    Raises:
        ShapeError: when `fn` does not return a scalar. DtypeError: arguments that are not floats.

    Example:
        >>> import tabgrad as tg
        >>> value, slope = tg.value_and_grad(lambda x: x * x)(tg.tensor(3.0))
        >>> float(value), float(slope)
        (9.0, 6.0)
    """
    single = argnums is None or isinstance(argnums, int)
    positions = () if argnums is None and variables is not None else positions_of(argnums)

    def differentiated(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        marked = Marked(variables or ())
        given = Arguments(args, positions)
        with realize.gradient_scope(), scope(marked):
            result = fn(*given.call, **kwargs)
            value, aux = with_aux(result) if has_aux else (result, None)
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
            inputs = [*given.tags, *(node for node in wanted if node is not None)]
            found = iter(gradients(value.node, inputs))
            grads = [
                layout.fill(conjugated(layout, [next(found) for _ in range(layout.size)]))
                for layout in given.layouts
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


def with_aux(result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise ArgumentError(
            f"expected the function to return (value, aux), because of has_aux; received {result!r}"
        )
    return result


def grad(
    fn: Callable[..., Any],
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    variables: Sequence[Variable] | None = None,
) -> Callable[..., Any]:
    """A function returning the gradient of `fn`; see `value_and_grad` for more.

    Args:
        fn: a function whose result is a float scalar.
        argnums: which arguments to differentiate with respect to, the first by default.
        has_aux: whether `fn` returns (scalar, anything); then the result is (gradient, anything).
        variables: Variables to differentiate with respect to, instead or as well.

    Returns:
        A function of the same arguments, whose result has their shapes and dtypes.

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
    return pulled_back([output], [seed], inputs)


def pulled_back(
    outputs: Sequence[Node], given: Sequence[Node], inputs: Sequence[Node]
) -> list[Node]:
    """The cotangents of `inputs`, zeros where nothing flows."""
    found = cotangents(outputs, given, inputs)
    return [g if g is not None else b.like(x, 0) for g, x in zip(found, inputs, strict=True)]


def vjp(fn: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `fn` at `primals`, and the function from cotangents of it to those of `primals`.

    Args:
        fn: takes and returns nested containers of float or complex tensors.
        primals: the arguments; numbers become tensors.
        has_aux: whether `fn` returns (result, aux), of which only the first is differentiated.

    Returns:
        `(result, pullback)`, or `(result, pullback, aux)`. `pullback(cotangent)` takes a container
        of the structure of the result (None for zeros) and returns a tuple with a cotangent for
        each primal. It can be called again and again, also inside other transformations.

    Raises:
        DtypeError: primals that are not floats. ShapeError: cotangents of other shapes.

    Example:
        >>> import tabgrad as tg
        >>> y, pullback = tg.vjp(lambda a, x: a * x, tg.tensor(2.0), tg.tensor([3.0, 4.0]))
        >>> [g.tolist() for g in pullback(tg.tensor([1.0, 10.0]))]
        [43.0, [2.0, 20.0]]
    """
    given = Arguments(primals, range(len(primals)))
    with realize.gradient_scope():
        result, aux = with_aux(fn(*given.call)) if has_aux else (fn(*given.call), None)
        ys, layout = open_up(result)
        # Made now, on stand-ins: outside this scope, what has been computed forgets its sources.
        floats = [y for y in ys if y.dtype.is_float]
        slots = [b.input(y.shape, y.dtype) for y in floats]
        back = pulled_back(floats, slots, given.tags)

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        arriving = like("a cotangent", cotangent, layout, [y.outs[0] for y in ys])
        filled = conjugated(
            layout, [b.like(y, 0) if g is None else g for y, g in zip(ys, arriving, strict=True)]
        )
        kept = [g for y, g in zip(ys, filled, strict=True) if y.dtype.is_float]
        found = iter(substitute(back, dict(zip(slots, kept, strict=True))))
        return tuple(
            part.fill(conjugated(part, [next(found) for _ in range(part.size)]))
            for part in given.layouts
        )

    return (result, pullback, aux) if has_aux else (result, pullback)
