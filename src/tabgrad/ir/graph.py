"""The graph: frozen, hash-consed nodes, their primitives, and iterative traversal.

A `Node` is one application of a `Primitive` to source nodes with static parameters. Equal nodes are
the same object, so common subexpressions never exist twice. What the primitives mean is in the
files of their families (leaf, elementwise, movement, reduce, window, contract, indexing, control);
this file knows nothing of tensors, values, engines or compilation.
"""

from __future__ import annotations

import itertools
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple
from weakref import ref

from tabgrad import config
from tabgrad.dtypes import DType
from tabgrad.errors import NotSupportedError, ShapeError, TabgradError
from tabgrad.ir.arity import ARITY

Shape = tuple[int, ...]


class Aval(NamedTuple):
    """What is known of a value without computing it."""

    shape: Shape
    dtype: DType


class Rows(NamedTuple):
    """Where the batch rows are in a value: index `i` on `axis` belongs to row `i // inner`."""

    axis: int
    inner: int = 1


class RowsMixedError(TabgradError):
    """A primitive lets one row influence another in a way that a row mask cannot undo."""


class Primitive(ABC):
    """The meaning of a kind of node. One subclass per primitive, registered under its name."""

    name: ClassVar[str]
    family: ClassVar[str]
    arity: ClassVar[int | None] = None  # how many sources, where it is always the same number

    @abstractmethod
    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        """Shapes and dtypes of the outputs; raises ShapeError or DtypeError on illegal sources."""

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        """Cotangents of the sources, given those of the outputs; None where none flows."""
        raise NotSupportedError(
            f"the gradient of {self.name} is not defined; wrap its inputs in stop_gradient"
        )

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Sequence[Node | None] | None:
        """Tangents of the outputs, given those of the sources (None where there is none).

        None altogether: the transpose of `vjp`, which is what ir/forward.py makes by itself.
        """
        return None

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        """Where the rows of the outputs are, given those of the sources, and which sources must be
        masked because rows are folded together. Raises RowsMixedError where neither is possible."""
        if any(srcs):
            raise RowsMixedError(f"{self.name} mixes the rows of a batch")
        return None, ()

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        """The outputs of `node` for many sources at once, as used by `vmap`.

        `srcs` take the place of the node's sources; where `batched`, a source has one more axis,
        its first, along which the batch lies. Every output must have it there, too.
        """
        raise NotSupportedError(f"vmap cannot map over {self.name}")


PRIMITIVES: dict[str, Primitive] = {}


def register(cls: type[Primitive]) -> type[Primitive]:
    """Class decorator: makes the one instance of a primitive known under its name."""
    count = ARITY.get(cls.name)
    cls.arity = count if isinstance(count, int) else None
    PRIMITIVES[cls.name] = cls()
    return cls


class Origin(NamedTuple):
    """Where a node was made: the layer path, and the user's Python line when it was recorded."""

    layer: str
    line: str


class InCapture(Origin):
    """The origin of a node made while a function was captured: also of which, and where."""

    capture: Capture
    at: str


class Capture:
    """One run of a function on values that do not exist: who captures it, and how it is called."""

    def __init__(self, by: str, name: str) -> None:
        self.by, self.name = by, name
        self._origins: dict[tuple[str, str, int], InCapture] = {}

    def origin(self, path: str, file: str, line: int) -> InCapture:
        """That of the nodes a Python line makes in a layer."""
        found = self._origins.get((path, file, line))
        if found is None:
            at = f"{file}:{line}"
            found = self._origins[path, file, line] = InCapture(path, at if config.debug else "")
            found.capture, found.at = self, at
        return found


class Node:
    """One application of a primitive. Never changed, but for `become_leaf` (see there)."""

    __slots__ = (
        "__weakref__", "_key", "buffer", "depth", "held", "origin", "outs", "params", "prim",
        "srcs",
    )  # fmt: skip

    prim: Primitive
    srcs: tuple[Node, ...]
    params: Mapping[str, Any]
    outs: tuple[Aval, ...]
    origin: Origin
    depth: int  # longest chain of pending nodes below
    held: int  # upper bound of the bytes that pending nodes keep alive below
    buffer: Any  # the engine buffer holding this node's value once it is realised, else None
    _key: tuple[Any, ...]

    @property
    def shape(self) -> Shape:
        """Shape of the only output."""
        outs = self.outs
        return outs[0][0] if len(outs) == 1 else self._only().shape

    @property
    def dtype(self) -> DType:
        """Dtype of the only output."""
        outs = self.outs
        return outs[0][1] if len(outs) == 1 else self._only().dtype

    def _only(self) -> Aval:
        if len(self.outs) != 1:
            raise TabgradError(f"internal: {self.prim.name} has {len(self.outs)} outputs; use proj")
        return self.outs[0]

    @property
    def size(self) -> int:
        """Number of elements of the only output."""
        total = 1
        for n in self.shape:
            total *= n
        return total

    @property
    def nbytes(self) -> int:
        """Bytes of all outputs."""
        total = 0
        for shape, dtype in self.outs:
            count = 1
            for n in shape:
                count *= n
            total += count * dtype.itemsize
        return total

    def become_leaf(self) -> None:
        """Forget the sources of a realised node, so that they can be freed.

        The value is in `buffer`; earlier consumers find it there. The node leaves the hash-consing
        table: an equal expression built later is a new node.
        """
        _table.pop(self._key, None)
        self.prim = PRIMITIVES["value"]
        self.srcs = ()
        self.params = MappingProxyType(
            {"id": next(_serial), "shape": self.outs[0].shape, "dtype": self.outs[0].dtype}
        )
        self.depth, self.held = 0, self.nbytes
        self._key = ("value", self.params["id"])

    def __repr__(self) -> str:
        outs = ", ".join(f"{dtype}{list(shape)}" for shape, dtype in self.outs)
        return f"<{self.prim.name} {outs}>"


