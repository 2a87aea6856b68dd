"""The one seam between graphs and machines: values of nodes, engines, compiled Programs.

`realize` computes pending nodes on the current engine; `upload` and `read` move bytes. Everything
above (tensors, variables, compiled functions) goes through this file; nothing below it knows nodes
have values. Compilation itself is `compiler/driver.py`, running is the engine's.
"""

from __future__ import annotations

import struct
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet, WeakValueDictionary

from tabgrad import machines
from tabgrad.compiler import driver
from tabgrad.compiler.program import Program as Program
from tabgrad.dtypes import DType
from tabgrad.engines import auto, faults
from tabgrad.engines.auto import Choice as Choice
from tabgrad.engines.engine import MemoryUse
from tabgrad.errors import (
    CaptureError,
    EngineError,
    EngineWarning,
)
from tabgrad.ir.entry import Argument, EntryGraph, Result
from tabgrad.ir.graph import (
    Capture,
    InCapture,
    Node,
    captured,
    captures,
    fresh_id,
    make,
    make_value,
    remake,
    structure,
    toposort,
)
from tabgrad.machines import target_of as target_of

# A loop that never reads its result must not grow for ever (DESIGN section 4).
MAX_PENDING_DEPTH = 2_000
MAX_PENDING_BYTES = 256 << 20
MAX_CACHED_PROGRAMS = 2_000

# What to do where a value is read that does not exist.
READ_OUTSIDE = "Return it and read it where the function is called"


class Buffer:
    """Bytes in an engine's memory, given back when the last reference goes.

    `host` has the same bytes once they are known here, on engines that may be lost or that cannot
    be read without waiting. Whoever writes to the buffer sets it to None.
    """

    __slots__ = ("__weakref__", "dtype", "engine", "handle", "host", "nbytes")

    def __init__(self, engine: Any, nbytes: int, dtype: str) -> None:
        self.engine, self.nbytes, self.dtype = engine, nbytes, dtype
        self.host: bytes | None = None
        self.handle = engine.alloc(nbytes, dtype)

    # At the very end Python takes the names of modules away, but not what is bound here.
    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        handle = getattr(self, "handle", None)
        if handle is not None and not finalizing():
            self.engine.free(handle)

    def copy(self, engine: Any) -> Buffer:
        """The same bytes in a new buffer, possibly of another engine."""
        twin = Buffer(engine, self.nbytes, self.dtype)
        if engine is self.engine and self.nbytes:
            engine.copy_rows(twin.handle, self.handle, self.nbytes, (0,))
        else:
            twin.fill(self.read())
        return twin

    def fill(self, raw: bytes) -> None:
        """Copy bytes to it, for as long as they stay."""
        self.engine.write(self.handle, raw)
        self.host = raw if faults.successors(self.engine.kind) else None

    def read(self) -> bytes:
        """A copy of its bytes."""
        if self.host is not None:
            return self.host
        return bytes(self.engine.read(self.handle, self.nbytes))


class Scalar:
    """A 0-d value kept on the host: the 32 bits that go into a Program's frame."""

    __slots__ = ("bits",)
    nbytes = 4

    def __init__(self, raw: bytes) -> None:
        self.bits = struct.unpack("<I", raw)[0]

    @property
    def raw(self) -> bytes:
        """The value as four bytes."""
        return struct.pack("<I", self.bits)


class _Session:
    """The current engine and the Programs compiled for it."""

    def __init__(self) -> None:
        self.engine: Any = None
        self.automatic: Any = None  # the engine "auto" has begun with
        self.others: WeakValueDictionary[str, Any] = WeakValueDictionary()  # it has gone on to
        self.programs: OrderedDict[Any, tuple[Any, Any]] = OrderedDict()
        self.grad_depth = 0
        self.rules_inside = 0
        self.captures = 0
        self.kept: WeakSet[Node] = WeakSet()
        self.engines: WeakSet[Any] = WeakSet()


