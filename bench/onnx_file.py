"""Writing ONNX files: the few messages of onnx.proto that the bench's graphs need.

Protocol buffers are fields of a number, a wire type and a value (protobuf.dev/programming-guides/
encoding); the numbers are those of onnx/onnx.proto in the ONNX project.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

# TensorProto.DataType
TYPES = {"float32": 1, "int32": 6, "int64": 7, "bool": 9}
OPSET, IR_VERSION = 17, 8
FLOAT, INT, STRING, FLOATS, INTS = 1, 2, 3, 6, 7  # AttributeProto.AttributeType


def _varint(n: int) -> bytes:
    out = bytearray()
    n &= (1 << 64) - 1
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _attribute(name: str, value: Any) -> bytes:
    head = _bytes(1, name)
    if isinstance(value, str):
        return head + _bytes(4, value) + _int(20, STRING)
    if isinstance(value, int):
        return head + _int(3, value) + _int(20, INT)
    if isinstance(value, float):
        return head + _float(2, value) + _int(20, FLOAT)
    if all(isinstance(each, int) for each in value):
        return head + b"".join(_int(8, each) for each in value) + _int(20, INTS)
    return head + b"".join(_float(7, each) for each in value) + _int(20, FLOATS)


def _value(name: str, dtype: str, shape: Sequence[int]) -> bytes:
    dims = b"".join(_bytes(1, _int(1, n)) for n in shape)
    tensor = _int(1, TYPES[dtype]) + _bytes(2, dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


class Graph:
    """A graph under construction; values are names.

    Example:
        >>> graph = Graph()
        >>> x = graph.input("x", np.zeros((4,), np.float32))
        >>> graph.output(graph.node("Relu", [x]), (4,))
        >>> len(graph.encode()) > 0
        True
    """

    def __init__(self) -> None:
        self._nodes = b""
        self._constants = b""
        self._inputs = b""
        self._outputs = b""
        self._count = 0

    def input(self, name: str, like: npt.NDArray[Any]) -> str:
        """An input of an array's shape and dtype."""
        self._inputs += _bytes(11, _value(name, like.dtype.name, like.shape))
        return name

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """A constant; an empty name makes one up."""
        name = name or self._fresh("c")
        tensor = b"".join(_int(1, n) for n in value.shape) + _int(2, TYPES[value.dtype.name])
        tensor += _bytes(8, name) + _bytes(9, np.ascontiguousarray(value).tobytes())
        self._constants += _bytes(5, tensor)
        return name

    def node(self, op: str, inputs: Sequence[str], *, results: int = 1, **attributes: Any) -> str:
        """An operation; gives the first of its results."""
        name = self._fresh("t")
        node = b"".join(_bytes(1, each) for each in inputs) + _bytes(2, name)
        node += b"".join(_bytes(2, f"{name}_{i}") for i in range(1, results))
        node += _bytes(3, f"{op}_{name}") + _bytes(4, op)
        node += b"".join(_bytes(5, _attribute(*each)) for each in attributes.items())
        self._nodes += _bytes(1, node)
        return name

    def output(self, value: str, shape: Sequence[int], name: str = "y") -> None:
        """Give a value out under a name of its own."""
        node = (
            _bytes(1, value) + _bytes(2, name) + _bytes(3, f"give_{name}") + _bytes(4, "Identity")
        )
        self._nodes += _bytes(1, node)
        self._outputs += _bytes(12, _value(name, "float32", shape))

    def encode(self) -> bytes:
        """The file."""
        graph = self._nodes + _bytes(2, "bench") + self._constants + self._inputs + self._outputs
        opset = _bytes(1, "") + _int(2, OPSET)
        return _int(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, opset)

    def _fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"
