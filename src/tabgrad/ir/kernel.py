"""Kernels: the loop nests a graph is cut into, before any target sees them.

A kernel runs over a space of loops. For each point of `space` it evaluates expressions and stores
them; a reducing kernel first folds a body over the loops of `inner`. Movement has already become
index arithmetic, so an expression is arithmetic on loads. A contraction is a reducing kernel whose
body is a product of two views; its loops also carry roles (batch, m, n and k).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tabgrad import dtypes
from tabgrad.dtypes import DType, bool_
from tabgrad.ir.graph import Node
from tabgrad.ir.index import Dyn, Index, Var
from tabgrad.ir.text import shortest


@dataclass(eq=False)
class Buffer:
    """An array in memory: where it comes from and how many elements it has.

    `role` is "input", "state", "output", "constant", "temp", "window", "rows" or "slice"; `slot`
    its place in the entry's list of that role; `offset` its place in the arena for temporaries. A
    slice is the part of `parent` that belongs to the present turn of `loop`; a window is a
    temporary of which only the rows at hand are kept, at `offset` in a thread's scratch memory.
    """

    name: str
    role: str
    size: int
    dtype: DType
    slot: int = 0
    offset: int = 0
    data: bytes = b""
    parent: Buffer | None = None
    loop: Loop | None = None
    row_bytes: int = 0  # of a window

    @property
    def root(self) -> Buffer:
        """The buffer a slice (of a slice) is part of; itself for all others."""
        return self if self.parent is None else self.parent.root

    @property
    def nbytes(self) -> int:
        """Bytes it needs."""
        return self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        return self.name


class Condition:
    """`low <= index < high`, or `index % modulo == 0`; bounds may be open."""

    __slots__ = ("high", "index", "low", "modulo")

    def __init__(
        self, index: Index, low: int | None = None, high: int | None = None, modulo: int = 1
    ) -> None:
        self.index, self.low, self.high, self.modulo = index, low, high, modulo

    def replace(
        self, values: Mapping[Var, Index], run_time: Callable[[Any], Any] | None = None
    ) -> Condition:
        """The same with `Index.replace` applied."""
        return Condition(self.index.replace(values, run_time), self.low, self.high, self.modulo)

    @property
    def key(self) -> tuple[Any, ...]:
        """For comparing."""
        return self.index, self.low, self.high, self.modulo

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return self.text(repr)

    def text(self, show: Callable[[Expr], str]) -> str:
        """Readable comparisons; `show` gives the text of expressions read at run time."""
        index = self.index.text(show)
        if self.modulo != 1:
            return f"{index}%{self.modulo}==0"
        low = "" if self.low is None else f"{self.low}<="
        high = "" if self.high is None else f"<{self.high}"
        return f"{low}{index}{high}"


def in_range(index: Index, size: int) -> list[Condition] | None:
    """Conditions for 0 <= index < size that are not always true; None when never true."""
    low, high = index.range
    if high < 0 or low >= size:
        return None
    if low >= 0 and high < size:
        return []
    return [Condition(index, 0 if low < 0 else None, size if high >= size else None)]


class Expr:
    """One scalar value at a point of the loops; shared subexpressions are the same object.

    `op` is a primitive's name with `args`, or:
    "load" (`buffer` at `index`), "const" (`value`), "index" (an Index as a number),
    "guard" (args[0] where all `conditions` hold, else args[1]), "acc" (the folded value), "best"
    (the extremum where "acc" is its place; targets alone make it),
    "output" (result `value` of args[0], an operation with several results).
    An "exp" of what is never above 0 has a `value`: True.
    """

    __slots__ = ("_parts", "_vars", "args", "buffer", "conditions", "dtype", "index", "op", "value")

    def __init__(
        self,
        op: str,
        dtype: DType,
        args: tuple[Expr, ...] = (),
        *,
        buffer: Buffer | None = None,
        index: Index | None = None,
        value: Any = None,
        conditions: tuple[Condition, ...] = (),
    ) -> None:
        self.op, self.dtype, self.args = op, dtype, args
        self.buffer, self.index, self.value, self.conditions = buffer, index, value, conditions
        self._vars: frozenset[Var] | None = None
        self._parts: tuple[Expr, ...] | None = None

    @property
    def parts(self) -> tuple[Expr, ...]:
        """All expressions it is made of: its arguments, then those inside its indices."""
        if self._parts is None:
            inside = () if self.index is None and not self.conditions else run_time_indices(self)
            self._parts = (*self.args, *inside) if inside else self.args
        return self._parts

    def variables(self) -> frozenset[Var]:
        """All loop variables the value depends on."""
        if self._vars is None:
            found: set[Var] = set()
            for arg in self.args:
                found |= arg.variables()
            if self.index is not None:
                found |= self.index.variables()
            for condition in self.conditions:
                found |= condition.index.variables()
            self._vars = frozenset(found)
        return self._vars

    def on(
        self, args: tuple[Expr, ...], index: Index | None, conditions: tuple[Condition, ...]
    ) -> Expr:
        """The same operation on other arguments, or elsewhere."""
        return Expr(
            self.op,
            self.dtype,
            args,
            buffer=self.buffer,
            index=index,
            value=self.value,
            conditions=conditions,
        )

    def replace(self, values: Mapping[Var, Index]) -> Expr:
        """Variables replaced by indices everywhere."""
        return replace_all([self], values)[0]

    def __repr__(self) -> str:
        sizes: dict[int, int] = {}
        for expr in walk([self]):
            sizes[id(expr)] = 1 + sum(sizes[id(part)] for part in expr.parts)
        # Written out, shared parts may be longer than any memory.
        return show(self) if sizes[id(self)] <= 100 else f"<{self.op} {self.dtype}>"


def identity(fold: str, dtype: DType) -> Expr:
    """The value that changes nothing when folded."""
    low, high = dtypes.limits(dtype)
    value = {"sum": 0, "prod": 1, "max": low, "min": high, "or": False, "and": True}[fold]
    return Expr("const", dtype, value=dtypes.wrap(value, dtype))


def walk(roots: Sequence[Expr]) -> Iterator[Expr]:
    """Every expression once, arguments first, those inside run-time indices included."""
    done: set[int] = set()
    for root in roots:
        stack = [root]
        while stack:
            expr = stack[-1]
            if id(expr) not in done:
                waiting = [part for part in expr.parts if id(part) not in done]
                if waiting:
                    stack += waiting
                    continue
                done.add(id(expr))
                yield expr
            stack.pop()


def run_time_indices(expr: Expr) -> list[Expr]:
    """Expressions whose values are used as indices by this one."""
    found: list[Expr] = []
    indices = [expr.index] if expr.index is not None else []
    pending = [*indices, *(c.index for c in expr.conditions)]
    while pending:
        for atom in pending.pop().terms:
            if isinstance(atom, Dyn):
                found.append(atom.expr)
            elif not isinstance(atom, Var):
                pending.append(atom.of)
    return found


def rebuilt(
    roots: Sequence[Expr],
    change: Callable[[Expr, Callable[[Expr], Expr]], Expr | None],
) -> list[Expr]:
    """Several expressions, sharing kept, with `change(expr, moved)` in the place of each part for
    which it gives one; `moved` tells what has become of the parts of that part."""
    new: dict[int, Expr] = {}

    def moved(expr: Expr) -> Expr:
        return new[id(expr)]

    for expr in walk(roots):
        changed = change(expr, moved)
        if changed is None:
            args = tuple([new[id(arg)] for arg in expr.args])
            same = all(a is b for a, b in zip(args, expr.args, strict=True))
            changed = expr if same else expr.on(args, expr.index, expr.conditions)
        new[id(expr)] = changed
    return [new[id(root)] for root in roots]


def replace_all(roots: Sequence[Expr], values: Mapping[Var, Index]) -> list[Expr]:
    """Variables replaced by indices in several expressions, sharing kept."""

    def replaced(expr: Expr, moved: Callable[[Expr], Expr]) -> Expr:
        if not any(v in values for v in expr.variables()):
            return expr
        return expr.on(
            tuple([moved(arg) for arg in expr.args]),
            None if expr.index is None else expr.index.replace(values, moved),
            tuple([c.replace(values, moved) for c in expr.conditions]),
        )

    return rebuilt(roots, replaced)


def show(expr: Expr, names: Mapping[int, str] | None = None) -> str:
    """An expression on one line. Parts that `names` knows by id stand there by name; others are
    written out wherever they are used."""

    def part(inner: Expr) -> str:
        return known.get(id(inner)) or show(inner, known)

    known = names or {}
    if expr.op == "load":
        assert expr.index is not None
        return f"{expr.buffer!r}[{expr.index.text(part)}]"
    if expr.op == "const":
        value = expr.value
        return shortest(value, expr.dtype) if type(value) is float else repr(value)
    if expr.op == "index":
        assert expr.index is not None
        return f"{expr.dtype.name}({expr.index.text(part)})"
    if expr.op == "guard":
        inside = " and ".join([condition.text(part) for condition in expr.conditions])
        return f"({part(expr.args[0])} if {inside} else {part(expr.args[1])})"
    if expr.op in ("acc", "best"):
        return expr.op
    if expr.op == "output":
        return f"{part(expr.args[0])}.{expr.value}"
    suffix = f":{expr.dtype.name}" if expr.op in ("cast", "bitcast") else ""
    return f"{expr.op}{suffix}({', '.join(map(part, expr.args))})"


@dataclass(frozen=True)
class Store:
    """An expression put into a buffer, possibly combined with what is there (scatter)."""

    buffer: Buffer
    index: Index
    expr: Expr
    combine: str = "set"
    conditions: tuple[Condition, ...] = ()


def run_time_places(store: Store) -> list[Expr]:
    """Expressions whose values decide where a store goes, or whether it happens."""
    return run_time_indices(Expr("index", bool_, index=store.index, conditions=store.conditions))


@dataclass(eq=False)
class Group:
    """Neighbouring kernels that are one launch; compiler/group.py has the kinds. By "rows", each
    kernel does some of the `rows` before the next one does the same."""

    kind: str
    rows: int = 0
    # By rows: how many elements of a buffer (by id) each row has, None where that is not so; and
    # the bytes a target needs for what passes between the kernels.
    strides: Mapping[int, int | None] = field(default_factory=dict)
    scratch: int = 0

    def head(self) -> str:
        """The line above the texts of its kernels."""
        return f"together by {self.rows} rows" if self.rows else f"together, {self.kind}"


@dataclass(repr=False)
class Kernel:
    """A loop nest. `kind` is "map", "reduce", "contract", "scatter", "cumulative" or "sort".

    A cumulative kernel stores in every turn of its inner loop what is folded so far. A sort moves
    what its stores name, the first being the key, along the inner loop; `scratch` has as much room
    again for each of them. Where `last` is not 0, only so many at the end of a row are asked for,
    and what comes before them may be anything.
    """

    kind: str
    space: tuple[Var, ...]
    stores: list[Store]
    inner: tuple[Var, ...] = ()
    fold: str = ""  # sum, prod, max, min, argmax, argmin; and, or for bool; dot: a sum in order
    body: Expr | None = None
    body_index: Expr | None = None  # for argmax and argmin: the index that belongs to `body`
    a: Expr | None = None  # for contractions: body is a * b
    b: Expr | None = None
    roles: Mapping[Var, str] = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()  # whose value each store holds at the end; none for copies
    flops: int = 0
    name: str = ""
    panel_width: int = 0  # of a contraction whose B a target has packed into panels
    scratch: tuple[Buffer, ...] = ()
    last: int = 0
    group: Group | None = None
    row_loops: int = 0  # in a group by rows: how many leading loops make the rows
    row_points: int = 0  # and the points of a row, once rows and points are a single loop

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"

    @property
    def points(self) -> int:
        """How often its expressions are computed: the points of its space and inner loops."""
        return math.prod([v.size for v in (*self.space, *self.inner)])

    def bodies(self) -> list[list[Launch]]:
        """Launches inside this one: none."""
        return []

    def expressions(self) -> list[Expr]:
        """Every root expression."""
        extra = [e for e in (self.body, self.body_index, self.a, self.b) if e is not None]
        return [*extra, *(store.expr for store in self.stores)]

    def reads(self) -> list[Buffer]:
        """Buffers it loads from, in order of appearance."""
        found: dict[int, Buffer] = {}
        roots = self.expressions()
        for store in self.stores:
            roots += run_time_places(store)
        for expr in walk(roots):
            if expr.buffer is not None:
                found[id(expr.buffer)] = expr.buffer
        return list(found.values())

    def writes(self) -> list[Buffer]:
        """Buffers it stores to."""
        buffers = [*(s.buffer for s in self.stores), *self.scratch]
        return list({id(b): b for b in buffers}.values())

    def text(self) -> str:
        """A few readable lines; a value used more than once has a name and a line of its own."""
        text = _KernelText(self)
        loops = " ".join(f"{v.name}<{v.size}" for v in self.space)
        text.lines.append(f"{self.name or self.kind}: {self.kind} over {loops or 'one point'}")
        folded = " ".join(f"{v.name}<{v.size}" for v in self.inner) or "one point"
        if self.a is not None and self.b is not None:
            a, b = text.shown(self.a), text.shown(self.b)
            text.lines.append(f"  acc = sum over {folded} of {a} * {b}")
        elif self.body is not None:
            body = text.shown(self.body)
            if self.body_index is not None:
                body += f" at {text.shown(self.body_index)}"
            so_far = " so far" if self.kind == "cumulative" else ""
            text.lines.append(f"  acc = {self.fold}{so_far} over {folded} of {body}")
        elif self.kind == "sort":
            key, *moved = [repr(store.buffer) for store in self.stores]
            payloads = f", and with it {', '.join(moved)}" if moved else ""
            last = f", the last {self.last}" if self.last else ""
            text.lines.append(f"  sort {key} over {folded}{last}{payloads}")
            return "\n".join(text.lines)
        for store in self.stores:
            text.store(store)
        return "\n".join(text.lines)


class _KernelText:
    """Lines of a kernel, with names for what is used more than once."""

    def __init__(self, kernel: Kernel) -> None:
        self.lines: list[str] = []
        self.names: dict[int, str] = {}
        self.uses: Counter[int] = Counter()
        roots = [*kernel.expressions(), *(e for s in kernel.stores for e in run_time_places(s))]
        for root in roots:
            self.uses[id(root)] += 1
        for expr in walk(roots):
            for inner in expr.parts:
                self.uses[id(inner)] += 1

    def shown(self, root: Expr) -> str:
        """The root as it stands in a line, after lines for the names it needs."""
        for expr in walk([root]):
            long = expr.args or run_time_indices(expr)
            if long and self.uses[id(expr)] > 1 and id(expr) not in self.names:
                name = f"v{len(self.names)}"
                self.lines.append(f"  let {name} = {show(expr, self.names)}")
                self.names[id(expr)] = name
        return self.names.get(id(root)) or show(root, self.names)

    def store(self, store: Store) -> None:
        """The line of a store."""
        value, part = self.shown(store.expr), self.shown
        sign = {"set": "=", "add": "+="}.get(store.combine, f"{store.combine}=")
        line = f"  {store.buffer!r}[{store.index.text(part)}] {sign} {value}"
        if store.conditions:
            line += " if " + " and ".join([c.text(part) for c in store.conditions])
        self.lines.append(line)


@dataclass(eq=False)
class Loop:
    """Launches repeated `length` times, backwards with `reverse`: the scan `node`."""

    name: str
    length: int
    reverse: bool
    node: Node
    body: list[Launch] = field(default_factory=list)
    kind = "loop"

    def bodies(self) -> list[list[Launch]]:
        """Launches inside this one."""
        return [self.body]

    def reads(self) -> list[Buffer]:
        """Buffers that anything inside loads from."""
        return _all_read(self)

    def writes(self) -> list[Buffer]:
        """Buffers that anything inside stores to."""
        return _all_written(self)

    def head(self) -> str:
        """Its line above those of its body."""
        return f"{self.name}: {'backwards ' if self.reverse else ''}{self.length} times"

    def text(self) -> str:
        """A few readable lines."""
        return f"{self.head()}\n  " + text_of(self.body).replace("\n", "\n  ")


@dataclass(eq=False)
class While:
    """Launches of `test`, which leave a bool in `flag`, and while it is True those of `body`, again
    and again: the while `node`."""

    name: str
    node: Node
    flag: Buffer
    test: list[Launch] = field(default_factory=list)
    body: list[Launch] = field(default_factory=list)
    outputs: list[tuple[Node, Buffer]] = field(default_factory=list)  # those that are asked for
    kind = "while"

    def bodies(self) -> list[list[Launch]]:
        """Launches inside this one."""
        return [self.test, self.body]

    def reads(self) -> list[Buffer]:
        """Buffers that anything inside loads from."""
        return [self.flag, *_all_read(self)]

    def writes(self) -> list[Buffer]:
        """Buffers that anything inside stores to."""
        return _all_written(self)

    def head(self) -> str:
        """Its line above those of its test and body."""
        return f"{self.name}: while {self.flag!r}[0] after the first {len(self.test)}"

    def text(self) -> str:
        """A few readable lines."""
        return _block_text(self)


@dataclass(eq=False)
class Branch:
    """The launches of one of several lists, picked by the number in `index`, which is clamped: the
    cond `node`."""

    name: str
    node: Node
    index: Buffer
    branches: list[list[Launch]] = field(default_factory=list)
    outputs: list[tuple[Node, Buffer]] = field(default_factory=list)  # those that are asked for
    kind = "branch"

    def bodies(self) -> list[list[Launch]]:
        """Launches inside this one."""
        return self.branches

    def reads(self) -> list[Buffer]:
        """Buffers that anything inside loads from."""
        return [self.index, *_all_read(self)]

    def writes(self) -> list[Buffer]:
        """Buffers that anything inside stores to."""
        return _all_written(self)

    def head(self) -> str:
        """Its line above those of its branches."""
        sizes = ", ".join(str(len(branch)) for branch in self.branches)
        return f"{self.name}: by {self.index!r}[0] one of the next {sizes}"

    def text(self) -> str:
        """A few readable lines."""
        return _block_text(self)


def _all_read(launch: Loop | While | Branch) -> list[Buffer]:
    return [b for body in launch.bodies() for inner in body for b in inner.reads()]


def _all_written(launch: Loop | While | Branch) -> list[Buffer]:
    return [b for body in launch.bodies() for inner in body for b in inner.writes()]


def _block_text(launch: While | Branch) -> str:
    inner = "\n".join(one.text() for body in launch.bodies() for one in body)
    return f"{launch.head()}\n  " + inner.replace("\n", "\n  ")


Launch = Kernel | Loop | While | Branch


def kernels_of(launches: Sequence[Launch]) -> Iterator[Kernel]:
    """All kernels, those inside loops once."""
    for launch in launches:
        if isinstance(launch, Kernel):
            yield launch
        for body in launch.bodies():
            yield from kernels_of(body)


def in_groups(launches: Sequence[Launch]) -> Iterator[list[Launch]]:
    """Neighbours of one group together, all others alone."""
    for _, members in itertools.groupby(launches, lambda x: id(getattr(x, "group", None) or x)):
        yield list(members)


def text_of(launches: Sequence[Launch]) -> str:
    """The texts of launches, those of a group under a line of their own."""
    parts = []
    for members in in_groups(launches):
        text = "\n".join([member.text() for member in members])
        note = getattr(members[0], "group", None)
        if note is not None and len(members) > 1:
            text = f"{note.head()}\n  " + text.replace("\n", "\n  ")
        parts.append(text)
    return "\n".join(parts)


def count_launches(launches: Sequence[Launch]) -> int:
    """How many times something starts, a group being one and what is inside a loop counted once."""
    inside = sum(count_launches(body) for launch in launches for body in launch.bodies())
    alone = sum(isinstance(members[0], Kernel) for members in in_groups(launches))
    return inside + alone