_session = _Session()


def set_engine(name: str = "auto", *, deterministic: bool = False) -> None:
    """Choose what computes: "auto" and "wasm" (WebAssembly: wasmtime on the laptop, the player in a
    page), "webgpu" (the GPU: wgpu on the laptop, in a page the browser's, whose values are awaited
    by `await t.data()`), "webgl" (the GPU of a browser without WebGPU) or "reference" (NumPy, slow,
    the definition all engines are compared with).

    "auto" begins with WebAssembly. Models whose steps take more than 100 million operations go on
    with another engine of this machine, between epochs or calls, where that was timed to be faster.

    Args:
        name: the engine.
        deterministic: use no instruction whose result may differ between machines, so that the same
            program gives the same bits everywhere.

    Raises:
        ArgumentError: an unknown name, with the list of known ones; `deterministic` on a GPU.
        NotSupportedError: "webgl" outside of a browser.

    Example:
        >>> import tabgrad as tg
        >>> tg.set_engine("wasm", deterministic=True)
        >>> tg.set_engine("auto")
    """
    _become(make_engine(name, deterministic))
    _session.automatic = _session.engine if name == "auto" and not deterministic else None


def automatic() -> bool:
    """Whether a faster engine than the current one may be taken: nobody has asked for this one."""
    return _session.engine is None or _session.engine is _session.automatic


def _become(chosen: Any) -> None:
    _session.engine = chosen
    # Nobody comes back to an engine that was current before, so its Programs need not stay.
    for key in [key for key in _session.programs if key[0] is not _session.engine]:
        _, loaded = _session.programs.pop(key)
        key[0].unload(loaded)


def take_over(error: EngineError) -> None:
    """Make the next engine current after a fault of this one, and warn.

    Values that are on the old one move when they are needed: by their copies on the host, from
    memory that can still be read, or computed again.

    Raises:
        EngineError: `error`, where it is none that another engine helps with, or none is left.
    """
    failed = engine()
    if not faults.is_fault(failed, error):
        raise error
    for name in faults.successors(failed.kind):
        try:
            made = make_engine(name, False)
        except EngineError:  # nor has that one what it needs
            continue
        if error.code == "lost":
            failed.close()
        _become(made)
        warnings.warn(EngineWarning(faults.explained(failed, made, error)), stacklevel=3)
        return
    raise error


def may_fail() -> bool:
    """Whether another engine would go on should the current one fail: then copies are kept."""
    return bool(faults.successors(engine().kind))


def memory() -> dict[str, MemoryUse]:
    """Bytes of each kind of engine: in live buffers now, at most so far, and of the memory itself.

    Buffers are given back when the last tensor, Variable or compiled function that needs them goes;
    tensors made before `set_engine` stay with the engine they were made on until they are used.

    Returns:
        a dict from the engine's kind ("wasm", "reference") to `live`, `peak` and `capacity`.

    Example:
        >>> import tabgrad as tg
        >>> before = tg.memory().get("wasm")
        >>> x = tg.ones((1000,)).realize()
        >>> tg.memory()["wasm"].live >= 4000
        True
    """
    found: dict[str, MemoryUse] = {}
    for one in list(_session.engines):
        use, more = found.get(one.kind, MemoryUse(0, 0, 0)), one.memory_use()
        found[one.kind] = MemoryUse(
            use.live + more.live, use.peak + more.peak, use.capacity + more.capacity
        )
    return found


def make_engine(name: str, deterministic: bool) -> Any:
    """A new engine of a kind, with what switches put around it; `set_engine` makes one current."""
    bare, made = machines.make(name, deterministic)
    _session.engines.add(bare)
    return made


def engine() -> Any:
    """The current engine, made on first use."""
    if _session.engine is None:
        _session.engine = _session.automatic = make_engine("auto", False)
    return _session.engine


