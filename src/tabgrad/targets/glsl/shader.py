"""One fragment shader: its textures, its entry point, and how elements are read.

A buffer is a texture of four 32-bit words a texel, WIDTH texels wide: element i is word i % 4 of
texel i / 4. All textures are RGBA32UI, whatever they hold, and floats are the words' bits: words
keep NaN and subnormal numbers as they are, every WebGL2 can render to them without an extension,
and a texture given back serves any dtype. On a software adapter products and sums run as fast as
on float textures. 2048 is the width every WebGL2 has; how high a texture may be is asked when one
is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tabgrad.errors import NotSupportedError
from tabgrad.ir.kernel import Buffer, Loop
from tabgrad.targets.glsl.dialect import Glsl, helpers_of
from tabgrad.targets.shading.bindings import ZERO, Bindings, element
from tabgrad.targets.shading.values import LANES, Block, Module, Value

WIDTH, WIDTH_BITS = 2048, 11
MAX_READS = 16  # textures of a fragment shader that every WebGL2 has
MAX_WRITES = 4  # and draw buffers

FRAME_WORDS = 64  # of most entries, so that equal kernels have equal texts


def texels(size: int) -> int:
    """How many texels hold so many elements."""
    return -(-size // LANES)


def room(size: int) -> int:
    """How many elements a texture for so many has room for, as webgl.js makes them: few sizes, so
    that textures are used again."""
    count = max(texels(size), 16)
    if count <= WIDTH:
        return LANES << (count - 1).bit_length()
    rows = -(-count // WIDTH)
    step = 1 << max((rows - 1).bit_length() - 4, 0) if rows > 8 else 1
    return -(-rows // step) * step * WIDTH * LANES


class Textures(Bindings):
    """Textures that a shader reads."""

    def __init__(self, scalars: dict[int, int], loops: Sequence[Loop]) -> None:
        super().__init__(scalars, loops)
        self._helpers: dict[str, str] = {}

    def word(self, block: Block, buffer: Buffer, at: Value) -> Value:
        return self.words(block, buffer, at, False)

    def load_four(self, block: Block, buffer: Buffer, at: Value) -> Value:
        return element(buffer, self.words(block, buffer, self.place(block, buffer, at), True))

    def load_neighbours(self, block: Block, buffer: Buffer, at: Value) -> Value | None:
        if id(buffer) in self.scalars:
            return None
        name = self._fetch(buffer, True)
        whole = name.replace("four", "near")
        # Two texels, one behind the other, and of both together the four that are asked for.
        self._helpers[whole] = (
            f"uvec4 {whole}(int i) {{ int skip = i & 3; "
            f"uvec4 x = {name}(i - skip), y = {name}(i - skip + 4); "
            "return skip == 0 ? x : skip == 1 ? uvec4(x.yzw, y.x) : "
            "skip == 2 ? uvec4(x.zw, y.xy) : uvec4(x.w, y.xyz); }"
        )
        text = f"{whole}({self.place(block, buffer, at).text})"
        return element(buffer, Value(block, text, "u", LANES))

    def words(self, block: Block, buffer: Buffer, at: Value, four: bool) -> Value:
        """What the whole of a buffer holds, as it is: one word, or those of an element's texel."""
        text = f"{self._fetch(buffer, four)}({at.text})"
        return Value(block, text, "u", LANES if four else 1)

    def _fetch(self, buffer: Buffer, four: bool) -> str:
        sampler = self.name(buffer)
        name = f"{sampler}_{'four' if four else 'one'}"
        texel = f"texelFetch({sampler}, {_texel_of(buffer.root)}, 0)"
        self._helpers[name] = (
            f"uvec4 {name}(int i) {{ float t = float(i); return {texel}; }}"
            if four
            else f"uint {name}(int i) {{ float t = float(i & -4); return {texel}[i & 3]; }}"
        )
        return name

    def frame_word(self, block: Block, number: int) -> Value:
        return Value(block, _frame_word(number), "u")

    def store(self, block: Block, buffer: Buffer, at: Value, value: Value) -> None:
        raise NotSupportedError("internal: a fragment cannot choose where it writes")

    store_four = store

    def declarations(self) -> list[str]:
        """The lines that declare what is read, and the functions that read it."""
        lines = ["uniform ivec4 turns;"] if self.turns else []
        lines += [f"uniform usampler2D b{i};" for i in range(len(self.roots))]
        return [*lines, *self._helpers.values()]


def _texel_of(root: Buffer) -> str:
    """Where the texel of element i is, of which t is the first element as a float.

    Shifts would say it shorter, but software adapters do them lane by lane: products took half as
    long again. Multiples of four are floats exactly below 2**26.
    """
    high = texels(root.size) > WIDTH
    if root.size > 1 << 26:
        return f"ivec2((i >> 2) & {WIDTH - 1}, i >> {WIDTH_BITS + 2})"
    x = "int(t * 0.25)"
    if not high:
        return f"ivec2({x}, 0)"
    return f"ivec2({x} & {WIDTH - 1}, int(t * {0.25 / WIDTH!r}))"


def _frame_word(number: int) -> str:
    return f"frame[{number // LANES}].{'xyzw'[number % LANES]}"


def bits(value: Value) -> Value:
    """A value as the words that hold it."""
    return value.to("u") if value.kind == "b" else value.view("u")


def write(
    textures: Textures,
    outputs: int,
    high: bool,
    body: Callable[[Block, Value], None],
    words: int,
) -> str:
    """A shader of which each fragment runs a body, given the first element of its texel; that
    assigns o0, o1, ... `high` says whether the texture drawn to has more than one row."""
    module = Module(Glsl())
    block = Block(module)
    texel = "int(gl_FragCoord.x)"
    if high:
        texel = f"({texel} + int(gl_FragCoord.y) * {WIDTH})"
    first = block.let(Value(block, texel, "i") * LANES)
    body(block, first)
    text = "\n".join([*module.functions.values(), "void main() {", *block.lines, "}", ""])
    helpers = helpers_of(text)
    parts = [*helpers, text]
    frame = max(words, FRAME_WORDS)
    if any("zero()" in part for part in parts):
        parts.insert(0, f"uint zero() {{ return {_frame_word(ZERO)}; }}")
    if any("frame[" in part for part in parts):
        parts.insert(0, f"layout(std140) uniform Frame {{ uvec4 frame[{-(-frame // LANES)}]; }};")
    head = [
        "#version 300 es",
        *(f"precision highp {kind};" for kind in ("float", "int", "usampler2D")),
        *(f"layout(location = {i}) out uvec4 o{i};" for i in range(outputs)),
    ]
    if len(textures.roots) > MAX_READS:
        raise NotSupportedError(
            f"internal: a kernel reads {len(textures.roots)} buffers, WebGL2 has room for "
            f"{MAX_READS}"
        )
    return "\n".join([*head, *textures.declarations(), *parts])
