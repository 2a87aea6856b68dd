"""Running one primitive on the reference, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tabgrad.dtypes import as_dtype
from tabgrad.engines.reference import evaluate
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make


def inputs(*arrays: np.ndarray) -> list[Node]:
    """One abstract input per array."""
    return [b.input(a.shape, as_dtype(a.dtype.name)) for a in arrays]


def run(name: str, *arrays: Any, **params: Any) -> np.ndarray:
    """The result of one primitive on arrays."""
    return run_all(name, *arrays, **params)[0]


def run_all(name: str, *arrays: Any, **params: Any) -> list[np.ndarray]:
    """All results of one primitive on arrays."""
    arrays = tuple(map(np.asarray, arrays))
    nodes = inputs(*arrays)
    return outputs(make(name, *nodes, **params), nodes, arrays)


def outputs(node: Node, nodes: Sequence[Node], arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """All outputs of a node, given the arrays of the inputs."""
    outs = [node] if len(node.outs) == 1 else [b.proj(node, i) for i in range(len(node.outs))]
    return evaluate(outs, dict(zip(nodes, arrays, strict=True)))


def identical(got: np.ndarray, expected: Any) -> None:
    """Same shape, dtype and values; NaN equals NaN and -0 differs from 0."""
    expected = np.asarray(expected)
    assert got.dtype == expected.dtype, (got.dtype, expected.dtype)
    np.testing.assert_array_equal(got, expected)
    if got.dtype.kind == "f":
        number = ~np.isnan(got)
        np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(expected[number]))


def conv(rank: int = 2, **options: Any) -> dict[str, Any]:
    """Parameters of `conv`, those of a plain convolution unless given."""
    order = tuple(range(rank + 2))
    plain = {
        "strides": (1,) * rank,
        "padding": ((0, 0),) * rank,
        "lhs_dilation": (1,) * rank,
        "rhs_dilation": (1,) * rank,
        "groups": 1,
        "batch_groups": 1,
        "dims": (order, order, order),
    }
    return plain | options