@contextmanager
def using(chosen: Any) -> Iterator[None]:
    """Make `chosen` the current engine inside."""
    before, _session.engine = _session.engine, chosen
    try:
        yield
    finally:
        _session.engine = before


# Values


def value_node(buffer: Any, shape: Sequence[int], dtype: DType) -> Node:
    """A leaf holding a buffer."""
    node = make_value(tuple(shape), dtype)
    node.buffer = buffer
    return node


def upload(raw: bytes, shape: Sequence[int], dtype: DType) -> Node:
    """A leaf with these row-major bytes; single numbers stay on the host until they are used."""
    if not shape and dtype.itemsize == 4:
        return value_node(Scalar(raw), shape, dtype)
    while True:
        try:
            buffer = Buffer(engine(), len(raw), dtype.name)
            buffer.fill(raw)
            return value_node(buffer, shape, dtype)
        except EngineError as error:
            take_over(error)


def handle_of(node: Node) -> Buffer:
    """The buffer of a realised node on the current engine, moved there when it is elsewhere."""
    current = engine()
    buffer = node.buffer
    if isinstance(buffer, Scalar):
        moved = Buffer(current, 4, node.dtype.name)
        current.write(moved.handle, buffer.raw)
        return moved
    if buffer.engine is not current:
        if _is_gone(buffer):
            return _again(node)
        node.buffer = buffer = buffer.copy(current)
    return buffer  # type: ignore[no-any-return]


def _is_gone(buffer: Buffer) -> bool:
    """Whether its engine has taken the value along when it was closed or lost."""
    return buffer.host is None and bool(buffer.engine.closed)


def _again(node: Node) -> Buffer:
    """The value of a node that is gone, computed anew: what is made of constants alone keeps its
    sources, and equal nodes are one, however old."""
    if node.prim.name == "value":
        raise gone(node.buffer, f"a tensor ({_show(node)})")
    node.buffer = None
    realize([node])
    made: Buffer = node.buffer
    return made


def gone(buffer: Buffer, what: str) -> EngineError:
    """The error of a value that was nowhere but on an engine that was closed or lost."""
    return EngineError(
        f"expected a value that is still there; received {what} that was only on the engine "
        f"{buffer.engine.kind!r}, which was closed or lost. Compute it again from what is on the "
        "host, load saved weights, or keep it there by t.numpy()",
        code="gone",
    )


def read(node: Node, instead: str = READ_OUTSIDE) -> bytes:
    """The bytes of a node, computing it first if needed."""
    if node.buffer is None:
        realize([node], instead)
    buffer = node.buffer
    if isinstance(buffer, Scalar):
        return buffer.raw
    if _is_gone(buffer):
        buffer = _again(node)
    try:
        return bytes(buffer.read())
    except EngineError as error:
        if buffer.engine is not engine():
            raise
        take_over(error)
        return handle_of(node).read()


async def read_async(node: Node) -> bytes:
    """`read` that waits without blocking where the engine can."""
    if node.buffer is None:
        realize([node])
    buffer = node.buffer
    if isinstance(buffer, Scalar):
        return buffer.raw
    if _is_gone(buffer):
        buffer = _again(node)
    if buffer.host is not None:
        return buffer.host  # type: ignore[no-any-return]
    return bytes(await buffer.engine.read_async(buffer.handle, node.nbytes))


async def fetch(nodes: Sequence[Node]) -> None:
    """Bring the values of nodes to the host, so that nobody waits for them and none gets lost."""
    realize([node for node in nodes if node.buffer is None])
    for node in nodes:
        buffer = node.buffer
        if isinstance(buffer, Buffer) and faults.successors(buffer.engine.kind):
            buffer.host = await read_async(node)


def host_bytes(node: Node) -> bytes | None:
    """The bytes of a node where they are on the host already, on engines that may be lost."""
    return node.buffer.host if isinstance(node.buffer, Buffer) else None


