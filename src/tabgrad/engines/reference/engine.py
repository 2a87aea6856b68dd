"""The reference as an engine: byte buffers, and Programs run by interpreting their graphs.

It implements the protocol of `tabgrad.engines.engine` and uses no kernel at all: it needs
Programs as the compiler hands them over in memory, which carry the graph of every entry. Programs
read back from a file have no graphs and cannot run here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad.compiler.rows import mask_rows
from tabgrad.engines.engine import Bytes, Handle, MemoryUse, flat_bytes, wrong_count
from tabgrad.engines.reference.interpret import evaluate, numpy
from tabgrad.errors import EngineError, TabgradError
from tabgrad.ir.graph import Node, make


class _Loaded:
    """A Program this engine may run, until it is unloaded."""

    def __init__(self, program: Any) -> None:
        self.program: Any = program
        # Right for any number of true rows, as what other engines run is.
        self.graphs = [mask_rows(graph).graph for graph in program.graphs]


class ReferenceEngine:
    """Runs Programs with NumPy, one node at a time; slow, and right by definition.

    Raises EngineError with the codes of the protocol: "handle", "range", "compile" (a Program
    without graphs), "trap" (an entry that failed), "unloaded".

    Example:
        >>> engine = ReferenceEngine()
        >>> handle = engine.alloc(2)
        >>> engine.write(handle, b"ab")
        >>> engine.read(handle, 1, offset=1)
        b'b'
    """

    kind = "reference"
    features: frozenset[str] = frozenset()

    def __init__(self) -> None:
        numpy()
        self._buffers: dict[Handle, bytearray] = {}
        self._next = 1
        self._live = 0
        self._peak = 0
        self.closed = False

    def alloc(self, nbytes: int, dtype: str = "float32") -> Handle:
        """Make a buffer of `nbytes` bytes and return its handle."""
        self._check_open()
        if nbytes < 0:
            raise EngineError(f"a buffer has 0 or more bytes, received {nbytes}", code="range")
        handle, self._next = self._next, self._next + 1
        self._buffers[handle] = bytearray(nbytes)
        self._live += nbytes
        self._peak = max(self._peak, self._live)
        return handle

    def free(self, handle: Handle) -> None:
        """Give a buffer back."""
        self._live -= len(self._buffer(handle))
        del self._buffers[handle]

    def write(self, handle: Handle, data: Bytes, offset: int = 0) -> None:
        """Copy `data` into a buffer at byte `offset`."""
        raw = flat_bytes(data)
        self._span(handle, offset, len(raw))[:] = raw

    def read(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        """A copy of `nbytes` bytes of a buffer."""
        return bytes(self._span(handle, offset, nbytes))

    async def read_async(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        """Like `read`; there is nothing to wait for."""
        return self.read(handle, nbytes, offset)

    def copy_rows(self, dst: Handle, src: Handle, row_bytes: int, indices: Sequence[int]) -> None:
        """Copy rows `indices` of `src` to rows 0, 1, ... of `dst`."""
        rows = [self.read(src, row_bytes, row_bytes * index) for index in indices]
        self.write(dst, b"".join(rows))

    def load(self, program: Any) -> Any:
        """Keep a Program; it must carry the graphs of its entries."""
        self._check_open()
        graphs = getattr(program, "graphs", None)
        if not graphs or len(graphs) != len(program.entries):
            raise EngineError(
                "the reference engine runs Programs with the graph of every entry; this one has "
                "none, because it was read from a file; compile it again",
                code="compile",
            )
        return _Loaded(program)

    def unload(self, loaded: Any) -> None:
        """Forget a Program."""
        loaded.program = None

    def run(self, loaded: Any, entry: int, args: Sequence[int], rows: int = 0) -> None:
        """Run entry number `entry`: read inputs and state, evaluate, write state and outputs."""
        self._check_open()
        if loaded.program is None:
            raise EngineError("this Program was unloaded; load it again", code="unloaded")
        graph = loaded.graphs[entry]
        np = numpy()
        n_inputs, n_state = len(graph.inputs), len(graph.state)
        expected = n_inputs + n_state + len(graph.outputs)
        if len(args) != expected:
            raise wrong_count(entry, expected, len(args))
        leaves: dict[Node, Any] = {make("rows"): np.asarray(rows, dtype=np.int32)}
        for argument, word in zip(graph.arguments, args, strict=False):
            # The word of a host scalar is its value's bits, not a handle.
            data = (
                (word & 0xFFFFFFFF).to_bytes(4, "little")
                if argument.scalar
                else self.read(word, argument.node.nbytes)
            )
            leaves[argument.node] = self._array(np, argument.node, data)
        for node, handle in zip(graph.state, args[n_inputs:], strict=False):
            leaves[node] = self._array(np, node, self.read(handle, node.nbytes))
        updated = [node for _, node in graph.updates]
        try:
            results = evaluate([*graph.outputs, *updated], leaves)
        except TabgradError:
            raise
        except Exception as error:
            raise EngineError(
                f"the entry {graph.name!r} failed while running: {error}", code="trap"
            ) from error
        targets = [*args[n_inputs + n_state :], *(args[n_inputs + at] for at, _ in graph.updates)]
        for handle, array in zip(targets, results, strict=True):
            self.write(handle, array.tobytes())

    def sync(self) -> None:
        """Return at once: `run` has finished when it returns."""
        self._check_open()

    def memory_use(self) -> MemoryUse:
        """Bytes in live buffers now and at most."""
        return MemoryUse(live=self._live, peak=self._peak, capacity=self._live)

    def close(self) -> None:
        """Drop all buffers."""
        self._buffers.clear()
        self._live = 0
        self.closed = True

    def _array(self, np: Any, node: Node, data: bytes) -> Any:
        return np.frombuffer(data, dtype=node.dtype.name, count=node.size).reshape(node.shape)

    def _check_open(self) -> None:
        if self.closed:
            raise EngineError("this engine was closed; make a new one", code="handle")

    def _buffer(self, handle: Handle) -> bytearray:
        self._check_open()
        try:
            return self._buffers[handle]
        except KeyError:
            raise EngineError(
                f"{handle} is no live buffer: it was freed, or never allocated", code="handle"
            ) from None

    def _span(self, handle: Handle, offset: int, nbytes: int) -> memoryview:
        buffer = self._buffer(handle)
        if offset < 0 or nbytes < 0 or offset + nbytes > len(buffer):
            raise EngineError(
                f"bytes {offset} to {offset + nbytes} are outside the buffer {handle} of "
                f"{len(buffer)} bytes",
                code="range",
            )
        return memoryview(buffer)[offset : offset + nbytes]
