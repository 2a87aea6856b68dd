"""`tg.compile`: capture a function as one graph, find its Variables, replay it as a Program.

Capturing runs the Python once on abstract tensors. Variables read become state of the Program,
Variables assigned become updates in place; nothing has to be listed by the user.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from types import MethodType
from typing import Any, NamedTuple

from tabgrad import config, realize, trees
from tabgrad.closures import Surroundings
from tabgrad.dtypes import DType, as_dtype
from tabgrad.errors import ArgumentError, CaptureError, EngineError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.entry import Argument, EntryGraph, Result, State
from tabgrad.ir.graph import Node, remake, rewrite, toposort
from tabgrad.realize import Buffer, Choice, Program
from tabgrad.signature import Call, Signature
from tabgrad.tensor import Tensor, tensor
from tabgrad.variable import Variable, scope

# A function compiled so often because something around it changes gets a warning.
MANY = 10


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
        self,
        graph: EntryGraph,
        variables: list[Variable],
        captured: list[Node],
        result: Any,
        donated: dict[int, int],
    ) -> None:
        self.graph = graph
        self.variables = variables
        self.captured = captured  # concrete tensors the function closed over, extra inputs
        self.result = result
        self.donated = donated  # arguments that are states behind the Variables -> their results

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
    donated: Sequence[bool] = (),
) -> Traced:
    """Capture `fn` called with one abstract tensor for each spec.

    Args:
        fn: a function of tensors, returning a tensor, a nested container of them, or None.
        specs: (shape, dtype, rows) for each argument; rows marks the leading axis as the batch.
        name: the entry's name, by default the function's.
        names: the inputs' names, by default x0, x1, ...
        scalars: which 0-d inputs are host scalars written into the frame.
        output_names: the outputs' names, by default y0, y1, ... (or y for a single one).
        donated: which arguments' memory a result of the same shape and dtype may take.

    Raises:
        ShapeError: rows marked on arguments whose leading sizes differ.
    """
    called = name or str(getattr(fn, "__name__", "function"))
    sizes = {next(iter(shape)) for shape, _, rows in specs if rows}
    if len(sizes) > 1:
        raise ShapeError(f"expected one batch size for all inputs; received {sorted(sizes)}")
    capture = Capture()
    with realize.capture_scope("tg.compile", repr(called)), scope(capture):
        nodes = [b.input(tuple(shape), as_dtype(dtype)) for shape, dtype, _ in specs]
        leaves, structure = trees.flatten(fn(*map(Tensor, nodes)))
        # Inside, so that a Variable among them is its value at the end of the function.
        outs = [tensor(leaf.value if isinstance(leaf, Variable) else leaf).node for leaf in leaves]
        keys = list(capture.variables)
        updates = {k: capture.current[k] for k in keys if k in capture.written}
        roots = [*outs, *updates.values()]
        _refuse_escaped(roots, {*nodes, *capture.inputs.values()})
    roots, captured = _lift_values(roots)
    outs = roots[: len(outs)]
    new = dict(zip(updates, roots[len(outs) :], strict=True))
    taken = _taken(nodes, outs, donated)
    arguments = [
        Argument(
            node,
            names[i] if names else f"x{i}",
            scalar=bool(scalars and scalars[i]),
            rows=specs[i][2],
        )
        for i, node in enumerate(nodes)
        if i not in taken
    ]
    arguments += [Argument(node, f"captured{i}") for i, (node, _) in enumerate(captured)]
    default = ["y"] if len(outs) == 1 else [f"y{i}" for i in range(len(outs))]
    results = [Result(n, s) for n, s in zip(outs, output_names or default, strict=True)]
    states = [State(capture.inputs[k], capture.variables[k].path, new.get(k)) for k in keys]
    states += [State(nodes[i], f"donated{i}", outs[at]) for i, at in taken.items()]
    graph = EntryGraph(
        name=called,
        arguments=arguments,
        states=states,
        results=[result for at, result in enumerate(results) if at not in taken.values()],
        rows=sizes.pop() if sizes else None,
    )
    values = [value for _, value in captured]
    return Traced(graph, list(capture.variables.values()), values, structure, taken)


def _taken(nodes: Sequence[Node], outs: Sequence[Node], donated: Sequence[bool]) -> dict[int, int]:
    """For donated arguments, the result that takes their place in memory, if one fits."""
    taken: dict[int, int] = {}
    for i, (node, given) in enumerate(zip(nodes, donated, strict=False)):
        fits = [at for at, out in enumerate(outs) if out.outs == node.outs]
        free = [at for at in fits if at not in taken.values()]
        if given and free:
            # What is returned unchanged stays where it is.
            taken[i] = next((at for at in free if outs[at] is node), free[0])
    return taken


def _refuse_escaped(roots: Sequence[Node], own: set[Node]) -> None:
    """Raise CaptureError for values that belong to another capture."""
    for node in toposort(roots):
        if node.prim.name == "input" and node.buffer is None and node not in own:
            raise CaptureError(realize.foreign_value(roots, node))


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
        self.considered = False  # whether another engine was asked for
        self.ran = False
        entry = program.entries[0]
        self._state = list(zip(traced.variables, [up for _, up in entry.state], strict=True))
        self._captured = [realize.handle_of(node) for node in traced.captured]
        count = len(entry.inputs) - len(traced.captured)
        self.inputs = [
            None if p.scalar else Buffer(self.engine, _nbytes(p.shape, p.dtype), p.dtype)
            for p in entry.inputs[:count]
        ]
        self.words = [0 if buffer is None else buffer.handle for buffer in self.inputs]
        self.outputs = [
            Buffer(self.engine, _nbytes(p.shape, p.dtype), p.dtype) for p in entry.outputs
        ]

    def faster(self, name: str) -> Coroutine[Any, Any, Choice | None]:
        """Looks for another engine that runs this faster (see `engines/auto.py`), with copies of
        the values of now."""
        arguments = [
            *(b or word for b, word in zip(self.inputs, self.words, strict=True)),
            *self._captured,
            *(variable.node() for variable, _ in self._state),
            *self.outputs,
        ]
        return realize.faster(name, self.program, self._loaded, [self.traced.graph], arguments)

    @property
    def worth_timing(self) -> bool:
        """Whether to ask for another engine: once, after it has run here."""
        return self.ran and not self.considered and realize.worth_timing(self.program)

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
        self.ran = True
        for variable, update in self._state:
            if update:
                variable.version += 1


class _Donated:
    """Stands where the buffer of a donated tensor was; using it raises."""

    def __init__(self, node: Node, to: str) -> None:
        self.message = (
            f"expected a tensor that still has its value; this one ({node.dtype.name} "
            f"{list(node.shape)}) was donated to the compiled function {to!r}, which has used its "
            "memory for something else. Use the result of that call, or take the argument out of "
            "donate_argnums"
        )

    def __getattr__(self, name: str) -> Any:
        raise ArgumentError(self.message)


class _Made(NamedTuple):
    """A Program, and what it was made for."""

    traced: Traced
    program: Program
    loaded: Any
    call: Call
    around: Surroundings


class Compiled:
    """A function that runs as one Program for each combination of shapes it is called with."""

    def __init__(
        self,
        fn: Callable[..., Any],
        static_argnums: int | Sequence[int] = (),
        static_argnames: str | Sequence[str] = (),
        donate_argnums: int | Sequence[int] = (),
    ) -> None:
        functools.update_wrapper(self, fn)
        self._fn = fn
        self._attribute = ""
        self._options = (static_argnums, static_argnames, donate_argnums)
        self._signature = Signature(fn, static_argnums, static_argnames, donate_argnums)
        self._cache: dict[Any, _Made] = {}
        self._replaced = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        while True:
            try:
                return self._call(args, kwargs)
            except EngineError as error:
                realize.take_over(error)

    def _call(self, args: Any, kwargs: Any) -> Any:
        call = self._open(args, kwargs)
        if (
            realize.capturing()
            or realize.differentiating()
            or any(realize.is_abstract(node) for node in call.nodes)
        ):
            # A part of the graph around it: a Program's results have no sources to follow.
            args, kwargs = call.fill(map(Tensor, call.nodes))
            return self._fn(*args, **kwargs)
        traced, program, loaded, _, _ = self._find(call)
        engine = realize.engine()
        entry = program.entries[0]
        realize.realize([node for node in call.nodes if node.buffer is None])
        keep: list[Buffer] = []
        words: list[int] = []
        inputs = [node for i, node in enumerate(call.nodes) if i not in traced.donated]
        for node, port in zip([*inputs, *traced.captured], entry.inputs, strict=True):
            if port.scalar:
                words.append(node.buffer.bits)
            else:
                keep.append(realize.handle_of(node))
                words.append(keep[-1].handle)
        updates = [update for _, update in entry.state]
        for variable, update in zip(traced.variables, updates, strict=False):
            words.append(variable.handle(update))
        results = [Buffer(engine, _nbytes(p.shape, p.dtype), p.dtype) for p in entry.outputs]
        given = {i: self._give(call.nodes[i]) for i in traced.donated}
        words += [buffer.handle for buffer in given.values()]
        try:
            engine.run(loaded, 0, words + [buffer.handle for buffer in results], 0)
        except EngineError as error:
            if realize.may_fail() and (given or any(updates)):
                raise _spoilt(error, self._name) from error
            raise
        for i, node in enumerate(call.nodes):
            if call.donated[i] and i not in given:
                node.buffer = _Donated(node, self._name)
        for variable, update in zip(traced.variables, updates, strict=False):
            if update:
                variable.version += 1
        made = iter(
            realize.value_node(buffer, port.shape, as_dtype(port.dtype))
            for buffer, port in zip(results, entry.outputs, strict=True)
        )
        places = {
            at: realize.value_node(given[i], call.nodes[i].shape, call.nodes[i].dtype)
            for i, at in traced.donated.items()
        }
        count = len(places) + len(results)
        tensors = [Tensor(places[at] if at in places else next(made)) for at in range(count)]
        return trees.unflatten(traced.result, tensors)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """A compiled method: each object has Programs of its own, and goes with them."""
        if instance is None:
            return self
        static, names, donated = self._options
        method = MethodType(self._fn, instance)
        bound = Compiled(method, _behind_self(static), names, _behind_self(donated))
        held = getattr(instance, "__dict__", None)
        if held is not None and self._attribute:
            held[self._attribute] = bound
        return bound

    def __set_name__(self, owner: Any, name: str) -> None:
        self._attribute = name

    def bind(self, *args: Any, **kwargs: Any) -> Bound:
        """The Program for arguments like these, with buffers of its own for inputs and outputs."""
        made = self._find(self._open(args, kwargs, donating=False))
        return Bound(made.traced, made.program, made.loaded)

    def program(self, *args: Any, **kwargs: Any) -> Program:
        """The Program that a call with arguments like these runs."""
        return self._find(self._open(args, kwargs)).program

    def traces(self) -> list[Traced]:
        """What was captured so far, for an export; the latest last."""
        return [made.traced for made in self._cache.values()]

    @property
    def _name(self) -> str:
        return str(getattr(self._fn, "__name__", "function"))

    def _give(self, node: Node) -> Buffer:
        """The buffer of a donated tensor, for this call to write: a copy where others have it."""
        buffer = realize.handle_of(node)
        node.buffer = _Donated(node, self._name)
        # An object that only this function knows says what the count of such a one is.
        probe = object()
        shared = sys.getrefcount(buffer) > sys.getrefcount(probe)
        given = buffer.copy(realize.engine()) if shared else buffer
        given.host = None
        return given

    def _open(self, args: Any, kwargs: Any, donating: bool = True) -> Call:
        return self._signature.open(args, kwargs, realize.engine(), donating)

    def _find(self, call: Call) -> _Made:
        try:
            found = self._cache.get(call.key)
        except TypeError:
            raise ArgumentError(
                "expected tensors, arrays, floats or hashable static values as arguments of a "
                f"compiled function; received {[type(leaf).__name__ for leaf in call.leaves]}"
            ) from None
        changed = None if found is None else found.around.changed()
        if found is not None and changed is None:
            return found
        if config.debug and self._cache:
            reason = self._reason(call, changed)
            print(f"tabgrad: compiling {self._name} again: {reason}", file=sys.stderr, flush=True)
        before = Surroundings(self._fn)

        def on_tensors(*tensors: Tensor) -> Any:
            args, kwargs = call.fill(tensors)
            return self._fn(*args, **kwargs)

        dynamic = [part for part in call.parts if part[0] != "static"]
        try:
            traced = trace(
                on_tensors,
                [(node.shape, node.dtype, False) for node in call.nodes],
                name=self._name,
                scalars=[scalar for _, _, scalar, _ in dynamic],
                donated=call.donated,
            )
        except BaseException:
            _bound_back(before)
            raise
        self._refuse_rebound(before)
        around = Surroundings(self._fn)
        self._refuse_lost_state(before.values(), around.values(), traced)
        program, loaded = realize.load([traced.graph])
        if found is not None:
            realize.unload(found.loaded, call.key[0])
            self._count_replaced(str(changed))
        # The values of this call are not to be kept alive by what is remembered of it.
        names = call._replace(leaves=[None] * len(call.leaves), nodes=[])
        self._cache[call.key] = _Made(traced, program, loaded, names, around)
        return self._cache[call.key]

    def _count_replaced(self, changed: str) -> None:
        self._replaced += 1
        if self._replaced == MANY:
            warnings.warn(
                f"{self._name} was compiled {MANY} times more because {changed!r}, which it takes "
                "from around it, keeps changing. Pass it as an argument, or make it a tg.Variable "
                "and assign to it",
                stacklevel=4,
            )

    def _refuse_rebound(self, before: Surroundings) -> None:
        for name in _bound_back(before):
            raise CaptureError(
                f"expected state of the compiled function {self._name!r} in a tg.Variable; "
                f"received an assignment to elements of the tensor {name!r} outside of it, which "
                "happens while capturing only, not at every call. Return x.at[i].set(v), or make "
                "it a tg.Variable and assign that"
            )

    def _refuse_lost_state(
        self, before: dict[str, Any], after: dict[str, Any], traced: Traced
    ) -> None:
        """A name that was read and then given a value of the capture was meant to be state. One
        that was only given such a value may be there to look at."""
        for name, value in after.items():
            old = before.get(name)
            if value is old or not isinstance(value, Tensor):
                continue
            if isinstance(old, Tensor):
                was_read = any(node is used for node in old.parts for used in traced.captured)
            else:
                was_read = isinstance(old, (int, float))
            if was_read and any(realize.is_abstract(n) for n in value.parts if n is not None):
                raise CaptureError(
                    f"expected state of the compiled function {self._name!r} in a tg.Variable; "
                    f"received an assignment to {name!r}, which happens while capturing only, not "
                    "at every call. Make it a tg.Variable and use assign, or return the new value"
                )

    def _reason(self, call: Call, changed: str | None) -> str:
        """What is different from the most similar call before."""
        if changed is not None:
            return f"{changed!r}, which the function uses, is not what it was"
        return min(
            [
                self._signature.differences(call, made.call)
                for made in reversed(self._cache.values())
            ],
            key=len,
        )[0]


def _spoilt(error: EngineError, name: str) -> EngineError:
    """The error of a run that failed while it changed values in place: none can repeat it."""
    return EngineError(
        f"expected {name!r} to run through; it failed while it changed Variables (or tensors that "
        f"were donated), whose values are not known now: {error} Assign them anew, or train by "
        "model.fit, which keeps copies and repeats steps",
        code="spoilt",
    )


def _bound_back(before: Surroundings) -> list[str]:
    """Lets tensors stand for what they did again where `x[i] = v` has put a value of the capture
    into them; their names."""
    found = []
    for name, held, (node, imag) in before.rebound():
        if any(realize.is_abstract(n) for n in held.parts if n is not None):
            held._rebind(Tensor(node, imag))
            found.append(name)
    return found


def _behind_self(argnums: int | Sequence[int]) -> list[int]:
    """Positions counted from behind a method's `self`, where they were counted with it."""
    numbers = [argnums] if isinstance(argnums, int) else argnums
    return [n - 1 if n > 0 else n for n in numbers if n != 0]


