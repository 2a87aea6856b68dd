"""Tensors as text, laid out as NumPy lays out arrays: aligned, wrapped, summarised when large.

Works on the raw bytes, and unpacks only the elements that are shown.
"""

from __future__ import annotations

import html
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from tabgrad.dtypes import DType
from tabgrad.errors import ArgumentError
from tabgrad.packing import product


@dataclass(frozen=True)
class PrintOptions:
    """How tensors are printed; see `set_printoptions`."""

    precision: int = 8
    threshold: int = 1000
    edgeitems: int = 3
    linewidth: int = 75
    suppress: bool = False


_options = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    suppress: bool | None = None,
) -> None:
    """Change how tensors are printed, as `numpy.set_printoptions` does for arrays.

    Args:
        precision: the most digits after the point (8).
        threshold: how many elements are printed in full (1000).
        edgeitems: how many are shown at each end of an axis otherwise (3).
        linewidth: the most characters in a line (75).
        suppress: whether to avoid exponents (False).

    Raises:
        ArgumentError: a negative number.

    Example:
        >>> import tabgrad as tg
        >>> tg.set_printoptions(precision=3)
        >>> print(tg.tensor([2 / 3]))
        [0.667]
        >>> tg.set_printoptions(precision=8)
    """
    global _options
    given = {k: v for k, v in locals().items() if v is not None}
    if any(v < 0 for v in given.values()):
        raise ArgumentError(f"set_printoptions expected numbers of at least 0; received {given}")
    _options = replace(_options, **given)


def text(parts: Sequence[bytes], shape: tuple[int, ...], dtype: DType) -> str:
    """What `print` shows: `[1. 2.]`."""
    return _layout(parts, shape, dtype, " ", 0, 0)


def representation(parts: Sequence[bytes], shape: tuple[int, ...], dtype: DType) -> str:
    """`tensor([1., 2.], dtype=float32)`."""
    head = "tensor("
    body = _layout(parts, shape, dtype, ", ", len(head), 1)
    tail = f"dtype={dtype.name})"
    size = product(shape)
    if size > _options.threshold or (size == 0 and shape != (0,)):
        tail = f"shape={shape}, {tail}"
    last = len(head + body) - (body.rfind("\n") + 1 + (len(head) if "\n" in body else 0))
    gap = " " if last + len(tail) + 2 <= _options.linewidth else "\n" + " " * len(head)
    return f"{head}{body},{gap}{tail}"


def page(parts: Sequence[bytes], shape: tuple[int, ...], dtype: DType) -> str:
    """A small piece of HTML for notebooks."""
    body = html.escape(text(parts, shape, dtype))
    sizes = " × ".join(map(str, shape)) or "scalar"
    return f"<pre>{body}</pre><small>{sizes} · {dtype.name}</small>"


def _layout(
    parts: Sequence[bytes],
    shape: tuple[int, ...],
    dtype: DType,
    separator: str,
    indent: int,
    after: int,
) -> str:
    """Rows in brackets; continued lines are indented by `indent`, the last leaves `after` free."""
    size = product(shape)
    if size == 0:
        return "[]"
    edge = _options.edgeitems if size > _options.threshold else 0
    width = _options.linewidth - after

    def shown(n: int) -> list[int | None]:
        if edge and n > 2 * edge:
            return [*range(edge), None, *range(n - edge, n)]
        return list(range(n))

    places = [0]
    stride = size
    for n in shape:
        stride //= n
        places = [p + i * stride for p in places for i in shown(n) if i is not None]
    words = _formatter(_elements(parts, dtype, places), dtype, shape)
    cells = dict(zip(places, words, strict=True))

    def rows(axis: int, at: int, stride: int, hanging: str, room: int) -> str:
        if axis == len(shape):
            return cells[at]
        n = shape[axis]
        step = stride // n
        items = shown(n)
        if axis == len(shape) - 1:
            inner = _wrapped(
                ["..." if i is None else cells[at + i] for i in items], separator, hanging, room
            )
        else:
            between = separator.rstrip() + "\n" * (len(shape) - 1 - axis)
            blocks = [
                "..." if i is None else rows(axis + 1, at + i * step, step, hanging + " ", room - 1)
                for i in items
            ]
            inner = between.join(hanging + block for block in blocks)[len(hanging) :]
        return f"[{inner}]"

    return rows(0, 0, size, " " * (indent + 1), width)


