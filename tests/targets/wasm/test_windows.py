"""Folds of windows on wasmtime against NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tabgrad.ir.graph import make
from tests.targets.wasm.arrays import ties_and_nans, whole_numbers
from tests.targets.wasm.computing import Given, run


def windows(x, p):
    """(position of a window, its elements' indices) for every window, padding left out."""
    counts = []
    for n, w, s, d, (low, high) in zip(
        x.shape, p["window"], p["strides"], p["dilation"], p["padding"], strict=True
    ):
        counts.append((n + low + high - (w - 1) * d - 1) // s + 1)
    for at in itertools.product(*map(range, counts)):
        indices = []
        for tap in itertools.product(*map(range, p["window"])):
            place = tuple(
                a * s + t * d - low
                for a, s, t, d, (low, _) in zip(
                    at, p["strides"], tap, p["dilation"], p["padding"], strict=True
                )
            )
            if all(0 <= i < n for i, n in zip(place, x.shape, strict=True)):
                indices.append(place)
        yield at, counts, indices


# shape, window, strides, padding of some axes, dilation
WINDOWS = [
    ((2, 9, 8, 5), (1, 2, 2, 1), (1, 2, 2, 1), {}, (1, 1, 1, 1)),
    ((2, 9, 8, 5), (1, 3, 3, 1), (1, 1, 1, 1), {1: (1, 1), 2: (1, 1)}, (1, 1, 1, 1)),
    ((2, 9, 8, 5), (1, 3, 2, 1), (1, 2, 3, 1), {1: (2, 1), 2: (0, 1)}, (1, 2, 1, 1)),
    ((3, 4, 7, 9), (1, 1, 3, 3), (1, 1, 2, 2), {2: (1, 0), 3: (0, 1)}, (1, 1, 1, 1)),
    ((3, 30, 2), (1, 5, 1), (1, 1, 1), {1: (4, 4)}, (1, 2, 1)),
    ((2, 5, 6, 4, 3), (1, 2, 3, 2, 1), (1, 2, 1, 2, 1), {1: (0, 1), 2: (1, 1)}, (1,) * 5),
    ((40,), (8,), (8,), {}, (1,)),
    ((5,), (2,), (2,), {0: (4, 5)}, (1,)),  # some windows hold padding alone
    ((6, 7), (6, 7), (1, 1), {}, (1, 1)),
]


@pytest.mark.parametrize("case", WINDOWS, ids=lambda case: f"{case[0]} {case[1]}")
def test_windows(variant, case):
    shape, window, strides, padding, dilation = case
    padded = tuple(padding.get(d, (0, 0)) for d in range(len(shape)))
    p = {"window": window, "strides": strides, "padding": padded, "dilation": dilation}
    given = Given()
    plain, odd = whole_numbers(*shape), ties_and_nans(*shape, seed=4)
    ps, os = given(plain), given(odd)
    nodes = [
        *(make("window_reduce", ps, op=op, **p) for op in ("sum", "max", "min")),
        *(make("window_reduce", os, op=op, **p) for op in ("max", "min")),
        make("window_argmax", ps, **p),
        make("window_argmax", os, **p),
    ]
    expected = [np.zeros(node.shape, node.dtype.name) for node in nodes]
    for at, counts, indices in windows(plain, p):
        assert tuple(counts) == nodes[0].shape
        few, many = ([x[i] for i in indices] for x in (plain, odd))
        expected[0][at] = sum(few)
        expected[1][at], expected[2][at] = max(few, default=-np.inf), min(few, default=np.inf)
        expected[3][at] = np.max(many, initial=-np.inf)
        expected[4][at] = np.min(many, initial=np.inf)
        for result, values, x in ((expected[5], few, plain), (expected[6], many, odd)):
            first = indices[int(np.argmax(values))] if indices else None
            result[at] = 2**31 - 1 if first is None else np.ravel_multi_index(first, x.shape)
    run(variant, given, nodes, expected)