def fetch_now(nodes: Sequence[Node]) -> None:
    """`fetch` where nothing else can run meanwhile."""
    realize([node for node in nodes if node.buffer is None])
    for node in nodes:
        buffer = node.buffer
        if isinstance(buffer, Buffer) and faults.successors(buffer.engine.kind):
            if _is_gone(buffer):
                buffer = _again(node)
            buffer.host = buffer.read()


def _has_value(node: Node) -> bool:
    return node.buffer is not None


def is_abstract(node: Node) -> bool:
    """True when the node depends on an input of a function being captured."""
    if node.buffer is not None:
        return False
    return any(n.prim.name == "input" for n in toposort([node], _has_value) if n.buffer is None)


# Pending graphs


def watch(node: Node) -> None:
    """Called for every new tensor: computes a pending graph that has grown too long or heavy."""
    if node.depth < MAX_PENDING_DEPTH and node.held < MAX_PENDING_BYTES:
        return
    if _session.captures or _session.grad_depth or node.buffer is not None:
        return
    if is_abstract(node):
        return
    if node.depth < MAX_PENDING_DEPTH:
        # `held` counts shared sources once for each path to them; look at what is really held.
        below = toposort([node], _has_value)
        total = sum(n.nbytes for n in below if n.buffer is not None)
        if total < MAX_PENDING_BYTES:
            # No node below holds more. Were only this one corrected, the next that adds two of
            # them would be looked at again, and a loop over two values would take for ever.
            for n in below:
                n.held = min(n.held, total)
            return
    realize([node])


@contextmanager
def gradient_scope() -> Iterator[None]:
    """Inside, nodes that are realised keep their sources, for the gradient to walk along."""
    _session.grad_depth += 1
    try:
        yield
    finally:
        _session.grad_depth -= 1
        if not _session.grad_depth:
            for node in list(_session.kept):
                _forget_sources(node)
            _session.kept.clear()


@contextmanager
def capture_scope(by: str = "", name: str = "") -> Iterator[None]:
    """Inside, a function is being captured: nothing is realised by itself. Where Python of a user
    runs, errors say who captures it and how it is called."""
    _session.captures += 1
    try:
        with captured(by, name) if by else nullcontext():
            yield
    finally:
        _session.captures -= 1


def capturing() -> bool:
    """True while a function is being captured."""
    return _session.captures > 0


def differentiating() -> bool:
    """True while a gradient follows what is computed."""
    return _session.grad_depth > 0


@contextmanager
def rule_scope() -> Iterator[None]:
    """Inside, a gradient's rule is written down: one of the gradients around has what it needs.

    Without this count the rule of sinh would write that of cosh, and that the one of sinh, for
    ever: rules may use functions that have rules, their own among them.
    """
    _session.rules_inside += 1
    try:
        yield
    finally:
        _session.rules_inside -= 1


def wants_rules() -> bool:
    """True while a gradient follows that is not served yet by the rules being written down."""
    return _session.rules_inside < _session.grad_depth


def realize(nodes: Sequence[Node], instead: str = READ_OUTSIDE) -> None:
    """Compute these nodes in one Program; afterwards each holds its buffer.

    Raises:
        CaptureError: nodes that depend on inputs of a function being captured, or captured before;
            `instead` is what it tells the user to do.
    """
    alone = len(nodes) == 1 and nodes[0].buffer is None
    pending = nodes if alone else [n for n in nodes if n.buffer is None]
    if not pending:
        return
    if len(pending) > 1:
        pending = list({id(n): n for n in pending}.values())
    while True:
        try:
            _compute(pending, instead)
            return
        except EngineError as error:
            take_over(error)


