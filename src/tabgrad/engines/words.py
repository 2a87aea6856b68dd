"""Elements as the 32-bit words they take on a GPU, and back.

bool and unsigned integers are u32, signed integers i32, float16 is float32. 64-bit elements take
two words as they are: they can be kept and read back, but no kernel computes with them.
"""

from __future__ import annotations

import struct
from array import array

_WIDE = {"bool": ("B", "I"), "uint8": ("B", "I"), "uint16": ("H", "I"), "int8": ("b", "i"),
         "int16": ("h", "i")}  # fmt: skip


def narrow_size(dtype: str) -> int:
    """Bytes of an element where it is less than a word, else 0."""
    if dtype == "float16":
        return 2
    return array(_WIDE[dtype][0]).itemsize if dtype in _WIDE else 0


def widened(raw: bytes | memoryview, dtype: str) -> bytes | memoryview:
    """The words of elements."""
    if dtype == "float16":
        return array("f", struct.unpack(f"<{len(raw) // 2}e", raw)).tobytes()
    if dtype in _WIDE:
        small, wide = _WIDE[dtype]
        return array(wide, array(small, bytes(raw))).tobytes()
    return raw


def narrowed(words: bytes | memoryview, dtype: str) -> bytes:
    """The elements of words."""
    if dtype == "float16":
        numbers = memoryview(words).cast("B").cast("f").tolist()
        return struct.pack(f"<{len(numbers)}e", *numbers)
    if dtype in _WIDE:
        small, wide = _WIDE[dtype]
        return array(small, array(wide, bytes(words))).tobytes()
    return bytes(words)
