"""Convolutions and their gradients for the tests of this folder, and what they are in float64."""

from __future__ import annotations

import itertools

import numpy as np

from tabgrad.ir.graph import make
from tabgrad.ir.reverse import cotangents
from tests.ir.running import conv
from tests.targets.wasm.arrays import whole_numbers
from tests.targets.wasm.computing import Given, compute

LAST = {1: ((0, 2, 1), (2, 1, 0), (0, 2, 1)), 2: ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)),
        3: ((0, 4, 1, 2, 3), (4, 3, 0, 1, 2), (0, 4, 1, 2, 3))}  # fmt: skip


def first(rank):
    return (tuple(range(rank + 2)),) * 3


def convolve(x, w, p):
    """lax.conv_general_dilated in float64, tap by tap."""
    lhs, rhs, out = p["dims"]
    x, w = x.astype(np.float64).transpose(lhs), w.astype(np.float64).transpose(rhs)
    rank = x.ndim - 2
    for d in range(rank):
        axis, hole = d + 2, p["lhs_dilation"][d]
        low, high = p["padding"][d]
        size = (x.shape[axis] - 1) * hole + 1
        wide = np.zeros((*x.shape[:axis], max(low, 0) + size + max(high, 0), *x.shape[axis + 1 :]))
        at = [slice(None)] * x.ndim
        at[axis] = slice(max(low, 0), max(low, 0) + size, hole)
        wide[tuple(at)] = x
        at[axis] = slice(max(-low, 0), wide.shape[axis] - max(-high, 0))
        x = wide[tuple(at)]
    groups, batch_groups = p["groups"], p["batch_groups"]
    xs = np.split(x, groups, 1) if batch_groups == 1 else np.split(x, batch_groups, 0)
    parts = []
    for part, kernel in zip(xs, np.split(w, max(groups, batch_groups), 0), strict=True):
        total = None
        spans = [(n - 1) * d for n, d in zip(w.shape[2:], p["rhs_dilation"], strict=True)]
        for place in itertools.product(*map(range, w.shape[2:])):
            at = [slice(None)] * 2
            for d in range(rank):
                start = place[d] * p["rhs_dilation"][d]
                at.append(slice(start, part.shape[d + 2] - spans[d] + start, p["strides"][d]))
            tap = np.einsum("bi...,oi->bo...", part[tuple(at)], kernel[(..., *place)])
            total = tap if total is None else total + tap
        parts.append(total)
    return np.concatenate(parts, 1).transpose(np.argsort(out))


def conv_case(x_shape, w_shape, **params):
    rank = len(x_shape) - 2
    return x_shape, w_shape, conv(rank, **({"dims": LAST[rank]} | params))


def check_convolutions(variant, cases):
    given, nodes, expected = Given(), [], []
    for i, (x_shape, w_shape, p) in enumerate(cases):
        x, w = whole_numbers(*x_shape, seed=i), whole_numbers(*w_shape, seed=100 + i)
        nodes.append(make("conv", given(x), given(w), **p))
        expected.append(convolve(x, w, p))
    got = compute(nodes, given.arrays, variant)
    for case, mine, true in zip(cases, got, expected, strict=True):
        np.testing.assert_array_equal(mine, true, err_msg=str(case))


def gradients(x_shape, w_shape, p):
    """Both cotangents of a convolution: inputs, nodes, and true values at a few places."""
    given = Given()
    x, w = whole_numbers(*x_shape), whole_numbers(*w_shape, seed=1)
    inputs = [given(x), given(w)]
    y = make("conv", *inputs, **p)
    slope = whole_numbers(*y.shape, seed=2)
    nodes = cotangents([y], [given(slope)], inputs)
    # A convolution is linear in both operands: an element of a cotangent is what a one in its
    # place would add.
    rng, picks = np.random.default_rng(3), []
    for operand, base in enumerate((x, w)):
        for flat in rng.choice(base.size, min(base.size, 40), replace=False):
            one = np.zeros(base.shape)
            one.flat[flat] = 1
            moved = convolve(x, one, p) if operand else convolve(one, w, p)
            picks.append((operand, flat, float(np.sum(moved * slope))))
    return given, nodes, picks