class _Reference(ref[Node]):
    """What the table holds: it forgets a node that nobody uses."""

    __slots__ = ("key",)
    key: tuple[Any, ...]


def _forget(reference: _Reference) -> None:
    if _table.get(reference.key) is reference:
        del _table[reference.key]


# A plain dict of references: a WeakValueDictionary does the same in three times as many calls, and
# every node passes here.
_table: dict[tuple[Any, ...], _Reference] = {}
_serial = itertools.count()
_layer_path: list[str] = [""]
_plain_origins: dict[str, Origin] = {}  # without a line there is one for each layer path
_PACKAGE = __name__.partition(".")[0]
captures: list[Capture] = []  # those under way, the outermost first


@contextmanager
def captured(by: str, name: str) -> Iterator[None]:
    """Nodes made inside know that they belong to the capture of a function."""
    captures.append(Capture(by, name))
    try:
        yield
    finally:
        captures.pop()


_recordings: list[list[Node]] = []


@contextmanager
def recording() -> Iterator[list[Node]]:
    """Collects the nodes that are made inside, which are those that did not exist before."""
    _recordings.append([])
    try:
        yield _recordings[-1]
    finally:
        _recordings.pop()


@contextmanager
def layer_scope(name: str) -> Iterator[None]:
    """Nodes made inside carry this layer name (below the names of the scopes around it)."""
    outer = _layer_path[-1]
    _layer_path.append(f"{outer}/{name}" if outer else name)
    try:
        yield
    finally:
        _layer_path.pop()


@contextmanager
def unlabelled() -> Iterator[None]:
    """Nodes made inside carry no layer name, for graphs that are kept and used by others too."""
    _layer_path.append("")
    try:
        yield
    finally:
        _layer_path.pop()


def _origin() -> Origin:
    path = _layer_path[-1]
    if config.debug < 1 and not captures:
        found = _plain_origins.get(path)
        if found is None:
            found = _plain_origins[path] = Origin(path, "")
        return found
    frame = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        if frame.f_back is None:
            break
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    return captures[-1].origin(path, file, line) if captures else Origin(path, f"{file}:{line}")


def _hashable(value: Any) -> Any:
    if type(value) is float:
        return struct.pack("<d", value)  # tells -0.0 from 0.0 and finds an equal NaN
    if type(value) is bool:
        return ("bool", value)  # True == 1 in Python, not in a graph
    if type(value) is DType:
        return value.name  # hashes without a call into Python
    return value


def make(name: str, *srcs: Node, **params: Any) -> Node:
    """The node applying primitive `name` to `srcs`; checks shapes and dtypes."""
    prim = PRIMITIVES[name]
    given = tuple([(k, _hashable(params[k])) for k in sorted(params)]) if params else ()
    key = (name, tuple(map(id, srcs)), given)
    reference = _table.get(key)
    found = None if reference is None else reference()
    if found is not None:
        return found
    if prim.arity is not None and len(srcs) != prim.arity:
        raise TabgradError(
            f"internal: {name} expected {prim.arity} sources; received {len(srcs)}: {list(srcs)}"
        )
    outs = tuple(prim.infer([src.outs[0] for src in srcs], params))
    node = Node.__new__(Node)
    node.prim, node.srcs, node.outs, node._key = prim, srcs, outs, key
    node.params = MappingProxyType(params)
    node.buffer = None
    depth = held = 0
    for src in srcs:
        if src.depth >= depth:
            depth = src.depth + 1
        held += src.held
    node.depth, node.held = depth, held
    node.origin = _origin()
    reference = _table[key] = _Reference(node, _forget)
    reference.key = key
    if _recordings:
        for made in _recordings:
            made.append(node)
    return node


def make_value(shape: Shape, dtype: DType) -> Node:
    """A leaf for a concrete array. No other is equal to it, so it stays out of the table."""
    node = Node.__new__(Node)
    node.prim, node.srcs, node.outs = PRIMITIVES["value"], (), (Aval(shape, dtype),)
    serial = next(_serial)
    node._key = ("value", serial)
    node.params = MappingProxyType({"id": serial, "shape": shape, "dtype": dtype})
    node.buffer, node.depth, node.origin = None, 0, _origin()
    node.held = node.nbytes if shape else dtype.itemsize
    return node


