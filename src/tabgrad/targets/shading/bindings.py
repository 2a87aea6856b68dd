"""What a shader binds: whole buffers, found while it is written, and the words of the frame.

The frame holds a zero, the true number of rows, then the scalar arguments of an entry. Elements of
less than 32 bits take a whole word: bool and unsigned ones a uint, signed ones an int, float16 a
float where shaders have no floats of 16 bits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from tabgrad.ir.kernel import Buffer, Loop
from tabgrad.targets.shading.expressions import Storage
from tabgrad.targets.shading.values import Block, Value

ZERO, ROWS, SCALARS = 0, 1, 2


def word_kind(buffer: Buffer) -> str:
    """The kind of the words that hold a buffer's elements."""
    return "u" if buffer.dtype.kind == "b" else buffer.dtype.kind


def element(buffer: Buffer, word: Value) -> Value:
    """The element that a word holds, or those of four."""
    if word.kind == "h":
        return word
    return word.differs(0) if buffer.dtype.kind == "b" else word.view(word_kind(buffer))


class Bindings(Storage, ABC):
    """The buffers of a shader, in the order in which it has asked for them."""

    def __init__(self, scalars: dict[int, int], loops: Sequence[Loop]) -> None:
        self.scalars = scalars  # by the id of a scalar argument, its word in the frame
        self.loops = loops
        self.roots: dict[int, Buffer] = {}
        self.turns = False  # whether the shader asks for the turns of the loops around it

    def name(self, buffer: Buffer) -> str:
        """The variable of a buffer."""
        root = buffer.root
        self.roots.setdefault(id(root), root)
        return f"b{list(self.roots).index(id(root))}"

    def base(self, block: Block, buffer: Buffer) -> Value | None:
        """Where a slice begins in the whole, None where that is not a slice."""
        total: Value | None = None
        while buffer.parent is not None:
            assert buffer.loop is not None
            turn = Value(block, f"turns.{'xyzw'[self.loops.index(buffer.loop)]}", "i")
            self.turns = True
            total = turn * buffer.size if total is None else total + turn * buffer.size
            buffer = buffer.parent
        return total

    def place(self, block: Block, buffer: Buffer, at: Value) -> Value:
        """A place in a slice as one in the whole."""
        base = self.base(block, buffer)
        return at if base is None else at + base

    def load(self, block: Block, buffer: Buffer, at: Value) -> Value:
        number = self.scalars.get(id(buffer))
        if number is None:
            return element(buffer, self.word(block, buffer, self.place(block, buffer, at)))
        return element(buffer, self.frame_word(block, number))

    def rows(self, block: Block) -> Value:
        return self.frame_word(block, ROWS).view("i")

    @abstractmethod
    def word(self, block: Block, buffer: Buffer, at: Value) -> Value:
        """The word at a place in the whole of a buffer."""

    @abstractmethod
    def frame_word(self, block: Block, number: int) -> Value:
        """A word of the frame."""
