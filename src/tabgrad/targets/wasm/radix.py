"""Sorting long rows: a stable radix sort from the lowest digit to the highest.

One read of the keys counts the digits of all passes. A pass then moves every element to the place
that the counts give its digit, and is left out where all digits are equal. Keys are read as
unsigned integers in the same order; what is moved are the bits as they were.

Source: Knuth, "The Art of Computer Programming" 3, 5.2.5 R.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad.dtypes import DType
from tabgrad.targets.wasm.builder import I32, U32, U64, Function
from tabgrad.targets.wasm.parts import Part, bring_home, swap

FEWEST = 16  # elements for each pass, for which counting is worth it
DIGIT, LONG_DIGIT = 8, 11
# Rows that have longer digits: enough elements for that many counts, but not so many that as many
# places to write to at once are out of the reach of the nearer caches.
LONG = range(1 << 12, (1 << 17) + 1)
INFINITY = {16: 0x7C00, 32: 0x7F800000, 64: 0x7FF0000000000000}


def takes(dtype: DType, n: int) -> bool:
    """Whether rows of n keys are long enough."""
    return n >= FEWEST * dtype.itemsize


def scratch_bytes(dtype: DType, n: int) -> int:
    """The room for the counts of a row."""
    digit, passes = _digits(dtype, n)
    return passes * 4 << digit


def sort(f: Function, parts: Sequence[Part], n: int, counts: I32) -> None:
    """Sort a row by its first part, and leave it where it was."""
    key = parts[0]
    homes = [f.let(part.here) for part in parts]
    digit, passes = _digits(key.dtype, n)
    size = 4 << digit
    mask = (1 << digit) - 1

    def count_of(unsigned: Any, shift: I32 | int) -> I32:
        """Where the count of a key's digit is, from the counts of the pass on."""
        shifted = unsigned >> (shift.to(type(unsigned)) if isinstance(shift, I32) else shift)
        found: I32 = shifted.to(I32) & mask
        return found * 4

    f.fill_memory(counts, 0, passes * size)
    with f.loop_range(0, n) as i:
        unsigned = f.let(ordered(f, key.dtype, key.load(key.at(key.here, i))))
        for number in range(passes):
            at = f.let(counts + count_of(unsigned, number * digit)) + number * size
            f.store(at, I32.load(at) + 1)

    with f.loop_range(0, passes) as turn:
        mine, shift = f.let(counts + turn * size), f.let(turn * digit)
        first = f.let(ordered(f, key.dtype, key.load(key.here)))
        with f.if_(I32.load(mine + count_of(first, shift)) != n):
            before, end = f.local(I32, 0), f.let(mine + size)
            with f.loop_range(mine, end, 4) as at:
                several = f.let(I32.load(at))
                f.store(at, before)
                before.inc(several)
            with f.loop_range(0, n) as i:
                bits = f.let(key.load(key.at(key.here, i)))
                unsigned = f.let(ordered(f, key.dtype, bits))
                at = f.let(mine + count_of(unsigned, shift))
                to = f.let(I32.load(at))
                f.store(at, to + 1)
                key.put(f, key.at(key.there, to), bits)
                for part in parts[1:]:
                    value = part.load(part.at(part.here, i))
                    part.put(f, part.at(part.there, to), value)
            swap(f, parts)
    bring_home(f, parts, homes, n)


def _digits(dtype: DType, n: int) -> tuple[int, int]:
    """The bits of a digit and the number of passes."""
    bits = 8 * dtype.itemsize
    digit = LONG_DIGIT if bits > 16 and n in LONG else DIGIT
    return digit, -(-bits // digit)


def ordered(f: Function, dtype: DType, bits: Any) -> Any:
    """A key's bits as an unsigned integer in the same order: both zeros are equal, and all NaNs,
    which come after every number."""
    width = 8 * dtype.itemsize
    kind = U64 if width == 64 else U32
    if dtype.kind in "bu":
        return bits.to(kind)
    top = 1 << (width - 1)
    if not dtype.is_float:
        return (bits ^ top).to(kind)
    bits = f.let(bits)
    sign = f.let((bits.extend16() if width == 16 else bits) >> (31 if width == 16 else width - 1))
    magnitude = f.let(bits & (top - 1))
    signed = (magnitude ^ sign) - sign
    last = type(bits).const(top - 1)
    return ((magnitude > INFINITY[width]).select(last, signed) + top).to(kind)
