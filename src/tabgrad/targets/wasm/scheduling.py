"""The order of instructions: points of an unrolled loop in turns, vector constants before loops.

Browsers' compilers keep the order in which instructions come and make a constant again wherever it
stands. A processor looks some hundred instructions ahead, which is less than two points of a long
function, so it would wait for one result after the other; in turns it has several points to work
on. Nothing here changes what is computed.

Both work on finished code, which they take apart by the lengths of its instructions alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from tabgrad.targets.wasm import encoder
from tabgrad.targets.wasm.builder import Function
from tabgrad.targets.wasm.encoder import uleb

_LEB = rb"[\x80-\xff]*+[\x00-\x7f]"
_SET = rb"\x21" + _LEB
_CONSTANT = rb"\xfd\x0c.{16}"
_CONTROL = rb"[\x02-\x04].|[\x05\x0b]"
# All other instructions that the builder writes but br_table.
_OTHER = (
    rb"[\x20\x22-\x24\x0c\x0d\x10\x41\x42]LEB|[\x28-\x3e]LEBLEB|\x43.{4}|\x44.{8}"
    rb"|[\x00\x01\x0f\x1a\x1b\x45-\xc4]|[\x3f\x40].|\xfc(?:[\x00-\x07]|\x0a..|\x0b.)"
    rb"|\xfd(?:\x0d.{16}|[\x00-\x0b\x5c\x5d]LEBLEB|[\x54-\x5b]LEBLEB.|[\x15-\x22].|(?!\x0c)LEB)"
    rb"|\xfe(?:\x03.|(?!\x03)LEBLEBLEB)"
).replace(b"LEB", _LEB)

_INSTRUCTION = re.compile(rb"%b|%b|%b|%b" % (_SET, _CONSTANT, _CONTROL, _OTHER), re.S)
_STATEMENT = re.compile(rb"(?:%b|%b)*+(?:%b)++" % (_CONSTANT, _OTHER, _SET), re.S)
_UP_TO_CONSTANT = re.compile(
    rb"((?:%b|%b|%b)*+)(?:%b)?" % (_SET, _CONTROL, _OTHER, _CONSTANT), re.S
)

_LOOP = b"\x03\x40"


def in_turns(f: Function, parts: Sequence[Callable[[], None]]) -> None:
    """Write code that knows nothing of each other, one statement of each part at a time.

    The parts may make locals, but set only those that they made, and store nothing.
    """
    start = len(f.code)
    codes = []
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(f.own_locals())
            part()
            codes.append(_statements(bytes(f.code[start:])))
            del f.code[start:]
    for turn in range(max(map(len, codes))):
        f.code += b"".join([code[turn] for code in codes if turn < len(code)])


def _statements(code: bytes) -> list[bytes]:
    """Pieces that begin and end with an empty stack: each ends with the setting of a local."""
    pieces, start = [], 0
    while start < len(code):
        found = _STATEMENT.match(code, start)
        end = found.end() if found else _past_control(code, start)
        pieces.append(code[start:end])
        start = end
    return pieces


def _past_control(code: bytes, at: int) -> int:
    """The end of the statement that has the next block, loop or branch in it."""
    depth = 0
    while at < len(code):
        found = _INSTRUCTION.match(code, at)
        assert found is not None, code[at:]
        depth += (code[at] in b"\x02\x03\x04") - (code[at] == 0x0B)
        at = found.end()
        if not depth and found[0][0] == 0x21 and code[at : at + 1] != b"\x21":
            break
    return at


def constants_first(f: Function) -> None:
    """Set the vector constants of a function that has a loop to locals, before anything else."""
    code = bytes(f.code)
    if _LOOP not in code:
        return
    place: dict[bytes, int] = {}
    pieces, at = [], 0
    while at < len(code):
        found = _UP_TO_CONSTANT.match(code, at)
        assert found is not None and found.end() > at, code[at:]
        pieces.append(found[1])
        constant = code[found.end(1) : found.end()]
        if constant:
            if constant not in place:
                place[constant] = len(f.param_types) + len(f.local_types)
                f.local_types.append(encoder.V128)
            pieces.append(b"\x20" + uleb(place[constant]))
        at = found.end()
    made = [constant + b"\x21" + uleb(index) for constant, index in place.items()]
    f.code[:] = b"".join([*made, *pieces])
