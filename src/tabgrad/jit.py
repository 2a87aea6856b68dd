"""`tg.compile`: capture a function as one graph, find its Variables, replay it as a Program.

Capturing runs the Python once on abstract tensors. Variables read become state of the Program,
Variables assigned become updates in place; nothing has to be listed by the user.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tabgrad import realize, trees
from tabgrad.dtypes import DType, as_dtype
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.entry import Argument, EntryGraph, Result, State
from tabgrad.ir.graph import Node, remake, rewrite
from tabgrad.realize import Buffer, Program, Scalar
from tabgrad.tensor import Tensor, tensor
from tabgrad.variable import Variable, scope


class Capture:
    """The scope in which a function is captured: Variables turn into state."""

    def __init__(self) -> None:
        self.variables: dict[int, Variable] = {}
        self.inputs: dict[int, Node] = {}
        self.current: dict[int, Node] = {}
        self.written: set[int] = set()

    def read(self, variable: Variable, outer: int) -> Node | None:
        self._meet(variable)
        return self.current[id(variable)]

    def assign(self, variable: Variable, node: Node) -> bool:
        self._meet(variable)
        self.current[id(variable)] = node
        self.written.add(id(variable))
        return True

    def _meet(self, variable: Variable) -> None:
        key = id(variable)
        if key not in self.variables:
            self.variables[key] = variable
            self.inputs[key] = self.current[key] = b.input(variable.shape, variable.dtype)


class Traced:
    """A captured function: its graph, its Variables in state order, and the shape of its result."""

    def __init__(
        self, graph: EntryGraph, variables: list[Variable], captured: list[Node], result: Any
    ) -> None:
        self.graph = graph
        self.variables = variables
        self.captured = captured  # concrete tensors the function closed over, extra inputs
        self.result = result

    def with_constants(self, name: str, constant: Callable[[Tensor], Variable]) -> EntryGraph:
        """The graph under another name, with the tensors the function closed over as Variables,
        which `constant` makes: in an exported page there is nobody to hand them in."""
        graph = self.graph
        own = len(graph.arguments) - len(self.captured)
        states = list(graph.states)
        for argument, node in zip(graph.arguments[own:], self.captured, strict=True):
            states.append(State(argument.node, constant(Tensor(node)).path))
        return replace(graph, name=name, arguments=graph.arguments[:own], states=states)


def trace(
    fn: Callable[..., Any],
    specs: Sequence[tuple[Sequence[int], Any, bool]],
    name: str | None = None,
    names: Sequence[str] | None = None,
    scalars: Sequence[bool] | None = None,
    output_names: Sequence[str] | None = None,
) -> Traced:
    """Capture `fn` called with one abstract tensor for each spec.

    Args:
        fn: a function of tensors, returning a tensor, a nested container of them, or None.
        specs: (shape, dtype, rows) for each argument; rows marks the leading axis as the batch.
        name: the entry's name, by default the function's.
        names: the inputs' names, by default x0, x1, ...
        scalars: which 0-d inputs are host scalars written into the frame.
        output_names: the outputs' names, by default y0, y1, ... (or y for a single one).

    Raises:
        ShapeError: rows marked on arguments whose leading sizes differ.
    """
    nodes = [b.input(tuple(shape), as_dtype(dtype)) for shape, dtype, _ in specs]
    sizes = {next(iter(shape)) for shape, _, rows in specs if rows}
    if len(sizes) > 1:
        raise ShapeError(f"expected one batch size for all inputs; received {sorted(sizes)}")
    capture = Capture()
    with realize.capture_scope(), scope(capture):
        leaves, structure = trees.flatten(fn(*map(Tensor, nodes)))
        # Inside, so that a Variable among them is its value at the end of the function.
        outs = [tensor(leaf.value if isinstance(leaf, Variable) else leaf).node for leaf in leaves]
    keys = list(capture.variables)
    updates = {k: capture.current[k] for k in keys if k in capture.written}
    roots = [*outs, *updates.values()]
    roots, captured = _lift_values(roots)
    outs = roots[: len(outs)]
    new = dict(zip(updates, roots[len(outs) :], strict=True))
    arguments = [
        Argument(
            node,
            names[i] if names else f"x{i}",
            scalar=bool(scalars and scalars[i]),
            rows=specs[i][2],
        )
        for i, node in enumerate(nodes)
    ]
    arguments += [Argument(node, f"captured{i}") for i, (node, _) in enumerate(captured)]
    default = ["y"] if len(outs) == 1 else [f"y{i}" for i in range(len(outs))]
    graph = EntryGraph(
        name=name or str(getattr(fn, "__name__", "function")),
        arguments=arguments,
        states=[State(capture.inputs[k], capture.variables[k].path, new.get(k)) for k in keys],
        results=[Result(n, s) for n, s in zip(outs, output_names or default, strict=True)],
        rows=sizes.pop() if sizes else None,
    )
    values = [value for _, value in captured]
    return Traced(graph, list(capture.variables.values()), values, structure)


def _lift_values(roots: Sequence[Node]) -> tuple[list[Node], list[tuple[Node, Node]]]:
    """Replace concrete values the function closed over by inputs; they never become constants.

    Returns the roots and (input, value) pairs.
    """
    found: dict[int, Node] = {}
    captured: list[tuple[Node, Node]] = []

    def rule(old: Node, srcs: tuple[Node, ...]) -> Node:
        if old.buffer is None or (not old.held and old.prim.name != "value"):
            return remake(old, srcs)  # not computed, or made of constants alone
        if id(old) not in found:
            found[id(old)] = b.input(old.shape, old.dtype)
            captured.append((found[id(old)], old))
        return found[id(old)]

    return rewrite(roots, rule), captured


class Bound:
    """A Program ready to run again and again: state taken from Variables, outputs kept in buffers.

    `inputs` are the engine buffers of the arguments, for the caller to fill.
    """

    def __init__(self, traced: Traced, program: Program, loaded: Any) -> None:
        self.engine = realize.engine()
        self.traced = traced
        self.program = program
        self._loaded = loaded
        entry = program.entries[0]
        self._state = list(zip(traced.variables, [up for _, up in entry.state], strict=True))
        self._captured = [realize.handle_of(node) for node in traced.captured]
        count = len(entry.inputs) - len(traced.captured)
        self.inputs = [
            None if port.scalar else Buffer(self.engine, _nbytes(port.shape, port.dtype))
            for port in entry.inputs[:count]
        ]
        self.words = [0 if buffer is None else buffer.handle for buffer in self.inputs]
        self.outputs = [Buffer(self.engine, _nbytes(p.shape, p.dtype)) for p in entry.outputs]

    def run(self, rows: int = 0) -> None:
        """Run once on what `inputs` (and `words`, for host scalars) hold."""
        self.engine.run(
            self._loaded,
            0,
            [
                *self.words,
                *(buffer.handle for buffer in self._captured),
                *(variable.handle(update) for variable, update in self._state),
                *(buffer.handle for buffer in self.outputs),
            ],
            rows,
        )
        for variable, update in self._state:
            if update:
                variable.version += 1


class Compiled:
    """A function that runs as one Program for each combination of shapes it is called with."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        functools.update_wrapper(self, fn)
        self._fn = fn
        self._cache: dict[Any, tuple[Traced, Program, Any]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leaves, structure = trees.flatten((args, kwargs))
        if realize.capturing() or realize.differentiating():
            # A part of the graph around it: a Program's results have no sources to follow.
            nodes = [_as_node(leaf) for leaf in leaves]
            filled = [x if node is None else Tensor(node) for x, node in zip(leaves, nodes)]
            args, kwargs = trees.unflatten(structure, filled)
            return self._fn(*args, **kwargs)
        inputs, key = self._key(leaves, structure)
        traced, program, loaded = self._find(leaves, structure, inputs, key)
        engine = realize.engine()
        realize.realize([node for node in inputs if node.buffer is None])
        keep: list[Buffer] = []
        words: list[int] = []
        ports = program.entries[0].inputs
        for node, port in zip([*inputs, *traced.captured], ports, strict=True):
            if port.scalar:
                words.append(node.buffer.bits)
            else:
                keep.append(realize.handle_of(node))
                words.append(keep[-1].handle)
        updates = [update for _, update in program.entries[0].state]
        for variable, update in zip(traced.variables, updates, strict=True):
            words.append(variable.handle(update))
        results = [Buffer(engine, _nbytes(p.shape, p.dtype)) for p in program.entries[0].outputs]
        engine.run(loaded, 0, words + [buffer.handle for buffer in results], 0)
        for variable, update in zip(traced.variables, updates, strict=True):
            if update:
                variable.version += 1
        tensors = [
            Tensor(realize.value_node(buffer, port.shape, as_dtype(port.dtype)))
            for buffer, port in zip(results, program.entries[0].outputs, strict=True)
        ]
        return trees.unflatten(traced.result, tensors)

    def bind(self, *args: Any, **kwargs: Any) -> Bound:
        """The Program for arguments like these, with buffers of its own for inputs and outputs."""
        leaves, structure = trees.flatten((args, kwargs))
        inputs, key = self._key(leaves, structure)
        return Bound(*self._find(leaves, structure, inputs, key))

    def program(self, *args: Any, **kwargs: Any) -> Program:
        """The Program that a call with arguments like these runs."""
        leaves, structure = trees.flatten((args, kwargs))
        inputs, key = self._key(leaves, structure)
        return self._find(leaves, structure, inputs, key)[1]

    def traces(self) -> list[Traced]:
        """What was captured so far, for an export; the latest last."""
        return [traced for traced, _, _ in self._cache.values()]

    def _key(self, leaves: list[Any], structure: trees.Structure) -> tuple[list[Node], Any]:
        nodes: list[Node] = []
        parts: list[Any] = []
        for leaf in leaves:
            node = _as_node(leaf)
            if node is None:
                parts.append(("static", type(leaf), leaf))
            else:
                nodes.append(node)
                parts.append((node.shape, node.dtype, isinstance(node.buffer, Scalar)))
        return nodes, (realize.engine(), structure, tuple(parts))

    def _find(
        self, leaves: list[Any], structure: trees.Structure, nodes: list[Node], key: Any
    ) -> tuple[Traced, Program, Any]:
        try:
            found = self._cache.get(key)
        except TypeError:
            raise ArgumentError(
                "expected tensors, arrays, floats or hashable static values as arguments of a "
                f"compiled function; received {[type(leaf).__name__ for leaf in leaves]}"
            ) from None
        if found is not None:
            return found
        dynamic = [_as_node(leaf) is not None for leaf in leaves]

        def on_tensors(*tensors: Tensor) -> Any:
            rest = iter(tensors)
            filled = [
                next(rest) if is_input else leaf
                for leaf, is_input in zip(leaves, dynamic, strict=True)
            ]
            args, kwargs = trees.unflatten(structure, filled)
            return self._fn(*args, **kwargs)

        traced = trace(
            on_tensors,
            [(node.shape, node.dtype, False) for node in nodes],
            name=getattr(self._fn, "__name__", "function"),
            scalars=[isinstance(node.buffer, Scalar) for node in nodes],
        )
        program, loaded = realize.load([traced.graph])
        self._cache[key] = (traced, program, loaded)
        return self._cache[key]


def compile(fn: Callable[..., Any]) -> Compiled:
    """Turn `fn` into one Program for each combination of argument shapes.

    Tensors, arrays and floats are inputs; other arguments are static and a new value compiles
    anew. Variables that `fn` reads or assigns are found by themselves and updated in place.

    Raises:
        CaptureError: when `fn` reads the value of a tensor while it is captured.

    Example:
        >>> import tabgrad as tg
        >>> counter = tg.Variable(0.0, name="counter")
        >>> @tg.compile
        ... def add(x):
        ...     counter.assign(counter + x.sum())
        ...     return counter * 2
        >>> float(add(tg.tensor([1.0, 2.0]))), float(counter.value)
        (6.0, 3.0)
    """
    return Compiled(fn)


def _as_node(leaf: Any) -> Node | None:
    if isinstance(leaf, Tensor):
        return leaf.node
    if isinstance(leaf, Variable):
        return leaf.node()
    if isinstance(leaf, float) or hasattr(leaf, "__array__"):
        return tensor(leaf).node
    return None


def _nbytes(shape: Sequence[int], dtype: str | DType) -> int:
    total = as_dtype(dtype).itemsize
    for n in shape:
        total *= n
    return total