def _compute(pending: Sequence[Node], instead: str) -> None:
    current = engine()
    key, leaves = structure(pending, _has_value)
    scalars: list[bool] = []
    keep_alive: list[Buffer] = []
    args: list[int] = []
    for leaf in leaves:
        buffer = leaf.buffer
        if buffer is None:
            raise CaptureError(missing_value(pending, instead))
        scalar = type(buffer) is Scalar
        scalars.append(scalar)
        if scalar:
            args.append(buffer.bits)
            continue
        if buffer.engine is not current:
            buffer = handle_of(leaf)
        keep_alive.append(buffer)
        args.append(buffer.handle)
    _, loaded = _compiled((current, key, tuple(scalars)), pending, leaves, scalars)
    results = [Buffer(current, node.nbytes, node.dtype.name) for node in pending]
    args += [buffer.handle for buffer in results]
    current.run(loaded, 0, args, 0)
    for node, buffer in zip(pending, results, strict=True):
        node.buffer = buffer
        if _session.grad_depth:
            _session.kept.add(node)
        else:
            _forget_sources(node)


def missing_value(nodes: Sequence[Node], instead: str) -> str:
    """What to say where a value is needed of nodes of which one has none."""
    abstract = _needing_inputs(nodes)
    strays = [n for n in abstract if n.prim.name == "input" and _capture_left(n) is not None]
    if strays:
        return foreign_value(nodes, strays[-1])
    if not captures:  # an argument of a loop's or branch's function, or what was made of it
        return _escaped([node for node in abstract if _capture_left(node)] or list(abstract))
    one, now = next(node for node in nodes if node in abstract), captures[-1]
    return (
        f"expected a tensor with a value; received {_show(one)} while {now.by} is capturing "
        f"{now.name}, when no value exists yet. {instead}"
    )


def foreign_value(nodes: Sequence[Node], leaf: Node) -> str:
    """What to say where nodes of a capture need an input of another."""
    needing, capture = list(_needing_inputs(nodes, leaf)), _capture_left(leaf)
    same = [node for node in needing if capture and _capture_left(node) is capture]
    return _escaped(same or [node for node in needing if _capture_left(node)] or needing)


def _escaped(nodes: Sequence[Node]) -> str:
    # The last one is the tensor that got out, or what its capture made of it.
    node, where = nodes[-1], "by a function captured before"
    if isinstance(node.origin, InCapture):
        made = node.origin
        where = f"at {made.at} while {made.capture.by} was capturing {made.capture.name}"
    return (
        f"expected a tensor with a value; received {_show(node)} made {where}, where it never had "
        "one. Return it from there, or keep it in a tg.Variable and assign to that"
    )


def _needing_inputs(nodes: Sequence[Node], only: Node | None = None) -> dict[Node, None]:
    """The nodes under `nodes` that need an input (`only` this one), sources first."""
    found: dict[Node, None] = {}
    for node in toposort(nodes, _has_value):
        leaf = node.prim.name == "input" if only is None else node is only
        if node.buffer is None and (leaf or any(src in found for src in node.srcs)):
            found[node] = None
    return found


def _capture_left(node: Node) -> Capture | None:
    """The capture in which a node was made, if it is over."""
    made = node.origin
    return made.capture if isinstance(made, InCapture) and made.capture not in captures else None


def _show(node: Node) -> str:
    return f"{node.dtype.name} {list(node.shape)}"


def _forget_sources(node: Node) -> None:
    # A node made of constants alone keeps nothing alive, and the graphs of cached Programs may
    # share it (equal nodes are one object), so it stays what it is; unless it ends a long chain,
    # which would otherwise only grow.
    if node.held or node.depth >= MAX_PENDING_DEPTH:
        node.become_leaf()


