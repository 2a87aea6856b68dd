"""Simplification: each rule does what it says, keeps every bit, and stays away where it may not.
What all of them do to whole graphs is tested in test_simplify_graphs.py.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tabgrad as tg
from tabgrad import jit, ops
from tabgrad.compiler.simplify import keep_activations, simplify
from tabgrad.dtypes import ALL, as_dtype, bool_, float16, float32, int8, int32, int64, uint8, uint32
from tabgrad.engines.reference import evaluate
from tabgrad.ir import build as b
from tabgrad.ir.graph import make, toposort
from tabgrad.ir.text import format_graph
from tabgrad.ir.verify import verify_graph
from tests.ir.graphs import random_arrays
from tests.ir.running import identical

F, G = b.input((2, 3), float32), b.input((2, 3), float32)
I, J = b.input((2, 3), int32), b.input((2, 3), int32)
U = b.input((2, 3), uint32)
P, Q = b.input((2, 3), bool_), b.input((2, 3), bool_)
V = b.input((3,), float32)
S = b.input((), float32)
S1 = b.input((1,), float32)
T3 = b.input((2, 3, 4), float32)
ONE3 = b.input((1, 3, 1), float32)
W = b.input((4, 3), float32)
NONE = b.input((0, 3), float32)


def op(name, *srcs, **params):
    """A node; plain numbers take the shape and dtype of the first source that is a node."""
    like = next(s for s in srcs if not isinstance(s, (int, float)))
    nodes = [b.like(like, s) if isinstance(s, (int, float)) else s for s in srcs]
    return make(name, *nodes, **params)


def sliced(x, start, stop, step=None):
    return make("slice", x, start=start, stop=stop, step=step or (1,) * len(start))


def surrounded(x, low, high, fill=0):
    """x between so many zeros along its last axis."""
    none = (0,) * (len(x.shape) - 1)
    fill = b.const(fill, x.dtype)
    return make("pad", x, fill, low=(*none, low), high=(*none, high), interior=(*none, 0))


def joined(*parts):
    return make("concatenate", *parts, axis=len(parts[0].shape) - 1)


def fold(name, x, *axes):
    return make(f"reduce_{name}", x, axes=axes)


def falses(x):
    return b.full(x.shape, False, bool_)


def trues(x):
    return b.full(x.shape, True, bool_)


RULES = {
    # arithmetic
    "x + -0.0": (op("add", F, -0.0), F),
    "-0.0 + x": (op("add", -0.0, F), F),
    "integer x + 0": (op("add", I, 0), I),
    "x - 0.0": (op("sub", F, 0.0), F),
    "integer x - x": (op("sub", I, I), b.like(I, 0)),
    "x + -y": (op("add", F, b.neg(G)), b.sub(F, G)),
    "-x + y": (op("add", b.neg(F), G), b.sub(G, F)),
    "x - -y": (op("sub", F, b.neg(G)), b.add(F, G)),
    "x * 1": (op("mul", F, 1), F),
    "1 * x": (op("mul", 1, I), I),
    "integer x * 0": (op("mul", I, 0), b.like(I, 0)),
    "x * -1": (op("mul", F, -1), b.neg(F)),
    "-x * -y": (op("mul", b.neg(F), b.neg(G)), b.mul(F, G)),
    "-x * c": (op("mul", b.neg(F), 3.0), op("mul", F, -3.0)),
    "constants last": (op("mul", 3.0, F), op("mul", F, 3.0)),
    "x / 1": (op("div", F, 1), F),
    "x / 8": (op("div", F, 8), op("mul", F, 0.125)),
    "x / -0.25": (op("div", F, -0.25), op("mul", F, -4.0)),
    "x / -1": (op("div", F, -1), b.neg(F)),
    "integer x + 2 + 3": (op("add", op("add", I, 2), 3), op("add", I, 5)),
    "integer x * 2 * -3": (op("mul", op("mul", I, 2), -3), op("mul", I, -6)),
    "integer x // 1": (op("floordiv", I, 1), I),
    "integer x % 1": (op("mod", I, 1), b.like(I, 0)),
    "x ** 0": (op("pow", F, 0), b.like(F, 1)),
    "x ** 1": (op("pow", F, 1), F),
    "x ** 2": (op("pow", F, 2), b.mul(F, F)),
    "integer x ** 2": (op("pow", I, 2), b.mul(I, I)),
    "- -x": (b.neg(b.neg(F)), F),
    "|-x|": (b.unary("abs", b.neg(F)), b.unary("abs", F)),
    "||x||": (b.unary("abs", b.unary("abs", F)), b.unary("abs", F)),
    "|unsigned x|": (b.unary("abs", U), U),
    "floor of round": (b.unary("floor", b.unary("round", F)), b.unary("round", F)),
    "max(x, x)": (op("max", F, F), F),
    "max(x, -inf)": (op("max", F, -math.inf), F),
    "min(x, inf)": (op("min", math.inf, F), F),
    "max of lowest integer": (op("max", I, -(2**31)), I),
    "x and 0": (op("and", I, 0), b.like(I, 0)),
    "x and -1": (op("and", I, -1), I),
    "x or 0": (op("or", U, 0), U),
    "x or all ones": (op("or", U, 2**32 - 1), b.like(U, 2**32 - 1)),
    "x xor -1": (op("xor", I, -1), b.unary("not", I)),
    "p and True": (op("and", P, True), P),
    "p and False": (op("and", P, False), falses(P)),
    "p xor True": (op("xor", P, True), b.unary("not", P)),
    "x << 0": (op("shl", I, 0), I),
    "x >> 0": (op("shr", U, 0), U),
    "tag": (make("tag", F, id=-1), F),
    "stop": (b.unary("stop", F), F),
    # comparison and choice
    "integer x == x": (b.eq(I, I), trues(I)),
    "x < x": (b.lt(F, F), falses(F)),
    "unsigned x < 0": (op("lt", U, 0), falses(U)),
    "0 <= unsigned x": (op("le", 0, U), trues(U)),
    "p == True": (op("eq", P, True), P),
    "p != True": (op("ne", P, True), b.unary("not", P)),
    "p == False": (op("eq", P, False), b.unary("not", P)),
    "not x == y": (b.unary("not", b.eq(F, G)), make("ne", F, G)),
    "not x != y": (b.unary("not", make("ne", F, G)), b.eq(F, G)),
    "not integer x < y": (b.unary("not", b.lt(I, J)), make("le", J, I)),
    "not not p": (b.unary("not", b.unary("not", P)), P),
    "select known": (b.select(falses(F), F, G), G),
    "select of one": (b.select(P, F, F), F),
    "select negated": (b.select(b.unary("not", P), F, G), b.select(P, G, F)),
    "select a bool": (b.select(P, trues(P), falses(P)), P),
    "select the other bool": (b.select(P, falses(P), trues(P)), b.unary("not", P)),
    "select in select": (b.select(P, b.select(P, F, G), b.neg(G)), b.select(P, F, b.neg(G))),
    "select in else": (b.select(P, F, b.select(P, b.neg(G), G)), b.select(P, F, G)),
    "cast to same": (make("cast", F, dtype=float32), F),
    "cast there and back": (b.cast(b.cast(F, as_dtype("float64")), float32), F),
    "cast through more": (b.cast(b.cast(P, int32), float32), b.cast(P, float32)),
    "cast through int32 to int8": (b.cast(b.cast(U, int32), int8), b.cast(U, int8)),
    "bitcast back": (make("bitcast", make("bitcast", F, dtype=int32), dtype=float32), F),
    "bitcast to same": (make("bitcast", F, dtype=float32), F),
    # constants
    "2 + 3": (b.add(b.const(2, int32), b.const(3, int32)), b.const(5, int32)),
    "0.1 + 0.2": (b.add(b.like(F, 0.1), b.like(F, 0.2)), b.full((2, 3), 0.3, float32)),
    "exp 0": (b.unary("exp", b.like(F, 0)), b.like(F, 1)),
    "both broadcast": (
        b.add(b.broadcast(V, (2, 3), (1,)), b.broadcast(S, (2, 3), ())),
        b.broadcast(b.add(V, b.broadcast(S, (3,), ())), (2, 3), (1,)),
    ),
    "scalars": (
        b.mul(b.broadcast(S, (2, 3), ()), b.like(F, 2)),
        b.broadcast(b.mul(S, b.const(2, float32)), (2, 3), ()),
    ),
    "kept axes": (
        b.reshape(b.add(b.unary("log", b.reshape(V, (3, 1))), b.full((3, 1), 2, float32)), (3,)),
        b.add(b.unary("log", V), b.full((3,), 2, float32)),
    ),
    "nothing to compute": (b.unary("tanh", NONE), b.full((0, 3), 0, float32)),
    "no comparison": (b.lt(NONE, NONE), b.full((0, 3), False, bool_)),
    # movement
    "reshape to same": (make("reshape", F, shape=(2, 3)), F),
    "reshape twice": (b.reshape(b.reshape(F, (6,)), (3, 2)), b.reshape(F, (3, 2))),
    "reshape back": (b.reshape(b.reshape(F, (6,)), (2, 3)), F),
    "reshape constant": (b.reshape(b.like(F, 2), (6,)), b.full((6,), 2, float32)),
    "reshape broadcast": (
        b.reshape(b.broadcast(V, (2, 3), (1,)), (1, 2, 1, 3)),
        b.broadcast(V, (1, 2, 1, 3), (3,)),
    ),
    "permute to same": (make("permute", F, axes=(0, 1)), F),
    "permute twice": (
        b.permute(b.permute(T3, (1, 2, 0)), (1, 0, 2)),
        b.permute(T3, (2, 1, 0)),
    ),
    "permute back": (b.permute(b.permute(T3, (1, 2, 0)), (2, 0, 1)), T3),
    "permute ones": (b.permute(ONE3, (1, 0, 2)), b.reshape(ONE3, (3, 1, 1))),
    "permute broadcast": (
        b.permute(b.broadcast(F, (4, 2, 3), (1, 2)), (2, 0, 1)),
        b.broadcast(b.permute(F, (1, 0)), (3, 4, 2), (0, 2)),
    ),
    "broadcast to same": (make("broadcast", F, shape=(2, 3), dims=(0, 1)), F),
    "broadcast twice": (
        b.broadcast(b.broadcast(V, (2, 3), (1,)), (2, 4, 3), (0, 2)),
        b.broadcast(V, (2, 4, 3), (2,)),
    ),
    "broadcast of kept axis": (
        b.broadcast(b.reshape(fold("sum", F, 1), (2, 1)), (2, 3), (0, 1)),
        b.broadcast(fold("sum", F, 1), (2, 3), (0,)),
    ),
    "broadcast of ones": (
        b.broadcast(ONE3, (5, 3, 2), (0, 1, 2)),
        b.broadcast(b.reshape(ONE3, (3,)), (5, 3, 2), (1,)),
    ),
    "broadcast like": (
        make("broadcast_like", V, F, dims=(1,)),
        b.broadcast(V, (2, 3), (1,)),
    ),
    "slice of all": (sliced(F, (0, 0), (2, 3)), F),
    "slice twice": (
        sliced(sliced(W, (1, 0), (4, 3)), (0, 0), (3, 3), (2, 2)),
        sliced(W, (1, 0), (4, 3), (2, 2)),
    ),
    "slice to nothing twice": (
        sliced(sliced(W, (1, 1), (4, 3), (2, 1)), (2, 0), (2, 1)),
        sliced(W, (4, 1), (4, 2), (2, 1)),
    ),
    "slice constant": (sliced(b.like(F, 1), (0, 1), (1, 3)), b.full((1, 2), 1, float32)),
    "slice copies": (
        sliced(b.broadcast(V, (4, 3), (1,)), (1, 1), (3, 3)),
        b.broadcast(sliced(V, (1,), (3,)), (2, 2), (1,)),
    ),
    "flip twice": (
        make("flip", make("flip", F, axes=(0, 1)), axes=(1,)),
        make("flip", F, axes=(0,)),
    ),
    "flip back": (make("flip", make("flip", F, axes=(1,)), axes=(1,)), F),
    "flip ones": (make("flip", ONE3, axes=(0, 2)), ONE3),
    "flip copies": (
        make("flip", b.broadcast(V, (2, 3), (1,)), axes=(0,)),
        b.broadcast(V, (2, 3), (1,)),
    ),
    "flip what is copied": (
        make("flip", b.broadcast(V, (2, 3), (1,)), axes=(0, 1)),
        b.broadcast(make("flip", V, axes=(0,)), (2, 3), (1,)),
    ),
    "pad nothing": (
        make("pad", F, b.const(0, float32), low=(0, 0), high=(0, 0), interior=(0, 0)),
        F,
    ),
    "pad constant": (
        make("pad", b.like(F, 0), b.const(0, float32), low=(1, 0), high=(0, 2), interior=(1, 0)),
        b.full((4, 5), 0, float32),
    ),
    "pad that cuts": (
        make("pad", W, b.const(0, float32), low=(-1, 0), high=(-2, -1), interior=(0, 0)),
        sliced(W, (1, 0), (2, 2)),
    ),
    "pad twice": (
        make(
            "pad",
            make("pad", V, b.const(0, float32), low=(1,), high=(0,), interior=(0,)),
            b.const(0, float32), low=(1,), high=(3,), interior=(0,),
        ),
        make("pad", V, b.const(0, float32), low=(2,), high=(3,), interior=(0,)),
    ),
    "concatenate one": (make("concatenate", F, axis=0), F),
    "concatenate nothing": (
        make("concatenate", b.input((0, 3), float32), F, b.input((0, 3), float32), axis=0),
        F,
    ),
    "parts of a split": (
        b.add(b.add(surrounded(V, 0, 5), surrounded(S1, 7, 0)), surrounded(V, 3, 2)),
        joined(op("add", V, 0.0), op("add", V, 0.0), b.full((1,), 0, float32),
               op("add", S1, 0.0)),
    ),
    "integer parts": (
        b.add(surrounded(I, 0, 3), surrounded(J, 3, 0)),
        joined(I, J),
    ),
    "a part between zeros there are": (
        b.add(joined(V, b.full((1,), 0, float32)), surrounded(S1, 3, 0)),
        joined(op("add", V, 0.0), op("add", S1, 0.0)),
    ),
    # reductions
    "size": (make("size", T3, axes=(0, 2)), b.const(8, int32)),
    "fold nothing": (make("reduce_sum", F, axes=()), F),
    "fold single": (fold("max", ONE3, 0, 2), b.reshape(ONE3, (3,))),
    "fold single and more": (
        fold("sum", b.reshape(F, (2, 1, 3)), 1, 2),
        fold("sum", F, 1),
    ),
    "fold reshaped": (fold("sum", b.reshape(T3, (6, 4)), 0, 1), fold("sum", T3, 0, 1, 2)),
    "fold reshaped by ones": (
        fold("max", b.reshape(F, (1, 2, 1, 3)), 3),
        b.reshape(fold("max", F, 1), (1, 2, 1)),
    ),
    "max of copies": (fold("max", b.broadcast(V, (2, 3), (1,)), 0), V),
    "max of copies and more": (fold("max", b.broadcast(V, (2, 3), (1,)), 0, 1), fold("max", V, 0)),
    "integer sum of copies": (
        fold("sum", b.broadcast(I, (4, 2, 3), (1, 2)), 0),
        op("mul", I, 4),
    ),
    "sum of ones": (fold("sum", b.like(T3, 1), 0, 2), b.full((3,), 8, float32)),
    "sum of sums": (fold("sum", fold("sum", T3, 1), 1), fold("sum", T3, 1, 2)),
    "max of max": (fold("max", fold("max", T3, 0), 0), fold("max", T3, 0, 1)),
    "argmax of one": (make("argmax", ONE3, axis=2), b.full((1, 3), 0, int32)),
    "window of one": (
        make("window_reduce", F, op="sum", window=(1, 1), strides=(1, 1),
             padding=((0, 0), (0, 0)), dilation=(2, 1)),
        F,
    ),
    # contraction and indexing
    "transposed dot": (
        b.permute(make("dot", F, W, contract=((1,), (1,)), batch=((), ())), (1, 0)),
        make("dot", W, F, contract=((1,), (1,)), batch=((), ())),
    ),
    "gather constant": (
        make("gather", W, b.const(2, int32), axis=0),
        b.reshape(sliced(W, (2, 0), (3, 3)), (3,)),
    ),
    "gather constant out of range": (
        make("gather", W, b.full((2,), 9, int32), axis=1),
        b.broadcast(b.reshape(sliced(W, (0, 2), (4, 3)), (4,)), (4, 2), (0,)),
    ),
    "dynamic slice": (
        make("dynamic_slice", W, b.const(-5, int32), b.const(7, int32), sizes=(2, 2)),
        sliced(W, (0, 1), (2, 3)),
    ),
    "dynamic slice of all": (
        make("dynamic_slice", F, *(b.input((), int32) for _ in range(2)), sizes=(2, 3)),
        F,
    ),
    "update of all": (
        make("dynamic_update_slice", F, G, *(b.input((), int32) for _ in range(2))),
        G,
    ),
}  # fmt: skip


# Sums whose order or whose start from 0 changes.
SUMS = ["fold nothing", "fold single and more", "sum of sums", "window of one"]


def values(*nodes):
    """Arrays with special values for all inputs below."""
    inputs = [n for n in toposort(nodes) if n.prim.name == "input"]
    return [dict(zip(inputs, random_arrays(inputs, seed), strict=True)) for seed in range(5)]


@pytest.mark.parametrize("name", RULES)
def test_rule(name):
    before, after = RULES[name]
    (got,) = simplify([before])
    assert got is after, f"\n{format_graph([got])}\nis not\n{format_graph([after])}"
    verify_graph([got], simplified=True)
    for arrays in values(before, after):
        got, want = evaluate([after, before], arrays)
        if name in SUMS:
            np.testing.assert_allclose(got, want, rtol=1e-6)
        else:
            identical(got, want)


BIG = 2.0**127
KEPT = {
    "parts that meet": b.add(surrounded(V, 0, 1), surrounded(V, 1, 0)),
    "parts along two axes": b.add(
        surrounded(F, 0, 3), make("pad", G, b.const(0, float32), low=(0, 1), high=(0, 2),
                                  interior=(0, 0)),
    ),
    "parts between other numbers": b.add(surrounded(V, 0, 3, 1), surrounded(V, 3, 0, 1)),
    "parts between -0.0": b.add(surrounded(V, 0, 3, -0.0), surrounded(V, 3, 0)),
    "a part with holes": b.add(
        surrounded(V, 5, 0), make("pad", V, b.const(0, float32), low=(0,), high=(3,),
                                  interior=(1,)),
    ),
    "x + 0.0 turns -0 into 0": op("add", F, 0.0),
    "x - -0.0 does as well": op("sub", F, -0.0),
    "x * 0 may be NaN or -0": op("mul", F, 0.0),
    "x - x may be NaN": op("sub", F, F),
    "x == x tests for NaN": b.eq(F, F),
    "x <= x too": make("le", F, F),
    "not x < y is true for NaN": b.unary("not", b.lt(F, G)),
    "x + c + d rounds twice": op("add", op("add", F, 0.1), 0.2),
    "x * c * d rounds twice": op("mul", op("mul", F, 0.1), 0.2),
    "x / 3": op("div", F, 3.0),
    "x / 0": op("div", F, 0.0),
    "x / inf": op("div", F, math.inf),
    "a reciprocal that is subnormal": op("div", F, BIG),
    "-(x - y) is -0 where x is y": b.neg(b.sub(F, G)),
    "x ** 0.5 is inf for -inf": op("pow", F, 0.5),
    "x ** 3 rounds once": op("pow", F, 3.0),
    "max(x, inf) may be NaN": op("max", F, math.inf),
    "min(x, -inf)": op("min", F, -math.inf),
    "narrow and back": b.cast(b.cast(F, int32), float32),
    "narrow float and back": b.cast(b.cast(F, float16), float32),
    "floats saturate, integers wrap": b.cast(b.cast(b.input((2,), int8), float32), uint8),
    "rounded once more": b.cast(b.cast(I, float32), as_dtype("float64")),
    "sum of copies rounds": fold("sum", b.broadcast(V, (3, 3), (1,)), 0),
    "sum of many tenths": fold("sum", b.like(F, 0.1), 0, 1),
    "sum beyond whole floats": fold("sum", b.full((2**13, 2**13), 1, float32), 0, 1),
    "product of copies": fold("prod", b.broadcast(V, (3, 3), (1,)), 0),
    "max over an axis of size 1 and another": fold("max", ONE3, 0, 1),
    "max of min": fold("max", fold("min", T3, 0), 0),
    "pad between": make("pad", V, b.const(0, float32), low=(0,), high=(0,), interior=(1,)),
    "frames of two fillings": make(
        "pad", make("pad", V, b.const(1, float32), low=(1,), high=(0,), interior=(0,)),
        b.const(0, float32), low=(1,), high=(0,), interior=(0,),
    ),
    "a cut frame": make(
        "pad", make("pad", V, b.const(0, float32), low=(-1,), high=(0,), interior=(0,)),
        b.const(0, float32), low=(1,), high=(0,), interior=(0,),
    ),
    "reshape that regroups copies": b.reshape(b.broadcast(V, (2, 3), (1,)), (6,)),
    "permute": b.permute(T3, (1, 2, 0)),
    "dot permuted otherwise": b.permute(
        make("dot", T3, W, contract=((1,), (1,)), batch=((), ())), (0, 2, 1)
    ),
    "exp of another constant": b.unary("exp", b.const(1, float32)),
    "a window that shifts": make(
        "window_reduce", V, op="sum", window=(1,), strides=(1,), padding=((1, 0),), dilation=(1,)
    ),
}  # fmt: skip


@pytest.mark.parametrize("why", sorted(set(KEPT) - {"a cut frame"}))
def test_kept(why):
    assert simplify([KEPT[why]]) == [KEPT[why]]


def test_a_cut_frame_is_not_a_frame():
    """What the inner pad cuts off is gone; only the cut becomes a slice."""
    (got,) = simplify([KEPT["a cut frame"]])
    assert got.prim.name == "pad" and got.srcs[0] is sliced(V, (1,), (3,))


def test_what_others_use_is_not_computed_twice():
    for single in (ONE3, b.input((1, 3), float32), b.reshape(V, (1, 3))):
        whole = make("reduce_max", single, axes=tuple(range(len(single.shape))))
        first, again = simplify([whole, sliced(whole, (), ())])
        assert first is again
    partial = fold("sum", T3, 1)
    roots = [fold("sum", partial, 1), partial]
    assert simplify(roots) == roots
    product = make("dot", F, W, contract=((1,), (1,)), batch=((), ()))
    roots = [b.permute(product, (1, 0)), product]
    assert simplify(roots) == roots


# Constant folding against NumPy (the reference's rules are tested against other oracles)

SAMPLES = {
    "f": [0.0, -0.0, 1.0, -1.5, 2.5, 0.1, 3.0, -7.0, 1e-40, 60000.0, math.inf, -math.inf, math.nan],
    "i": [0, 1, -1, 2, 7, -128, 127, -(2**31), 2**31 - 1, 2**62 + 1, -(2**63)],
    "u": [0, 1, 2, 7, 255, 128, 2**32 - 1, 2**63 + 3],
    "b": [False, True],
}
FOLDED = {
    "f": {
        1: "neg abs sign floor ceil round trunc sqrt".split(),
        2: "add sub mul div max min eq ne lt le".split(),
    },
    "i": {
        1: "neg abs sign not".split(),
        2: "add sub mul floordiv mod gcd max min and or xor eq ne lt le".split(),
    },
    "b": {1: ["not"], 2: "and or xor max min eq ne lt le".split()},
}
FOLDED["u"] = FOLDED["i"]


def samples(dtype):
    return [b.const(v, dtype) for v in SAMPLES[dtype.kind]]


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_folded_constants_are_those_of_numpy(dtype):
    for count, names in FOLDED[dtype.kind].items():
        for name in names:
            nodes = [make(name, *p) for p in itertools.product(samples(dtype), repeat=count)]
            check_folded(nodes)


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_folded_conversions_are_those_of_numpy(dtype):
    nodes = [b.cast(x, target) for x in samples(dtype) for target in ALL]
    large = [n for n in nodes if n.srcs and n.dtype.is_float and dtype.is_integer]
    left = {id(n) for n in large if abs(n.srcs[0].params["value"]) > 2**53}
    check_folded([n for n in nodes if id(n) not in left])
    same = [t for t in ALL if t.itemsize == dtype.itemsize and t.kind != "b" != dtype.kind]
    nodes = [make("bitcast", x, dtype=t) for x in samples(dtype) for t in same]
    numbers = [n for n in nodes if all(v == v for v in evaluate([n.srcs[0], n], {}))]
    check_folded(numbers)


@given(st.integers(-(2**40), 2**40), st.integers(0, 9), st.sampled_from([int8, uint32, int64]))
def test_folded_integer_powers_and_shifts(x, y, dtype):
    nodes = [make("pow", b.const(x, dtype), b.const(y, dtype))]
    if y < dtype.bits:
        nodes += [make(n, b.const(x, dtype), b.const(y, dtype)) for n in ("shl", "shr")]
    check_folded(nodes)


@given(st.floats(width=32), st.floats(width=32), st.sampled_from(["float16", "float32", "float64"]))
def test_folded_floats_are_rounded_as_numpy_rounds(x, y, dtype):
    dtype = as_dtype(dtype)
    pair = [b.const(x, dtype), b.const(y, dtype)]
    check_folded([make(n, *pair) for n in ("add", "sub", "mul", "div", "max", "min")])
    check_folded([b.unary("sqrt", pair[0]), b.cast(pair[0], float16), b.cast(pair[0], int32)])


def check_folded(nodes):
    for node, got, want in zip(nodes, simplify(nodes), evaluate(nodes, {}), strict=True):
        assert got.prim.name == "const", format_graph([node])
        identical(*evaluate([got], {}), want)


# relu and its like

SPECIAL = np.array(
    [0, -0.0, 1, -1, 6, 5.999, 7, 1e-45, -1e-45, np.inf, -np.inf, np.nan], np.float32
)


@pytest.mark.parametrize("function", [ops.relu, ops.relu6, lambda x: ops.where(x > 0.5, x, 0.5)])
def test_limits_are_told_from_the_result(function):
    def fn(x, w):
        y = function(ops.matmul(x, w))
        return tg.value_and_grad(lambda x, w: ops.sum(function(ops.matmul(x, w))), (0, 1))(x, w), y

    entry = jit.trace(fn, [((4, 3), "float32", False), ((3, 2), "float32", False)]).graph
    outputs = simplify(entry.outputs)
    verify_graph(outputs, simplified=True)
    (z,) = (n for n in toposort(outputs[:1]) if n.prim.name == "dot")
    users = [n for n in toposort(outputs) if any(s is z for s in n.srcs)]
    # Its own comparison and its own choice: the backward pass does not read z.
    assert sorted(n.prim.name for n in users) in (["le", "select"], ["lt", "select"])
    rng = np.random.default_rng(0)
    arrays = [rng.choice(SPECIAL, size=n.shape) for n in entry.inputs]
    leaves = dict(zip(entry.inputs, arrays, strict=True))
    for got, want in zip(evaluate(outputs, leaves), evaluate(entry.outputs, leaves), strict=True):
        identical(got, want)


LIMITS = {
    "z <= c": lambda z, c: b.select(make("le", z, c), c, z),
    "c <= z": lambda z, c: b.select(make("le", c, z), c, z),
    "c < z": lambda z, c: b.select(b.lt(c, z), z, c),
    "z < c": lambda z, c: b.select(b.lt(z, c), z, c),
}


@pytest.mark.parametrize("c", [0.0, -0.0, 6.0, math.inf, -math.inf])
@pytest.mark.parametrize("form", LIMITS)
def test_limits_agree_on_every_special_value(form, c):
    z = b.input(SPECIAL.shape, float32)
    y = LIMITS[form](z, b.like(z, c))
    (other,) = keep_activations([b.cast(y.srcs[0], int32), y])[:1]
    assert any(n is y for n in toposort([other]))
    identical(*evaluate([b.cast(other, int32), b.cast(y.srcs[0], int32)], {z: SPECIAL}))


NOT_LIMITS = {
    "leaky relu": lambda z: ops.leaky_relu(z, 0.1),
    "the wrong side": lambda z: ops.where(ops.less_equal(z, 0), z, 0.0),
    "another limit": lambda z: ops.where(ops.less_equal(z, 1), 0.0, z),
    "NaN": lambda z: ops.where(ops.less_equal(z, math.nan), math.nan, z),
}


@pytest.mark.parametrize("name", NOT_LIMITS)
def test_other_choices_are_left_alone(name):
    entry = jit.trace(NOT_LIMITS[name], [((3,), "float32", False)]).graph
    (y,) = simplify(entry.outputs)
    (cond,) = (n for n in toposort([y]) if n.dtype is bool_ and n.srcs)
    roots = [y, b.cast(cond, float32)]
    assert keep_activations(roots) == roots


def test_a_limit_under_another_needs_no_cycle():
    z = b.input((4,), float32)
    zero = b.like(z, 0)
    once = b.select(make("le", z, zero), zero, z)
    twice = b.select(make("le", once, zero), zero, once)
    roots = [b.cast(make("le", z, zero), int32), b.cast(make("le", once, zero), int32), twice]
    new = keep_activations(roots)
    verify_graph(new)
    array = np.array([-1, -0.0, 2, np.nan], np.float32)
    for got, want in zip(evaluate(new, {z: array}), evaluate(roots, {z: array}), strict=True):
        identical(got, want)
