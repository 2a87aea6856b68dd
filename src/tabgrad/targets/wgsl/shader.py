"""One compute shader: its bindings, its entry point, and how its elements are read and written.

Elements of less than 32 bits take a whole word: bool and unsigned ones a u32, signed ones an i32,
float16 an f32. A buffer is bound once, whole; of one that a kernel also writes the binding is
read_write. Where four neighbours are read at once the array is one of vec4.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from tabgrad.errors import NotSupportedError
from tabgrad.ir.kernel import Buffer, Loop
from tabgrad.targets.shading.expressions import Storage
from tabgrad.targets.shading.values import LANES, Block, Module, Value
from tabgrad.targets.wgsl.dialect import HELD, TYPES, Wgsl

GROUP = 64  # invocations of a workgroup
MAX_GROUPS = 65535  # in one dimension of a dispatch
MAX_STORAGE = 8  # storage buffers of a stage that every adapter has

# Words of the frame, a uniform: a zero, the true number of rows, then scalar arguments.
ZERO, ROWS, SCALARS = 0, 1, 2


def word_kind(buffer: Buffer) -> str:
    """The kind of the words that hold a buffer's elements."""
    dtype = buffer.dtype
    if dtype.itemsize == 8:
        raise NotSupportedError(
            f"expected dtypes of at most 32 bits on WebGPU; received {dtype.name}. Cast to "
            f"{'float32' if dtype.is_float else 'int32'}, or use tg.set_engine('wasm')"
        )
    return "u" if dtype.kind == "b" else dtype.kind


@dataclass(frozen=True)
class Shader:
    """The text of a shader, what it binds in order, and how many workgroups it takes."""

    code: str
    buffers: tuple[Buffer, ...]
    writes: tuple[bool, ...]  # which of them are read_write
    turns: bool  # whether it binds the turns of the loops around it
    groups: tuple[int, int]


