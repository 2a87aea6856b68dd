"""WebAssembly's binary format: numbers, sections and modules of functions over one imported memory.

It knows bytes only. Typed expressions and control flow are in `builder`; nothing here checks that
the instructions of a body are valid. The same functions always encode to the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

I32, I64, F32, F64, V128 = 0x7F, 0x7E, 0x7D, 0x7C, 0x7B

MAX_PAGES = 65536


def uleb(number: int) -> bytes:
    """Unsigned LEB128."""
    if number < 128:
        return bytes((number,))
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def sleb(number: int) -> bytes:
    """Signed LEB128."""
    out = bytearray()
    while not -64 <= number < 64:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number & 127)
    return bytes(out)


def vector(items: Sequence[bytes]) -> bytes:
    """A count followed by the encoded items."""
    return uleb(len(items)) + b"".join(items)


def name(text: str) -> bytes:
    """A length-prefixed UTF-8 name."""
    data = text.encode()
    return uleb(len(data)) + data


def section(kind: int, body: bytes) -> bytes:
    """One section of a module; an empty body gives no section."""
    return bytes((kind,)) + uleb(len(body)) + body if body else b""


class FunctionCode:
    """One function of a module: its signature, the types of its locals, its instructions."""

    def __init__(
        self,
        name: str,
        params: Iterable[int] = (),
        results: Iterable[int] = (),
        *,
        export: bool = False,
    ) -> None:
        self.name = name
        self.export = export
        self.index = -1
        self.param_types = tuple(params)
        self.result_types = tuple(results)
        self.local_types: list[int] = []
        self.code = bytearray()

    def signature(self) -> bytes:
        """The function type as the type section stores it."""
        params = vector([bytes((t,)) for t in self.param_types])
        results = vector([bytes((t,)) for t in self.result_types])
        return b"\x60" + params + results

    def body(self) -> bytes:
        """Locals, instructions and the final `end`, as the code section stores them."""
        runs = [(len(list(run)), kind) for kind, run in groupby(self.local_types)]
        declared = vector([uleb(count) + bytes((kind,)) for count, kind in runs])
        code = declared + bytes(self.code) + b"\x0b"
        return uleb(len(code)) + code


class Module:
    """Functions over the memory imported as "tabgrad" "memory"."""

    def __init__(
        self, *, shared: bool = False, min_pages: int = 1, max_pages: int = MAX_PAGES
    ) -> None:
        if not 0 <= min_pages <= max_pages <= MAX_PAGES:
            raise ValueError(
                f"memory limits must satisfy 0 <= min <= max <= {MAX_PAGES} pages, "
                f"got min {min_pages}, max {max_pages}"
            )
        self.shared = shared
        self.min_pages = min_pages
        self.max_pages = max_pages
        self.functions: list[FunctionCode] = []

    def add(self, function: FunctionCode) -> None:
        """Give `function` its index; its body may still be empty and be filled later."""
        if function.index >= 0:
            raise ValueError(f"function {function.name!r} already belongs to a module")
        if function.export and any(f.export and f.name == function.name for f in self.functions):
            raise ValueError(f"two exported functions are called {function.name!r}")
        function.index = len(self.functions)
        self.functions.append(function)

    def encode(self, *, names: bool = False) -> bytes:
        """The module's bytes; `names` adds the name section that debuggers and profilers read."""
        types: dict[bytes, int] = {}
        used = [types.setdefault(f.signature(), len(types)) for f in self.functions]
        limits = b"\x03" if self.shared else b"\x01"
        memory = b"\x02" + limits + uleb(self.min_pages) + uleb(self.max_pages)
        exports = [name(f.name) + b"\x00" + uleb(f.index) for f in self.functions if f.export]
        bodies = [f.body() for f in self.functions]
        return (
            b"\0asm\1\0\0\0"
            + section(1, vector(list(types)))
            + section(2, b"\x01" + name("tabgrad") + name("memory") + memory)
            + section(3, vector([uleb(i) for i in used]))
            + section(7, vector(exports))
            + section(10, vector(bodies))
            + (section(0, name("name") + self._function_names()) if names else b"")
        )

    def _function_names(self) -> bytes:
        entries = [uleb(f.index) + name(f.name) for f in self.functions]
        return section(1, vector(entries))
