"""Loops and branches inside the graph. Their functions are captured once, as closed graphs; which
turns and branches run is decided by the engine, without going back to Python.

Tensors and Variables the functions close over become explicit inputs. Everything here works on
nested containers, read or not, eagerly and inside `tg.compile`, nested in each other.

Not here: how a function becomes a closed graph (`capturing.py`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from tabgrad.dtypes import bool_, int32
from tabgrad.errors import ArgumentError, DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.control import cond as cond_node
from tabgrad.ir.control import projections
from tabgrad.ir.graph import Graph, Node, make, recording
from tabgrad.ops.arguments import node_of
from tabgrad.ops.capturing import capture, closed, inputs_like, opened, returned
from tabgrad.tensor import Tensor
from tabgrad.transformations.layout import Layout
from tabgrad.variable import Variable


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """`carry, y = f(carry, x)` for each slice x of `xs` on its first axis, as `jax.lax.scan`.

    Args:
        f: takes and returns (carry, per-step value); both may be nested containers or None.
        init: the first carry.
        xs: what is walked along, a nested container of tensors with equal leading sizes, or None.
        length: number of steps when `xs` is None.
        reverse: walk from the last slice to the first; ys keep the order of xs.
        unroll: accepted as in Keras and without effect: a step costs no more than its kernels.

    Returns:
        The last carry, and the stacked per-step values.

    Raises:
        ShapeError: a body that changes the shape or dtype of its carry.
        ArgumentError: xs of different leading sizes, neither xs nor length, an unroll
            that is no integer, or a body that returns no pair.

    Example:
        >>> import tabgrad as tg
        >>> add = lambda c, x: (c + x, c + x)
        >>> total, sums = tg.ops.scan(add, tg.tensor(0.0), tg.tensor([1.0, 2.0]))
        >>> float(total), sums.tolist()
        (3.0, [1.0, 3.0])
    """
    if not isinstance(unroll, (int, bool)):
        raise ArgumentError(f"scan expected an int or a bool as unroll; received {unroll!r}")
    carry, carry_layout = opened(init)
    x_nodes, x_layout = opened(xs)
    sizes = {node.shape[0] if node.shape else -1 for node in x_nodes}
    if length is not None:
        sizes.add(_whole("scan", "length", length))
    if len(sizes) != 1 or -1 in sizes:
        raise ArgumentError(
            "scan expected xs with one leading size, or length; received leading sizes "
            f"{sorted(sizes)}. "
            "Give all of xs one first axis, or length where there are no xs"
        )
    steps = sizes.pop()
    carry_in = inputs_like(carry)
    x_in = [b.input(node.shape[1:], node.dtype) for node in x_nodes]
    result = capture(
        "scan",
        lambda: f(carry_layout.fill(carry_in), x_layout.fill(x_in)),
        [*carry_in, *x_in],
    )
    if not isinstance(result, tuple) or len(result) != 2:
        raise ArgumentError(
            f"scan expected the body to return (carry, y); received {result!r}. "
            "Return a pair, with None for a y that is not needed"
        )
    outs = returned("scan", "the carry", result[0], carry_layout, carry)
    ys, y_layout = opened(result[1])
    final = _scan([*outs, *ys], [*carry_in, *x_in], carry, x_nodes, steps, bool(reverse))
    return carry_layout.fill(final[: len(carry)]), y_layout.fill(final[len(carry) :])


def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """`f` of every slice of `xs` on its first axis, one after the other, results stacked.

    For functions that take all slices at once as well, `vectorized_map` is faster.

    Args:
        f: takes one slice (of the structure of `xs`) and returns a nested container of tensors.
        xs: a nested container of tensors with equal leading sizes.

    Returns:
        The results of all calls, each along a first axis, of the dtypes they have.

    Raises:
        ArgumentError: leading sizes that differ.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.map(lambda row: row.sum(), tg.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [3.0, 7.0]
    """
    return scan(lambda _, x: ((), f(x)), (), xs)[1]


def cond(
    pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], *operands: Any
) -> Any:
    """`true_fn(*operands)` where `pred` is true, else `false_fn(*operands)`; only that one runs.

    Args:
        pred: a scalar, bool or a number that counts as true unless it is 0.
        true_fn: returns a nested container of tensors.
        false_fn: returns one of the same structure, shapes and dtypes.
        operands: what both are given, nested containers; they may close over tensors as well.

    Raises:
        ShapeError: a pred that is no scalar, or results that differ in structure, shape or dtype.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor(-3.0)
        >>> float(tg.ops.cond(x > 0, lambda: x, lambda: -x))
        3.0
    """
    index = node_of(pred)
    if index.shape != ():
        raise ShapeError(
            f"cond expected a scalar to choose by; received shape {list(index.shape)}. Choose "
            "element by element with where, or reduce it with any or all"
        )
    if index.dtype is not bool_:
        index = b.make("ne", index, b.like(index, 0))
    return _branch("cond", b.cast(index, int32), [false_fn, true_fn], operands)


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`branches[index](*operands)`; only that one runs.

    Args:
        index: an integer scalar, clamped to the branches there are.
        branches: functions that return nested containers of equal structure, shapes and dtypes.
        operands: what each is given.

    Raises:
        ShapeError: an index that is no scalar, or results that differ.
        DtypeError: an index that is no integer.
        ArgumentError: no branches.

    Example:
        >>> import tabgrad as tg
        >>> steps = [lambda x: x, lambda x: x * 2, lambda x: x * x]
        >>> float(tg.ops.switch(2, steps, tg.tensor(5.0)))
        25.0
    """
    node = node_of(index)
    if node.shape != ():
        raise ShapeError(
            f"switch expected a scalar index; received shape {list(node.shape)}. "
            "Index or reduce it to one number"
        )
    if not node.dtype.is_integer:
        raise DtypeError(
            f"switch expected an integer index; received {node.dtype.name}. Cast it to int32"
        )
    if not branches:
        raise ArgumentError(
            "switch expected at least one branch; received none. Give them as a list of functions"
        )
    low, high = b.like(node, 0), b.like(node, min(len(branches) - 1, 127))
    clamped = b.make("min", b.make("max", node, low), high)
    return _branch("switch", b.cast(clamped, int32), list(branches), operands)


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    maximum_iterations: int | None = None,
) -> Any:
    """`loop_vars = body(*loop_vars)` as long as `cond(*loop_vars)` is true.

    Differentiates forwards only (`tg.jvp`), because nobody knows beforehand how much a gradient
    would have to keep; `fori_loop` with Python integers as bounds and `scan` go both ways.

    Args:
        cond: takes the loop variables and returns a scalar bool.
        body: takes them and returns new ones, of the same structure, shapes and dtypes.
        loop_vars: a tuple or list, handed over as separate arguments; anything else is handed over
            as one.
        maximum_iterations: stop after so many turns.

    Returns:
        The last loop variables, in the structure they were given.

    Raises:
        ShapeError: a body that changes a shape or dtype, or a condition that is no scalar.
        NotSupportedError: when a reverse gradient is wanted.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.while_loop(lambda n: n < 100, lambda n: n * 2, tg.tensor(3)).tolist()
        192
    """
    nodes, layout = opened(loop_vars)
    several = isinstance(loop_vars, (tuple, list)) and not hasattr(loop_vars, "_fields")
    count = None
    if maximum_iterations is not None:
        count = b.const(_whole("while_loop", "maximum_iterations", maximum_iterations), int32)

    def call(f: Callable[..., Any], stand_ins: Sequence[Node]) -> Any:
        given = layout.fill(stand_ins)
        return f(*given) if several else f(given)

    inputs = inputs_like(nodes)
    turn = [b.input((), int32)] if count is not None else []
    test = node_of(capture("while_loop", lambda: call(cond, inputs), inputs))
    if test.shape != ():
        raise ShapeError(
            "while_loop expected a scalar from the condition; received shape "
            f"{list(test.shape)}. Reduce it with any or all"
        )
    test = test if test.dtype is bool_ else b.make("ne", test, b.like(test, 0))
    if count is not None:
        test = b.make("and", b.lt(turn[0], count), test)
    result = capture("while_loop", lambda: call(body, inputs), inputs)
    if several and not isinstance(result, (tuple, list)):
        result = type(loop_vars)((result,))
    outs = returned("while_loop", "the loop variables", result, layout, nodes)
    outs += [b.add(n, b.like(n, 1)) for n in turn]
    return layout.fill(
        _while(test, outs, [*inputs, *turn], [*nodes, *[b.like(n, 0) for n in turn]])[: len(nodes)]
    )