def _compiled(
    key: Any, pending: Sequence[Node], leaves: Sequence[Node], scalars: Sequence[bool]
) -> tuple[Program, Any]:
    found = _session.programs.get(key)
    if found is not None:
        _session.programs.move_to_end(key)
        return found
    inputs = {
        id(leaf): make("input", index=fresh_id(), shape=leaf.shape, dtype=leaf.dtype)
        for leaf in leaves
    }
    new: dict[int, Node] = dict(inputs)
    for node in toposort(pending, _has_value):
        if id(node) not in new:
            new[id(node)] = remake(node, [new[id(src)] for src in node.srcs])
    graph = EntryGraph(
        name="eager",
        arguments=[
            Argument(inputs[id(leaf)], f"x{i}", scalar=scalar)
            for i, (leaf, scalar) in enumerate(zip(leaves, scalars, strict=True))
        ],
        states=[],
        results=[Result(new[id(node)], f"y{i}") for i, node in enumerate(pending)],
    )
    program, loaded = load([graph])
    # What is made of constants alone is one node here and in the graph, with its buffer: a Program
    # that kept the graph would keep the buffer. The engine has taken what it needs.
    compiled = _session.programs[key] = replace(program, graphs=[]), loaded
    if len(_session.programs) > MAX_CACHED_PROGRAMS:
        (old_engine, *_), (_, old) = _session.programs.popitem(last=False)
        old_engine.unload(old)
    return compiled


def load(graphs: Sequence[EntryGraph]) -> tuple[Program, Any]:
    """Compile entries for the current engine and load them; used by eager code and `tg.compile`."""
    return load_on(engine(), graphs)


def load_on(chosen: Any, graphs: Sequence[EntryGraph]) -> tuple[Program, Any]:
    """Compile entries for an engine and load them there."""
    program = driver.compile(graphs, target_of(chosen))
    return program, chosen.load(program)


def faster(
    name: str,
    program: Program,
    loaded: Any,
    graphs: Sequence[EntryGraph],
    arguments: Sequence[Buffer | Node | int],
) -> Coroutine[Any, Any, Choice | None]:
    """Looks for another engine that runs the first entry of a Program faster, on copies of what its
    arguments are now; see `engines/auto.py`."""
    slots = []
    for given in arguments:
        if isinstance(given, int):
            slots.append(auto.Slot("uint32", 4, word=given))
        elif isinstance(given, Node):
            slots.append(auto.Slot(given.dtype.name, given.nbytes, read(given)))
        else:
            slots.append(auto.Slot(given.dtype, given.nbytes, given.read()))
    return _faster(name, engine(), program, loaded, graphs, slots)


async def _faster(
    name: str,
    current: Any,
    program: Program,
    loaded: Any,
    graphs: Sequence[EntryGraph],
    slots: Sequence[auto.Slot],
) -> Choice | None:
    opened: dict[str, Any] = {}

    def open_engine(kind: str) -> Any:
        known = _session.others.get(kind)
        if known is None or known.closed:
            known = opened[kind] = make_engine(kind, False)
        return known

    def load(chosen: Any) -> tuple[Program, Any]:
        return load_on(chosen, graphs)

    found = None
    try:
        found = await auto.faster(name, current, program, loaded, slots, open_engine, load)
    except EngineError:  # no memory for copies, say: everything stays as it is
        pass
    finally:
        for kind, one in opened.items():
            if found is not None and found.engine is one:
                _session.others[kind] = one
            else:
                one.close()
    return found


def worth_timing(program: Program) -> bool:
    """Whether a Program has so much work that other engines may gain by it."""
    return program.entries[0].flops >= auto.WORTH


def failed_choice(choice: Choice) -> None:
    """The engine that was chosen could not go on: it is not to be chosen again."""
    auto.forget(choice.key)


def unload(loaded: Any, from_engine: Any) -> None:
    """Let go of a Program that nobody will run again."""
    from_engine.unload(loaded)


def compile_ahead(
    graphs: Sequence[EntryGraph], features: Sequence[str], kind: str = "wasm"
) -> Program:
    """Compile entries for a page's engine of a kind with these features; used by exports."""
    return driver.compile(graphs, target_of(SimpleNamespace(kind=kind, features=features)))