def _wrapped(words: list[str], separator: str, hanging: str, room: int) -> str:
    """Words in lines of at most `room` characters, the first without its indentation."""
    lines: list[str] = []
    line = hanging
    for i, word in enumerate(words):
        last = i == len(words) - 1
        # A comma or the closing bracket must fit behind the word.
        limit = room - (1 if last else max(len(separator.rstrip()), 1))
        if len(line) + len(word) > limit and len(line) > len(hanging):
            lines.append(line.rstrip())
            line = hanging
        line += word + ("" if last else separator)
    return "\n".join([*lines, line])[len(hanging) :]


def _elements(parts: Sequence[bytes], dtype: DType, places: Sequence[int]) -> list[list[float]]:
    """The values at these places: of each part of a complex tensor."""
    form, size = "<" + dtype.part.format, dtype.part.itemsize
    return [[struct.unpack_from(form, raw, p * size)[0] for p in places] for raw in parts]


def _formatter(values: list[list[float]], dtype: DType, shape: tuple[int, ...]) -> list[str]:
    """All shown elements as words of one width."""
    if dtype.kind == "b":
        words = [str(bool(v)) for v in values[0]]
        return [word.rjust(5) for word in words] if shape else words
    if dtype.kind in "iu":
        words = [str(v) for v in values[0]]
        width = max(map(len, words))
        return [word.rjust(width) for word in words]
    real = _floats(values[0], dtype.part)
    if not dtype.is_complex:
        return real
    imaginary = _floats(values[1], dtype.part, signed=True)
    # The letter follows the digits, in front of the spaces that align them.
    marked = [w.rstrip() + "j" + " " * (len(w) - len(w.rstrip())) for w in imaginary]
    return [x + y for x, y in zip(real, marked, strict=True)]


# From these numbers on there are more digits in front of the point than the dtype has.
_EXPONENT_FROM = {2: 1e3, 4: 1e6, 8: 1e8}


def _floats(values: list[float], dtype: DType, signed: bool = False) -> list[str]:
    finite = [v for v in values if math.isfinite(v)]
    sizes = [abs(v) for v in finite if v]
    wide = bool(sizes) and (
        max(sizes) >= _EXPONENT_FROM[dtype.itemsize]
        or (not _options.suppress and (min(sizes) < 1e-4 or max(sizes) / min(sizes) > 1000))
    )
    split = _scientific if wide else _positional
    found = [split(v, dtype, None) for v in finite]
    fraction = max((len(piece[1]) for piece in found), default=0)
    if wide:  # all with as many digits as the longest has, which are digits of the value itself
        found = [split(v, dtype, fraction) for v in finite]
    plus = "+" if signed else ""
    wholes = [w if w.startswith("-") else plus + w for w, _, _ in found]
    names = [_name(v, signed) for v in values if not math.isfinite(v)]
    right = fraction + max((len(power) for _, _, power in found), default=0)
    left = max([0, *map(len, wholes), *(len(name) - right - 1 for name in names)])
    pieces = iter(zip(wholes, found, strict=True))
    words = []
    for v in values:
        if math.isfinite(v):
            whole, (_, digits, power) = next(pieces)
            words.append(f"{whole.rjust(left)}.{digits.ljust(fraction)}{power}")
        else:
            words.append(_name(v, signed).rjust(left + right + 1))
    return words


def _name(v: float, signed: bool) -> str:
    if math.isnan(v):
        return "+nan" if signed else "nan"
    return "-inf" if v < 0 else "+inf" if signed else "inf"


def _positional(v: float, dtype: DType, digits: int | None) -> tuple[str, str, str]:
    """Digits in front of the point, behind it, and no exponent."""
    value = Decimal(_shortest(v, dtype))
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    if -exponent > _options.precision:
        value = Decimal(v)
    whole, _, fraction = f"{value:.{min(max(-exponent, 0), _options.precision)}f}".partition(".")
    return whole, fraction.rstrip("0"), ""


def _scientific(v: float, dtype: DType, digits: int | None) -> tuple[str, str, str]:
    """Digits in front of the point, behind it (`digits`, or as few as needed), the exponent."""
    needed = digits
    if needed is None:
        needed = len(Decimal(_shortest(v, dtype)).normalize().as_tuple().digits) - 1
    mantissa, _, power = f"{v:.{min(needed, _options.precision)}e}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    number = power[1:].lstrip("0").rjust(2, "0")
    return whole, fraction if digits is not None else fraction.rstrip("0"), f"e{power[0]}{number}"


def _shortest(v: float, dtype: DType) -> str:
    """The fewest digits that give back the same value of its dtype."""
    if dtype.itemsize == 8:
        return repr(v)
    for digits in range(9):
        written = f"{v:.{digits}e}"
        try:
            again = struct.unpack(dtype.format, struct.pack(dtype.format, float(written)))[0]
        except OverflowError:  # rounded up beyond the largest number
            continue
        if again == v:
            break
    return written