def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """`val = body_fun(i, val)` for i from `lower` up to, but not including, `upper`.

    With Python integers as bounds it differentiates both ways; with tensors as bounds, which may
    depend on what was computed, forwards only.

    Args:
        lower: the first i, an integer or an integer scalar tensor.
        upper: the first i that is not run.
        body_fun: takes i (an int32 scalar) and the value and returns the next value.
        init_val: a nested container of tensors.

    Raises:
        ShapeError: a body that changes the structure, a shape or a dtype.

    Example:
        >>> import tabgrad as tg
        >>> float(tg.ops.fori_loop(1, 6, lambda i, x: x * i, tg.tensor(1.0)))
        120.0
    """
    nodes, layout = opened(init_val)
    inputs, i = inputs_like(nodes), b.input((), int32)
    result = capture("fori_loop", lambda: body_fun(Tensor(i), layout.fill(inputs)), [i, *inputs])
    outs = returned("fori_loop", "the value", result, layout, nodes)
    start, stop = _number(lower), _number(upper)
    if start is not None and stop is not None:
        steps = max(stop - start, 0)
        numbers = b.iota((steps,), 0, int32)
        if start:
            numbers = b.add(numbers, b.like(numbers, start))
        return layout.fill(_scan(outs, [*inputs, i], nodes, [numbers], steps))
    first, last = _bound("lower", lower), _bound("upper", upper)
    test = b.lt(i, last)
    final = _while(test, [b.add(i, b.like(i, 1)), *outs], [i, *inputs], [first, *nodes])
    return layout.fill(final[1:])