def compile(
    fn: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    donate_argnums: int | Sequence[int] = (),
) -> Any:
    """Turn `fn` into one Program for each combination of argument shapes.

    Tensors, arrays and floats are inputs; other arguments are static and a new value compiles
    anew. Variables that `fn` reads or assigns are found by themselves and updated in place. When a
    tensor, a Variable or a number that `fn` takes from around it is replaced, it is compiled anew.
    TABGRAD_DEBUG=1 prints why something is compiled again.

    Args:
        fn: a function of nested containers; without it a decorator is returned.
        static_argnums: positions of arguments to take as they are, such as floats that decide
            about shapes; they must be hashable.
        static_argnames: names of such arguments. Names and positions stand for each other.
        donate_argnums: positions of arguments whose memory the results may take. Their tensors
            cannot be read any more, nor can anything that shares their values.

    Raises:
        CaptureError: when `fn` reads the value of a tensor while it is captured, or assigns a
            tensor to a name outside of it.
        ArgumentError: static arguments that are tensors or cannot be hashed; reading what was
            donated.

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
    if fn is None:
        return functools.partial(
            compile,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
            donate_argnums=donate_argnums,
        )
    return Compiled(fn, static_argnums, static_argnames, donate_argnums)


def _nbytes(shape: Sequence[int], dtype: str | DType) -> int:
    total = as_dtype(dtype).itemsize
    for n in shape:
        total *= n
    return total
