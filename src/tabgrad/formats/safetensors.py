"""Read and write .safetensors: named arrays behind a JSON header. No model knows of this file.

The file is an 8-byte little-endian header length, that many bytes of JSON, then the arrays' bytes
without gaps. `__metadata__` holds strings; tabgrad writes {"format": "tabgrad", "schema": "1"} and
refuses a higher schema. Everything read is checked before anything is returned.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabgrad import dtypes
from tabgrad.dtypes import DType
from tabgrad.errors import ArgumentError, FormatError

FORMAT = "tabgrad"
SCHEMA = 1

# The limit of the reference implementation, so that a damaged length cannot ask for all memory.
_LONGEST_HEADER = 100_000_000

_DTYPES: dict[str, DType] = {
    "BOOL": dtypes.bool_,
    "I8": dtypes.int8,
    "I16": dtypes.int16,
    "I32": dtypes.int32,
    "I64": dtypes.int64,
    "U8": dtypes.uint8,
    "U16": dtypes.uint16,
    "U32": dtypes.uint32,
    "U64": dtypes.uint64,
    "F16": dtypes.float16,
    "F32": dtypes.float32,
    "F64": dtypes.float64,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


@dataclass(frozen=True)
class Array:
    """One array of a file: its shape, dtype and row-major little-endian bytes."""

    shape: tuple[int, ...]
    dtype: DType
    data: bytes | memoryview


def dumps(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a file holding these arrays, in this order.

    Args:
        arrays: arrays by name.
        metadata: strings to store beside them.

    Raises:
        ArgumentError: when an array's bytes do not fit its shape and dtype.

    Example:
        >>> one = Array((1,), dtypes.float32, bytes(4))
        >>> loads(dumps({"w": one}))["w"].shape
        (1,)
    """
    header: dict[str, Any] = {
        "__metadata__": {"format": FORMAT, "schema": str(SCHEMA), **(metadata or {})}
    }
    offset = 0
    for name, array in arrays.items():
        size = math.prod(array.shape) * array.dtype.itemsize
        if len(array.data) != size:
            raise ArgumentError(
                f"{name!r}: shape {array.shape} of {array.dtype} takes {size} bytes; "
                f"received {len(array.data)}"
            )
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays start aligned
    return b"".join([len(text).to_bytes(8, "little"), text, *(a.data for a in arrays.values())])


def loads(data: bytes | bytearray | memoryview, name: str = "the file") -> dict[str, Array]:
    """The arrays of a file, by name, in the file's order. They share memory with `data`.

    Args:
        data: the bytes of the file.
        name: what error messages call it.

    Raises:
        FormatError: when the file is damaged, truncated, or of a newer schema.
    """
    return _parse(data, name)[0]


def metadata(data: bytes | bytearray | memoryview, name: str = "the file") -> dict[str, str]:
    """The strings stored in a file.

    Raises:
        FormatError: as `loads`.
    """
    return _parse(data, name)[1]


def save(
    path: str | os.PathLike[str],
    arrays: Mapping[str, Array],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a file. An older file of that name is replaced only once the new one is complete.

    Args:
        path: where to write.
        arrays: arrays by name.
        metadata: strings to store beside them.

    Raises:
        OSError: when it cannot be written; an older file is then unharmed.
    """
    target = Path(path)
    data = dumps(arrays, metadata)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        _share_like_new_files(temporary)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Read a file.

    Args:
        path: the file.

    Returns:
        Its arrays by name, in the file's order.

    Raises:
        FormatError: when the file is damaged, truncated, or of a newer schema.
        OSError: when it cannot be read.
    """
    return loads(Path(path).read_bytes(), repr(os.fspath(path)))


def _share_like_new_files(path: str) -> None:
    # mkstemp makes files only their owner can read; a saved model is an ordinary file.
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(path, 0o666 & ~mask)


def _parse(
    data: bytes | bytearray | memoryview, name: str
) -> tuple[dict[str, Array], dict[str, str]]:
    view = memoryview(data).cast("B")

    def damaged(what: str) -> FormatError:
        return FormatError(
            f"{name} is not a whole .safetensors file: {what}. Save or download it again"
        )

    if len(view) < 8:
        raise damaged(f"it has {len(view)} bytes, expected at least 8")
    length = int.from_bytes(view[:8], "little")
    if length > _LONGEST_HEADER:
        raise damaged(f"its header would be {length} bytes long")
    if 8 + length > len(view):
        raise damaged(f"its header ends at byte {8 + length}, but the file has {len(view)}")
    try:
        header = json.loads(
            bytes(view[8 : 8 + length]).decode("utf-8"), object_pairs_hook=_without_repeats
        )
    except (ValueError, RecursionError) as error:
        raise damaged(f"its header is not valid ({error})") from None
    if not isinstance(header, dict):
        raise damaged("its header is not an object")
    notes = header.pop("__metadata__", {})
    if not isinstance(notes, dict) or not all(isinstance(v, str) for v in notes.values()):
        raise damaged("its __metadata__ is not an object of strings")
    _check_schema(notes, name)

    body = view[8 + length :]
    arrays: dict[str, Array] = {}
    spans: list[tuple[int, int, str]] = []
    for key, entry in header.items():
        try:
            dtype = _DTYPES[entry["dtype"]]
            shape = tuple(entry["shape"])
            start, end = entry["data_offsets"]
            whole = (*shape, start, end)
            fits = all(type(n) is int and n >= 0 for n in whole)
        except (KeyError, TypeError, ValueError):
            raise damaged(f"its entry for {key!r} is not valid: {entry!r}") from None
        if not fits or end - start != math.prod(shape) * dtype.itemsize:
            raise damaged(f"the sizes of {key!r} do not agree: {entry!r}")
        if end > len(body):
            raise damaged(f"{key!r} ends at byte {8 + length + end}, the file has {len(view)}")
        arrays[key] = Array(shape, dtype, body[start:end])
        spans.append((start, end, key))
    position = 0
    for start, end, key in sorted(spans):
        if start != position:
            raise damaged(f"{key!r} starts at {start}, expected {position}")
        position = end
    if position != len(body):
        raise damaged(f"it has {len(body) - position} bytes that no array uses")
    return arrays, notes


def _check_schema(notes: Mapping[str, str], name: str) -> None:
    if notes.get("format") != FORMAT:
        return  # written by another program, which has no schema of ours
    schema = notes.get("schema", "")
    if not schema.isdigit():
        raise FormatError(f"{name} has the schema {schema!r}, expected a number")
    if int(schema) > SCHEMA:
        raise FormatError(
            f"{name} was written by a newer tabgrad (schema {schema}; this one reads up to "
            f"{SCHEMA}). Upgrade tabgrad to load it"
        )


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found
