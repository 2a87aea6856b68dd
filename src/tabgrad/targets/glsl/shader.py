"""One fragment shader: its textures, its entry point, and how elements are read.

A buffer is a texture of four 32-bit words a texel: element i is word i % 4 of texel i / 4, and
texels are one behind the other in rows. Textures are about as wide as they are high, because GPUs
share out what is drawn by squares: of a single row they compute twice as much as is asked for, and
software adapters do it with one thread. A width is a power of two, at most MAX_WIDTH, which is what
every WebGL2 has; how high a texture may be is asked when one is made.

All textures are RGBA32UI, whatever they hold, and floats are the words' bits: words keep NaN and
subnormal numbers as they are, every WebGL2 can render to them without an extension, and a texture
given back serves any dtype. On a software adapter products and sums run as fast as on float
textures.

A texel is sampled at its centre, not fetched by its number: a software adapter then has no borders
to look for, and a product of matrices takes four fifths of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tabgrad.errors import NotSupportedError
from tabgrad.ir.kernel import Buffer, Loop
from tabgrad.targets.glsl.dialect import Glsl, helpers_of
from tabgrad.targets.shading.bindings import ZERO, Bindings, element
from tabgrad.targets.shading.values import LANES, Block, Module, Value

MAX_WIDTH = 2048
LARGEST = 1 << 25  # elements: behind those a float does not tell texels apart
MAX_READS = 16  # textures of a fragment shader that every WebGL2 has
MAX_WRITES = 4  # and draw buffers

FRAME_WORDS = 64  # of most entries, so that equal kernels have equal texts


def texels(size: int) -> int:
    """How many texels hold so many elements."""
    return -(-size // LANES)


def room(size: int) -> int:
    """How many elements a texture for so many has room for, as webgl.js makes them: few sizes, so
    that textures are used again."""
    count, width = texels(size), width_of(size)
    if count <= MAX_WIDTH:
        return LANES << _bits(count)
    rows = -(-count // width)
    step = 1 << max((rows - 1).bit_length() - 4, 0) if rows > 8 else 1
    return -(-rows // step) * step * width * LANES


def width_of(size: int) -> int:
    """How many texels a row has of a texture for so many elements."""
    return min(1 << -(-_bits(texels(size)) // 2), MAX_WIDTH)


def whole_rows(size: int) -> int:
    """How many texels the rows have that hold so many elements: drawing those is one rectangle, and
    nobody reads what is behind the last element."""
    count, width = texels(size), width_of(size)
    return count if count < width else -(-count // width) * width


def _bits(count: int) -> int:
    return (max(count, 16) - 1).bit_length()


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
        self._helpers[f"{sampler}_four"] = (
            f"uvec4 {sampler}_four(int i) {{ {_texel_of(sampler, buffer.root)} }}"
        )
        if not four:
            self._helpers[name] = f"uint {name}(int i) {{ return {sampler}_four(i & -4)[i & 3]; }}"
        return name

    def frame_word(self, block: Block, number: int) -> Value:
        return Value(block, _frame_word(number), "u")

    def store(self, block: Block, buffer: Buffer, at: Value, value: Value) -> None:
        raise NotSupportedError("internal: a fragment cannot choose where it writes")

    store_four = store

    def declarations(self) -> list[str]:
        """The lines that declare what is read, and the functions that read it."""
        lines = ["uniform ivec4 turns;"] if self.turns else []
        for i, root in enumerate(self.roots.values()):
            lines.append(f"uniform usampler2D b{i};")
            if root.size <= LARGEST:
                lines.append(f"vec2 s{i};")
        return [*lines, *self._helpers.values()]

    def beginning(self) -> list[str]:
        """What a shader does before all else: a quarter of one over the width of each texture, as a
        float that is exact, whatever divisions are, and one over its height."""
        lines = []
        for i, root in enumerate(self.roots.values()):
            if root.size <= LARGEST:
                size = f"vec2(textureSize(b{i}, 0))"
                quarter = f"uintBitsToFloat(0x7e000000u - floatBitsToUint({size}.x))"
                lines.append(f"s{i} = vec2({quarter}, 1.0 / {size}.y);")
        return lines


def _texel_of(sampler: str, root: Buffer) -> str:
    """How the texel is found that begins with element i."""
    if root.size > LARGEST:
        place = f"ivec2(i & {4 * MAX_WIDTH - 1}, i / {4 * MAX_WIDTH})"
        return f"ivec2 at = {place}; return texelFetch({sampler}, ivec2(at.x >> 2, at.y), 0);"
    scale = f"s{sampler[1:]}"
    return (
        f"float t = float(i + 2) * {scale}.x; "
        f"return textureLod({sampler}, vec2(fract(t), (floor(t) + 0.5) * {scale}.y), 0.0);"
    )


def _frame_word(number: int) -> str:
    return f"frame[{number // LANES}].{'xyzw'[number % LANES]}"


def bits(value: Value) -> Value:
    """A value as the words that hold it."""
    return value.to("u") if value.kind == "b" else value.view("u")


def write(
    textures: Textures,
    outputs: int,
    body: Callable[[Block, Value], None],
    words: int,
) -> str:
    """A shader of which each fragment runs a body, given the first element of its texel; that
    assigns o0, o1, ... The uniform `across` is how many texels a row has that is drawn to."""
    module = Module(Glsl())
    block = Block(module)
    texel = "(int(gl_FragCoord.x) + int(gl_FragCoord.y) * across)"
    first = block.let(Value(block, texel, "i") * LANES)
    body(block, first)
    lines = [*textures.beginning(), *block.lines]
    text = "\n".join([*module.functions.values(), "void main() {", *lines, "}", ""])
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
        "uniform int across;",
    ]
    if len(textures.roots) > MAX_READS:
        raise NotSupportedError(
            f"internal: a kernel reads {len(textures.roots)} buffers, WebGL2 has room for "
            f"{MAX_READS}"
        )
    return "\n".join([*head, *textures.declarations(), *parts])