def vectorized_map(function: Callable[..., Any], elements: Any) -> Any:
    """`function` of every slice of `elements` on its first axis, all at once, results stacked.

    Args:
        function: takes one slice, of the structure of `elements`.
        elements: a nested container of tensors with equal leading sizes.

    Returns:
        The results of all calls, each along a first axis, of the dtypes they have.

    Raises:
        NotSupportedError: an operation that cannot be mapped; use `map`.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.vectorized_map(lambda x: x * x, tg.tensor([1.0, 2.0])).tolist()
        [1.0, 4.0]
    """
    from tabgrad.transformations.vmap import vmap

    return vmap(function)(elements)


# Nodes


def _scan(
    outs: Sequence[Node],
    inputs: Sequence[Node],
    first: Sequence[Node],
    xs: Sequence[Node],
    length: int,
    reverse: bool = False,
) -> list[Node]:
    """The last carries of a scan node, and what it stacks."""
    (new,), consts, const_in = closed([outs], inputs)
    node = make(
        "scan",
        *consts,
        *first,
        *xs,
        body=Graph([*const_in, *inputs], new),
        n_const=len(consts),
        n_carry=len(first),
        length=length,
        reverse=reverse,
    )
    return projections(node) if new else []


def _while(
    test: Node, outs: Sequence[Node], inputs: Sequence[Node], first: Sequence[Node]
) -> list[Node]:
    """The last carries of a while node."""
    if not outs:
        return []
    ((test,), new), consts, const_in = closed([[test], outs], inputs)
    everything = [*const_in, *inputs]
    return projections(
        make(
            "while",
            *consts,
            *first,
            test=Graph(everything, [test]),
            body=Graph(everything, new),
            n_const=len(consts),
        )
    )


def _branch(
    name: str, index: Node, functions: Sequence[Callable[..., Any]], operands: tuple[Any, ...]
) -> Any:
    nodes, layout = opened(operands, static=True)
    inputs = inputs_like(nodes)
    results: list[list[Node]] = []
    first: Layout | None = None
    # What a branch makes for itself belongs to it, even where it needs none of the operands.
    own: list[Node] = []
    for f in functions:
        with recording() as made:
            found = capture(name, lambda f=f: f(*layout.fill(inputs)), inputs)  # type: ignore[misc]
        own += made
        outs, its_layout = opened(found)
        if first is None:
            first = its_layout
        elif its_layout.structure != first.structure or its_layout.counts != first.counts:
            raise ShapeError(
                f"{name} expected branches that return results of one structure; received "
                "different ones"
            )
        results.append(outs)
    assert first is not None
    results = _of_one_dtype(results)
    if not results[0]:
        return first.fill([])
    lists, consts, const_in = closed(results, inputs, own)
    graphs = [Graph([*const_in, *inputs], outs) for outs in lists]
    return first.fill(projections(cond_node(index, [*consts, *nodes], graphs)))


def _of_one_dtype(results: Sequence[Sequence[Node]]) -> list[list[Node]]:
    """Numbers that a branch returns take the dtype of the other branches' tensors."""
    columns = []
    for column in zip(*results, strict=True):
        strong = [x.dtype for x in column if x.prim.name != "const"]
        dtype = strong[0] if strong else column[0].dtype
        fits = all(d is dtype for d in strong)
        columns.append([b.cast(x, dtype) if fits and x.prim.name == "const" else x for x in column])
    return [list(row) for row in zip(*columns, strict=True)] if columns else [[] for _ in results]


def _whole(name: str, what: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise ArgumentError(
            f"{name} expected {what} as an integer of 0 or more; received {value!r}. "
            "Convert it with int(...), or leave it out"
        )
    return number


def _number(bound: Any) -> int | None:
    """A whole number of Python or NumPy; None for tensors and whatever is none."""
    if isinstance(bound, (Tensor, Variable)):
        return None
    try:
        return operator.index(bound)
    except TypeError:
        return None


def _bound(what: str, value: Any) -> Node:
    node = node_of(value)
    if node.shape != () or not node.dtype.is_integer:
        raise ShapeError(
            f"fori_loop expected {what} as an integer scalar; received {node.dtype.name} "
            f"{list(node.shape)}. "
            "Cast it to int32, or give a Python int"
        )
    return b.cast(node, int32)
