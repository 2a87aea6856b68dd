"""The safetensors format: exact bytes, all dtypes, and every way a file can be damaged."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabgrad import dtypes
from tabgrad.errors import ArgumentError, FormatError
from tabgrad.formats import safetensors
from tabgrad.formats.safetensors import Array

TWO = Array((2,), dtypes.float32, struct.pack("<2f", 1.0, 2.0))
WHOLE = safetensors.dumps({"dense/kernel": TWO, "dense/bias": Array((), dtypes.int32, b"\1\0\0\0")})


def _file(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def test_the_bytes_are_those_of_the_format() -> None:
    data = safetensors.dumps({"w": TWO}, {"note": "hi"})
    (length,) = struct.unpack("<Q", data[:8])
    assert length % 8 == 0
    assert json.loads(data[8 : 8 + length]) == {
        "__metadata__": {"format": "tabgrad", "schema": "1", "note": "hi"},
        "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    }
    assert data[8 + length :] == TWO.data


def test_reading_a_file_another_program_wrote() -> None:
    """Arrays in any order of offsets, no metadata, header not padded."""
    body = struct.pack("<3h", 1, 2, 3) + b"\1\0"
    header = {
        "flags": {"dtype": "BOOL", "shape": [2], "data_offsets": [6, 8]},
        "n": {"dtype": "I16", "shape": [3, 1], "data_offsets": [0, 6]},
    }
    found = safetensors.loads(_file(header, body))
    assert list(found) == ["flags", "n"]
    assert found["n"].shape == (3, 1)
    assert found["n"].dtype is dtypes.int16
    assert bytes(found["flags"].data) == b"\1\0"


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_every_dtype(dtype: dtypes.DType, tmp_path: Path) -> None:
    array = Array((2, 0), dtype, b"")
    more = Array((3,), dtype, bytes(3 * dtype.itemsize))
    safetensors.save(tmp_path / "x.safetensors", {"none": array, "more": more})
    found = safetensors.load(tmp_path / "x.safetensors")
    assert found["more"].dtype is dtype
    assert found["none"].shape == (2, 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it has 0 bytes"),
        (WHOLE[:5], "it has 5 bytes"),
        (WHOLE[:40], "its header ends at byte"),
        (WHOLE[:-1], "ends at byte"),
        (WHOLE + b"x", "1 bytes that no array uses"),
        (struct.pack("<Q", 1 << 60) + WHOLE[8:], "header would be"),
        (_file(b"{nonsense"), "header is not valid"),
        (_file(b"\xff\xfe"), "header is not valid"),
        (_file(b"[" * 100_000), "header is not valid"),
        (_file([]), "header is not an object"),
        (_file(b'{"a": {}, "a": {}}'), "a name appears twice"),
        (_file({"a": 3}), "entry for 'a' is not valid"),
        (_file({"a": {"dtype": "F32"}}), "entry for 'a' is not valid"),
        (
            _file({"a": {"dtype": "F99", "shape": [], "data_offsets": [0, 4]}}, bytes(4)),
            "'a' is not valid",
        ),
        (
            _file({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}}, bytes(4)),
            "sizes of 'a'",
        ),
        (
            _file({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)),
            "sizes of 'a'",
        ),
        (
            _file({"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}, bytes(4)),
            "sizes of 'a'",
        ),
        (
            _file(
                {
                    "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                    "b": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]},
                },
                bytes(6),
            ),
            "'b' starts at 2, expected 4",
        ),
        (_file({"__metadata__": {"a": 1}}), "__metadata__ is not"),
        (_file({"__metadata__": []}), "__metadata__ is not"),
    ],
)
def test_damaged_files(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        safetensors.loads(data)


def test_a_newer_schema() -> None:
    data = _file({"__metadata__": {"format": "tabgrad", "schema": "2"}})
    with pytest.raises(FormatError, match=r"newer tabgrad .schema 2; this one reads up to 1."):
        safetensors.loads(data, "'m.safetensors'")
    with pytest.raises(FormatError, match="expected a number"):
        safetensors.loads(_file({"__metadata__": {"format": "tabgrad", "schema": "x"}}))
    other = safetensors.loads(_file({"__metadata__": {"format": "pt", "schema": "9"}}))
    assert other == {}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_damage_gives_anything_but_a_format_error(data: st.DataObject) -> None:
    raw = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    try:
        found = safetensors.loads(bytes(raw))
    except FormatError:
        return
    for array in found.values():
        assert len(array.data) == dtypes.as_dtype(array.dtype).itemsize * _product(array.shape)


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


def test_saving_replaces_a_file_only_when_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.save(path, {"w": TWO})
    before = path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0o066 & ~_umask()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        safetensors.save(path, {})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def _umask() -> int:
    import os

    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_bytes_that_do_not_fit() -> None:
    with pytest.raises(ArgumentError, match=r"'w': shape .3,. of float32 takes 12 bytes"):
        safetensors.dumps({"w": Array((3,), dtypes.float32, bytes(8))})
