"""One compute shader: its bindings, its entry point, and how its elements are read and written.

A buffer is bound once, whole; of one that a kernel also writes the binding is read_write. Where
four neighbours are read at once the array is one of vec4.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from tabgrad.dtypes import DType, float16
from tabgrad.errors import NotSupportedError
from tabgrad.ir.kernel import Buffer, Loop
from tabgrad.targets.shading import bindings
from tabgrad.targets.shading.bindings import element
from tabgrad.targets.shading.values import LANES, Block, Module, Value
from tabgrad.targets.wgsl.dialect import HELD, TYPES, Wgsl

GROUP = 64  # invocations of a workgroup
LANE = "lane"  # a thread's number in its subgroup
ENABLE_SUBGROUPS = "enable subgroups;"
MAX_GROUPS = 65535  # in one dimension of a dispatch
MAX_STORAGE = 8  # storage buffers of a stage that every adapter has


@dataclass(frozen=True)
class Shader:
    """The text of a shader, what it binds in order, and how many workgroups it takes."""

    code: str
    buffers: tuple[Buffer, ...]
    writes: tuple[bool, ...]  # which of them are read_write
    turns: bool  # whether it binds the turns of the loops around it
    groups: tuple[int, int]


class Bindings(bindings.Bindings):
    """Storage buffers of a shader."""

    def __init__(
        self,
        written: Collection[Buffer],
        fours: Collection[int],
        scalars: dict[int, int],
        loops: Sequence[Loop],
        half: bool = False,
    ) -> None:
        super().__init__(scalars, loops)
        self.written = {id(b.root) for b in written}
        self.fours = fours  # ids of the roots that are arrays of vec4
        self.half = half  # whether float16 is stored as f16

    def kind(self, dtype: DType) -> str:
        """The kind of the words that hold elements of a dtype."""
        if dtype is float16 and self.half:
            return "h"
        return "u" if dtype.kind == "b" else dtype.kind

    def word(self, block: Block, buffer: Buffer, at: Value) -> Value:
        return Value(block, self._one(block, buffer, at), self.kind(buffer.dtype))

    def _one(self, block: Block, buffer: Buffer, at: Value) -> str:
        """The variable of one element, by its place in the whole."""
        name = self.name(buffer)
        if id(buffer.root) not in self.fours:
            return f"{name}[{at.text}]"
        place = block.let(at.view("u"))
        return f"{name}[{place.text} >> 2u][{place.text} & 3u]"

    def _four(self, block: Block, buffer: Buffer, at: Value) -> str:
        return f"{self.name(buffer)}[{self.place(block, buffer, at).text} >> 2u]"

    def load_four(self, block: Block, buffer: Buffer, at: Value) -> Value:
        text = self._four(block, buffer, at)
        return element(buffer, Value(block, text, self.kind(buffer.dtype), LANES))

    def store(self, block: Block, buffer: Buffer, at: Value, value: Value) -> None:
        target = self._one(block, buffer, self.place(block, buffer, at))
        block.line(f"{target} = {_word(value).text};")

    def store_four(self, block: Block, buffer: Buffer, at: Value, value: Value) -> None:
        block.line(f"{self._four(block, buffer, at)} = {_word(value).text};")

    def frame_word(self, block: Block, number: int) -> Value:
        return Value(block, f"frame_word({number}u)", "u")

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
            word, count = TYPES[self.kind(root.dtype)], root.size
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
    block = Block(Module(Wgsl(bindings.half)))
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
    subgroups: bool = False,
) -> Shader:
    """A shader of which each of some workgroups runs a body, given a thread's number in its group
    and the group's. `shared` declares what the threads of a group share; with `subgroups` the body
    may name LANE."""
    block = Block(Module(Wgsl(bindings.half)))
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
    if subgroups:
        builtins += f", @builtin(subgroup_invocation_id) {LANE}: u32"
    return _shader(bindings, block, builtins, shared, words, groups, subgroups)


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
    subgroups: bool = False,
) -> Shader:
    head = f"@compute @workgroup_size({GROUP})\nfn main({builtins}) {{"
    text = "\n".join([head, *block.lines, "}"])
    helpers = list(block.module.functions.values())
    if any("held_" in part for part in (*helpers, text)):
        helpers.insert(0, HELD)
    extensions = [*(["enable f16;"] * bindings.half), *([ENABLE_SUBGROUPS] * subgroups)]
    code = "\n".join([*extensions, *bindings.declarations(words), *shared, *helpers, text, ""])
    roots = tuple(bindings.roots.values())
    if len(roots) > MAX_STORAGE:
        raise NotSupportedError(
            f"internal: a kernel binds {len(roots)} buffers, WebGPU has room for {MAX_STORAGE}"
        )
    written = tuple([id(root) in bindings.written for root in roots])
    return Shader(code, roots, written, bindings.turns, groups)
