"""The engine protocol: what every engine can do, in Python and in the player.

An engine owns memory and runs Programs. It knows buffers (an integer handle on bytes) and
Programs; it knows nothing of tensors, shapes, dtypes or variables, and it keeps no reference to
them: whoever allocates a buffer frees it. The player's engines (`player/wasm.js`, ...) have the
same methods in camelCase.

Not here: choosing an engine (`realize/`) and the layout of Programs (`compiler/program.py`).
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from tabgrad.errors import EngineError

Handle: TypeAlias = int
"""A buffer of one engine: a positive integer, never 0. On WASM it is the buffer's address."""

Bytes: TypeAlias = bytes | bytearray | memoryview
"""Bytes, or any other contiguous buffer (`array.array`, a NumPy array): only its bytes count."""


@dataclass(frozen=True)
class MemoryUse:
    """Bytes of an engine: held by live buffers now, the most ever held, and the memory's size."""

    live: int
    peak: int
    capacity: int


class EntryLike(Protocol):
    """What an engine needs of a Program's entry: how many slots of each sort, sizes, constants."""

    @property
    def inputs(self) -> Sized: ...
    @property
    def state(self) -> Sequence[tuple[str, bool]]: ...
    @property
    def outputs(self) -> Sized: ...
    @property
    def arena(self) -> int: ...
    @property
    def scratch(self) -> int: ...
    @property
    def derived(self) -> int: ...
    @property
    def constants(self) -> Sequence[Bytes]: ...


class ProgramLike(Protocol):
    """What an engine needs of a Program: its entries, its code and what that code makes use of."""

    @property
    def features(self) -> Sequence[str]: ...
    @property
    def entries(self) -> Sequence[EntryLike]: ...
    @property
    def binary(self) -> bytes: ...


@runtime_checkable
class Engine(Protocol):
    """Memory and Programs. One engine is used by one thread at a time.

    All methods raise `EngineError`, with a `code`: "handle" (a handle that is not live), "range"
    (bytes outside a buffer), "memory" (no memory left), "compile" (code that is refused), "trap"
    (a Program that failed while running; the buffers it writes hold unspecified bytes, all others
    and the engine stay usable), "unloaded" (a Program that was unloaded).
    """

    @property
    def kind(self) -> str:
        """The kind of Program this engine runs: "wasm", "webgpu", "webgl", ..."""
        ...

    closed: bool
    """Whether it was closed, or lost: its buffers hold nothing any more."""

    @property
    def features(self) -> frozenset[str]:
        """What Programs may use here, for instance {"relaxed-simd"}."""
        ...

    def alloc(self, nbytes: int, dtype: str = "float32") -> Handle:
        """Make a buffer of `nbytes` bytes (0 is allowed) and return its handle.

        `dtype` names the elements it is for: on a GPU those of less than 32 bits take a word each.
        Bytes that are written and read are the elements' own on every engine.

        The contents are unspecified. The memory may grow or move, so no view of it may be kept
        across this call. At least 64 spare bytes follow every buffer, because kernels load whole
        vectors past the last element.
        """
        ...

    def free(self, handle: Handle) -> None:
        """Give a buffer back. Raises for a handle that is not live, so also the second time."""
        ...

    def write(self, handle: Handle, data: Bytes, offset: int = 0) -> None:
        """Copy `data` into a buffer at byte `offset`. One copy; `data` may be reused at once."""
        ...

    def read(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        """Return a copy of `nbytes` bytes of a buffer, waiting for running Programs first.

        Raises where waiting is impossible (a GPU in a page without JSPI); `read_async` works
        everywhere.
        """
        ...

    async def read_async(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        """Like `read`, without blocking the thread where the engine can avoid it."""
        ...

    def copy_rows(self, dst: Handle, src: Handle, row_bytes: int, indices: Sequence[int]) -> None:
        """Copy rows `indices` of `src` to rows 0, 1, ... of `dst`.

        `indices` may repeat and may be longer than `src` has rows (a batch padded by a real row).
        A batch is gathered from a resident dataset by one such call.
        """
        ...

    def load(self, program: ProgramLike) -> Any:
        """Compile a Program and upload its constants; returns the engine's own object for `run`.

        Temporary memory (arena and scratch) is shared by all Programs of an engine and grown
        here, so `run` never allocates.
        """
        ...

    def unload(self, loaded: Any) -> None:
        """Forget a loaded Program and free its constants. Running it afterwards raises."""
        ...

    def run(self, loaded: Any, entry: int, args: Sequence[int], rows: int = 0) -> None:
        """Run entry number `entry` of a loaded Program.

        What the entry derives from constants and from state that it only reads (packed weights) is
        kept from run to run, and made anew after any of that state was written.

        Args:
            loaded: what `load` returned.
            entry: position of the entry in the Program.
            args: one 32-bit word per slot for inputs, state and outputs in the Program's order: a
                handle, or for inputs marked "scalar" the raw bits. Constants are filled in here.
            rows: the true number of rows of an entry that has a row count, else 0.

        Returns when the work is queued; `sync` waits for it. Errors of queued work appear at the
        latest when a buffer it wrote is read.
        """
        ...

    def sync(self) -> None:
        """Wait until everything queued has run."""
        ...

    def memory_use(self) -> MemoryUse:
        """Bytes in live buffers, the peak of that, and the size of the memory."""
        ...

    def close(self) -> None:
        """Give all memory back. Later calls raise, but for `free`, which has nothing left to do."""
        ...


def check_features(program: ProgramLike, features: frozenset[str]) -> None:
    """Refuse a Program that uses what an engine does not have. Raises EngineError, "compile"."""
    missing = sorted(set(program.features) - features)
    if missing:
        raise EngineError(
            f"this Program uses {', '.join(missing)}, which this engine does not have; "
            f"compile it for the features {sorted(features)}",
            code="compile",
        )


def argument_counts(program: ProgramLike) -> list[int]:
    """How many arguments `run` takes for each entry."""
    return [len(e.inputs) + len(e.state) + len(e.outputs) for e in program.entries]


def kept_and_written(entry: EntryLike) -> tuple[list[int], list[int]]:
    """Of an entry's arguments, the places of the state it only reads, and of what it writes."""
    first = len(entry.inputs)
    kept = [first + i for i, (_, update) in enumerate(entry.state) if not update]
    written = [first + i for i, (_, update) in enumerate(entry.state) if update]
    outputs = first + len(entry.state)
    return kept, [*written, *range(outputs, outputs + len(entry.outputs))]


def wrong_count(entry: int, expected: int, received: int) -> EngineError:
    """The error of a call with too many or too few arguments."""
    return EngineError(
        f"entry {entry} takes {expected} arguments (inputs, state, outputs), received {received}",
        code="range",
    )


def flat_bytes(data: Bytes) -> memoryview:
    """The bytes of anything with a contiguous buffer, without a copy.

    Raises:
        EngineError: when the buffer is not contiguous in row-major order.
    """
    view = memoryview(data)
    if view.nbytes == 0:  # a view with a zero in its shape cannot be cast
        return memoryview(b"")
    if not view.c_contiguous:
        raise EngineError(
            f"expected bytes in row-major order, received a strided view of shape {view.shape}; "
            "copy it first",
            code="range",
        )
    return view.cast("B")