def checked_shape(name: str, shape: Any) -> Shape:
    """A shape whose sizes are integers of at least 0, and no bools; raises ShapeError."""
    for n in shape:
        if (type(n) is not int and (type(n) is bool or not isinstance(n, Integral))) or n < 0:
            raise ShapeError(
                f"{name} expected a shape of integers of at least 0; received {list(shape)}"
            )
    return shape  # type: ignore[no-any-return]


def fresh_id() -> int:
    """A number no other leaf has: tells inputs and values of equal shape apart."""
    return next(_serial)


def remake(node: Node, srcs: Sequence[Node]) -> Node:
    """The same primitive and parameters on other sources, keeping the origin."""
    if all(map(lambda a, b: a is b, srcs, node.srcs)):
        return node
    _layer_path.append(node.origin.layer)
    try:
        return make(node.prim.name, *srcs, **node.params)
    finally:
        _layer_path.pop()


def toposort(roots: Iterable[Node], stop: Callable[[Node], bool] | None = None) -> list[Node]:
    """All nodes under `roots`, sources before users; `stop` cuts below a node. No recursion."""
    order: list[Node] = []
    done: set[int] = set()
    for root in roots:
        stack: list[tuple[Node, bool]] = [(root, False)]
        while stack:
            node, expanded = stack.pop()
            if id(node) in done:
                continue
            if expanded or not node.srcs or (stop is not None and stop(node)):
                done.add(id(node))
                order.append(node)
                continue
            stack.append((node, True))
            for src in reversed(node.srcs):
                if id(src) not in done:
                    stack.append((src, False))
    return order


def rewrite(roots: Sequence[Node], rule: Callable[[Node, tuple[Node, ...]], Node]) -> list[Node]:
    """Rebuild the graph bottom-up: `rule(old, new sources)` gives the replacement of each node."""
    new: dict[int, Node] = {}
    for node in toposort(roots):
        new[id(node)] = rule(node, tuple([new[id(src)] for src in node.srcs]))
    return [new[id(root)] for root in roots]


def substitute(roots: Sequence[Node], replacement: Mapping[Node, Node]) -> list[Node]:
    """The roots with some nodes (usually inputs) replaced by others."""
    if not replacement:
        return list(roots)
    return rewrite(roots, lambda old, srcs: replacement.get(old) or remake(old, srcs))


def structure(
    roots: Sequence[Node], stop: Callable[[Node], bool] | None = None
) -> tuple[tuple[Any, ...], list[Node]]:
    """A hashable description of the graph in which leaves are numbered by first appearance, and
    those leaves: equal descriptions are the same computation on different leaves. A `tag` is what
    it stands for, or no two gradients would be the same computation."""
    position: dict[int, int] = {}
    leaves: list[Node] = []
    lines: list[Any] = []
    # `toposort` and what is noted of each node in one walk: eager code comes here for every value.
    stack = list(reversed(roots))
    while stack:
        node = stack[-1]
        if id(node) in position:
            stack.pop()
            continue
        name = node.prim.name
        leaf = name == "value" or name == "input" or (stop is not None and stop(node))
        if not leaf:
            waiting = len(stack)
            for src in reversed(node.srcs):
                if id(src) not in position:
                    stack.append(src)
            if len(stack) > waiting:
                continue
        stack.pop()
        if name == "tag" and not leaf:
            position[id(node)] = position[id(node.srcs[0])]
            continue
        position[id(node)] = len(lines)
        if leaf:
            leaves.append(node)
            if len(node.outs) == 1:
                ((shape, dtype),) = node.outs
                lines.append((len(leaves), shape, dtype.name))
            else:
                lines.append((len(leaves), *[(shape, dtype.name) for shape, dtype in node.outs]))
        elif len(node.srcs) == 1:
            lines.append((name, node._key[2], position[id(node.srcs[0])]))
        else:
            lines.append((name, node._key[2], tuple([position[id(s)] for s in node.srcs])))
    return (tuple(lines), tuple([position[id(root)] for root in roots])), leaves


class Graph:
    """A closed function: inputs (nodes of `input`) and outputs. Compared by structure."""

    __slots__ = ("_key", "inputs", "outputs")

    def __init__(self, inputs: Sequence[Node], outputs: Sequence[Node]) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        key, leaves = structure(self.outputs)
        number = {id(node): i for i, node in enumerate(self.inputs)}
        stray = [leaf for leaf in leaves if id(leaf) not in number]
        if stray:
            raise TabgradError(
                f"internal: a closed graph uses {stray[0]!r}, which is none of its inputs"
            )
        avals = tuple(node.outs for node in self.inputs)
        self._key = (key, tuple(number[id(leaf)] for leaf in leaves), avals)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __call__(self, *args: Node) -> list[Node]:
        """The outputs with the inputs replaced by `args`."""
        return substitute(self.outputs, dict(zip(self.inputs, args, strict=True)))