class Bindings(Storage):
    """Storage buffers of a shader, found while it is written."""

    def __init__(
        self,
        written: Collection[Buffer],
        fours: Collection[int],
        scalars: dict[int, int],
        loops: Sequence[Loop],
    ) -> None:
        self.written = {id(b.root) for b in written}
        self.fours = fours  # ids of the roots that are arrays of vec4
        self.scalars = scalars  # by the id of a scalar argument, its word in the frame
        self.loops = loops
        self.roots: dict[int, Buffer] = {}
        self.turns = False

    def name(self, buffer: Buffer) -> str:
        """The variable of a buffer."""
        root = buffer.root
        self.roots.setdefault(id(root), root)
        return f"b{list(self.roots).index(id(root))}"

    def _place(self, block: Block, buffer: Buffer, at: Value) -> Value:
        """A place in a slice as one in the whole."""
        while buffer.parent is not None:
            assert buffer.loop is not None
            turn = Value(block, f"turns.{'xyzw'[self.loops.index(buffer.loop)]}", "i")
            self.turns = True
            at = at + turn * buffer.size
            buffer = buffer.parent
        return at

    def load(self, block: Block, buffer: Buffer, at: Value) -> Value:
        kind = word_kind(buffer)
        if id(buffer) in self.scalars:
            word = Value(block, f"frame_word({self.scalars[id(buffer)]}u)", "u").view(kind)
            return word.differs(0) if buffer.dtype.kind == "b" else word
        at = self._place(block, buffer, at)
        name = self.name(buffer)
        if id(buffer.root) in self.fours:
            place = block.let(at.view("u"))
            text = f"{name}[{place.text} >> 2u][{place.text} & 3u]"
        else:
            text = f"{name}[{at.text}]"
        word = Value(block, text, kind)
        return word.differs(0) if buffer.dtype.kind == "b" else word

    def load_four(self, block: Block, buffer: Buffer, at: Value) -> Value:
        at = self._place(block, buffer, at)
        text = f"{self.name(buffer)}[{at.text} >> 2u]"
        words = Value(block, text, word_kind(buffer), LANES)
        return words.differs(0) if buffer.dtype.kind == "b" else words

    def store(self, block: Block, buffer: Buffer, at: Value, value: Value) -> None:
        at = self._place(block, buffer, at)
        name = self.name(buffer)
        word = _word(value)
        if id(buffer.root) in self.fours:
            place = block.let(at.view("u"))
            block.line(f"{name}[{place.text} >> 2u][{place.text} & 3u] = {word.text};")
        else:
            block.line(f"{name}[{at.text}] = {word.text};")

    def store_four(self, block: Block, buffer: Buffer, at: Value, value: Value) -> None:
        at = self._place(block, buffer, at)
        block.line(f"{self.name(buffer)}[{at.text} >> 2u] = {_word(value).text};")

    def rows(self, block: Block) -> Value:
        return Value(block, f"frame_word({ROWS}u)", "u").view("i")

    def word(self, kind: str) -> str:
        """The type of a word."""
        return TYPES[kind]

    def declarations(self, words: int) -> list[str]:
        """The lines that declare everything bound, for a frame of so many words."""
        lines = [
            f"@group(0) @binding(0) var<uniform> frame: array<vec4<u32>, {-(-words // 4)}>;",
            "fn frame_word(i: u32) -> u32 { return frame[i >> 2u][i & 3u]; }",
            "fn zero() -> u32 { return frame[0].x; }",
        ]
        if self.turns:
            lines.append("@group(0) @binding(1) var<uniform> turns: vec4<i32>;")
        for i, root in enumerate(self.roots.values()):
            access = "read_write" if id(root) in self.written else "read"
            word, count = TYPES[word_kind(root)], root.size
            if id(root) in self.fours:
                word, count = f"vec4<{word}>", -(-count // LANES)
            lines.append(
                f"@group(0) @binding({i + 2}) var<storage, {access}> b{i}: "
                f"array<{word}, {max(count, 1)}>;"
            )
        return lines


def _word(value: Value) -> Value:
    if value.kind != "b":
        return value
    one, none = (value.block.const(n, "u") for n in (1, 0))
    return value.select(one, none)


def write(
    bindings: Bindings,
    threads: int,
    body: Callable[[Block, Value], None],
    words: int,
) -> Shader:
    """A shader of which each of some threads runs a body, given its number."""
    block = Block(Module(Wgsl()))
    groups = _folded(max(-(-threads // GROUP), 1))
    across, folded = groups
    number = "id.x" if folded == 1 else f"(id.x + id.y * {across * GROUP}u)"
    thread = block.let(Value(block, f"i32({number})", "i"))
    if across * folded * GROUP != threads:
        block.line(f"if ({thread.text} >= {threads}) {{ return; }}")
    body(block, thread)
    return _shader(
        bindings, block, "@builtin(global_invocation_id) id: vec3<u32>", [], words, groups
    )


def write_groups(
    bindings: Bindings,
    count: int,
    shared: Sequence[str],
    body: Callable[[Block, Value, Value], None],
    words: int,
) -> Shader:
    """A shader of which each of some workgroups runs a body, given a thread's number in its group
    and the group's. `shared` declares what the threads of a group share."""
    block = Block(Module(Wgsl()))
    groups = _folded(max(count, 1))
    across, folded = groups
    number = "group.x" if folded == 1 else f"(group.x + group.y * {across}u)"
    local = block.let(Value(block, "i32(thread)", "i"))
    group = block.let(Value(block, f"i32({number})", "i"))
    if across * folded != count:
        block.line(f"if ({group.text} >= {count}) {{ return; }}")
    body(block, local, group)
    builtins = (
        "@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>"
    )
    return _shader(bindings, block, builtins, shared, words, groups)


def _folded(groups: int) -> tuple[int, int]:
    """Workgroups in two dimensions."""
    folded = -(-groups // MAX_GROUPS)
    if folded > MAX_GROUPS:
        raise NotSupportedError(
            f"expected a kernel of at most {MAX_GROUPS**2:,} workgroups on WebGPU; received "
            f"{groups:,}. Compute in parts, or use tg.set_engine('wasm')"
        )
    return -(-groups // folded), folded


def _shader(
    bindings: Bindings,
    block: Block,
    builtins: str,
    shared: Sequence[str],
    words: int,
    groups: tuple[int, int],
) -> Shader:
    head = f"@compute @workgroup_size({GROUP})\nfn main({builtins}) {{"
    text = "\n".join([head, *block.lines, "}"])
    helpers = list(block.module.functions.values())
    if any("held_" in part for part in (*helpers, text)):
        helpers.insert(0, HELD)
    code = "\n".join([*bindings.declarations(words), *shared, *helpers, text, ""])
    roots = tuple(bindings.roots.values())
    if len(roots) > MAX_STORAGE:
        raise NotSupportedError(
            f"internal: a kernel binds {len(roots)} buffers, WebGPU has room for {MAX_STORAGE}"
        )
    written = tuple([id(root) in bindings.written for root in roots])
    return Shader(code, roots, written, bindings.turns, groups)
