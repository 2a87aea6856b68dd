"""Kernels as objects: texts, merged loops, what they read, and which are one function."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest

from tabgrad import ops
from tabgrad.compiler import driver
from tabgrad.compiler.collapse import collapse
from tabgrad.compiler.driver import simplified
from tabgrad.compiler.plan import plan
from tabgrad.dtypes import bool_, float32, int32
from tabgrad.ir import build as b
from tabgrad.ir.entry import Argument, EntryGraph, Result
from tabgrad.ir.graph import make
from tabgrad.ir.index import Dyn, Index, Var
from tabgrad.ir.kernel import (
    Buffer,
    Condition,
    Expr,
    Kernel,
    Store,
    identity,
    kernels_of,
    replace_all,
    walk,
)
from tabgrad.targets.wasm.target import WasmTarget
from tests.compiler.places import value
from tests.compiler.programs import made, made_of, traced
from tests.compiler.random_graphs import Maker

F = "float32"


def entry(outputs, *inputs):
    arguments = [Argument(node, f"x{i}") for i, node in enumerate(inputs)]
    return EntryGraph("test", arguments, [], [Result(n, f"y{i}") for i, n in enumerate(outputs)])


def kernel_texts(result):
    return [kernel.text() for kernel in result.kernels]


# Texts


def test_a_value_used_twice_has_a_line_of_its_own():
    def variance(x):
        return ops.sum(ops.square(x - 1), axis=1) * 0.1 + ops.exp(ops.sum(x, axis=1))

    texts = kernel_texts(made(variance, ((30, 40), F)))
    assert "\n".join(texts).count("let v0 = sub(x0[") == 1


def test_texts_grow_with_the_kernel_not_with_the_paths_through_it():
    x = y = b.input((8,), float32)
    for _ in range(50):
        y = b.mul(y, y)
    (text,) = kernel_texts(made_of(entry([y], x)))
    lines = text.splitlines()
    assert len(lines) < 60 and max(map(len, lines)) < 40
    assert "  let v1 = mul(v0, v0)" in lines


def test_all_sorts_of_kernels_have_readable_texts():
    x, i = b.input((6, 9), float32), b.input((4,), int32)
    padded = make("pad", x, b.const(1.0, float32), low=(0, 2), high=(0, 0), interior=(1, 0))
    nodes = [
        padded,
        make("argmax", x, axis=1),
        make("gather", x, i, axis=0),
        make("scatter", x, i, make("gather", x, i, axis=0), axis=0, op="add"),
        make("bitcast", x, dtype=int32),
    ]
    texts = "\n".join(kernel_texts(made_of(entry(nodes, x, i))))
    for line in (
        "= (x0[i1+(i0)//2*9-2] if i0%2==0 and 0<=i1-2 else 1.0)",
        "acc = argmax over r1<9 of x0[r1+i0*9] at int32(r1)",
        "= x0[i1+[min(max(x1[i0], 0), 5)]*9]",
        "y3[i3+[x1[i2]]*9] += y2[i3+i2*9] if 0<=[x1[i2]]<6",
        "= bitcast:int32(x0[i0])",
    ):
        assert any(each.strip().endswith(line) for each in texts.splitlines()), (line, texts)


def test_loops_are_indented_around_their_kernels():
    def sums(xs):
        return ops.scan(lambda c, x: (c + x, c), ops.zeros((3,)), xs, reverse=True)

    result = made(sums, ((5, 3), F))
    (loop,) = (each for each in result.plan.launches if not isinstance(each, Kernel))
    head, *body = loop.text().splitlines()
    assert head == f"{loop.name}: backwards 5 times"
    assert all(line.startswith("  ") for line in body)


def test_reprs_stay_short():
    expr = Expr("const", float32, value=1.5)
    for _ in range(200):
        expr = Expr("mul", float32, (expr, expr))
    assert repr(expr) == "<mul float32>"
    assert repr(expr.args[0]) == "<mul float32>"
    assert repr(Kernel("map", (), [], name="map_7")) == "<map map_7>"
    assert repr(Expr("neg", float32, (Expr("const", float32, value=0.1),))) == "neg(0.1)"


# Expressions


def nested_gathers(depth):
    table, at = b.input((4,), int32), b.input((2, 3), int32)
    node = at
    for _ in range(depth):
        node = make("gather", table, node, axis=0)
    return entry([node], table, at)


def count(kernel):
    return sum(1 for _ in walk(kernel.expressions()))


def test_gathers_in_gathers_stay_small():
    """Every level is one load and two clamps; replacing loops must not copy what is shared."""
    (small,), (large,) = (made_of(nested_gathers(depth)).kernels for depth in (5, 25))
    assert count(large) <= 5 * count(small) + 10


def test_replacing_keeps_sharing():
    i = Var("i", 9)
    load = Expr("load", float32, buffer=Buffer("x", "input", 9, float32), index=Index.of(i))
    shared = Expr("exp", float32, (load,))
    where = Expr("load", int32, buffer=Buffer("p", "input", 9, int32), index=Index.of(i))
    roots = [
        Expr("add", float32, (shared, shared)),
        Expr("mul", float32, (shared, load)),
        Expr("load", float32, buffer=load.buffer, index=Index.of(Dyn(where, 8))),
        where,
        Expr("const", float32, value=1.0),
    ]
    new = replace_all(roots, {i: Index.of(Var("j", 3)) * 2 + 1})
    assert new[0].args[0] is new[0].args[1] is new[1].args[0]
    assert new[0].args[0].args[0] is new[1].args[1]
    (atom,) = new[2].index.terms
    assert atom.expr is new[3] and new[3].index == Index.of(Var("j", 3)) * 2 + 1
    assert new[4] is roots[4]  # what does not depend on the loop is not copied
    assert [e.index for e in walk([roots[0]]) if e.op == "load"] == [Index.of(i)]


def test_kernels_know_what_decides_where_they_write():
    x, i = b.input((6,), float32), b.input((4,), int32)
    result = made_of(
        entry([make("scatter", x, i, b.full((4,), 1, float32), axis=0, op="set")], x, i)
    )
    scatter = result.kernels[-1]
    assert scatter.kind == "scatter" and [r.name for r in scatter.reads()] == ["x1"]


@pytest.mark.parametrize(("fold", "dtype", "value"), [
    ("sum", float32, 0.0), ("prod", int32, 1), ("max", float32, -float("inf")),
    ("min", int32, 2**31 - 1), ("or", bool_, False), ("and", bool_, True),
])  # fmt: skip
def test_identities(fold, dtype, value):
    assert identity(fold, dtype).value == value


# Merged loops


def holds(condition, env):
    at = value(condition.index, env.__getitem__)
    if condition.modulo != 1:
        return at % condition.modulo == 0
    low, high = condition.low, condition.high
    return (low is None or low <= at) and (high is None or at < high)


def accesses(kernel):
    """For each place a kernel stores to: how often it reads which elements for it."""
    loads = [e for e in walk(kernel.expressions()) if e.index is not None]
    guards = [c for e in walk(kernel.expressions()) for c in e.conditions]
    found = {}
    # These store at every step of their inner loop.
    stepping = kernel.inner if kernel.kind in ("cumulative", "sort") else ()
    loops = (*kernel.space, *stepping)
    for outer in itertools.product(*(range(v.size) for v in loops)):
        env = dict(zip(loops, outer, strict=True))
        places = tuple((s.buffer.name, value(s.index, env.__getitem__)) for s in kernel.stores)
        reads = []
        folded = () if stepping else kernel.inner
        for inner in itertools.product(*(range(v.size) for v in folded)):
            # An epilogue does not depend on the inner loops, and is the same at each point.
            full = env | dict(zip(folded, inner, strict=True))
            at = tuple((e.op, str(e.buffer), value(e.index, full.__getitem__)) for e in loads)
            reads.append((at, tuple(holds(c, full) for c in guards)))
        assert places not in found
        found[places] = sorted(reads)
    return found


def is_static(kernel):
    """No indices read at run time, and few enough points to count."""
    indices = [e.index for e in walk(kernel.expressions()) if e.index is not None]
    indices += [c.index for e in walk(kernel.expressions()) for c in e.conditions]
    indices += [s.index for s in kernel.stores]
    points = np.prod([v.size for v in (*kernel.space, *kernel.inner)], dtype=int)
    return points < 3000 and not any("[" in repr(index) for index in indices)


@pytest.mark.parametrize("block", range(5))
def test_merging_loops_changes_no_access(block):
    """Counted point by point, for kernels of random graphs."""
    merged = 0
    for seed in range(8 * block, 8 * block + 8):
        graph, _ = Maker(seed).make()
        for kernel in kernels_of(plan(simplified(graph)).launches):
            if not is_static(kernel):
                continue
            before = copy.copy(kernel)
            before.stores = list(kernel.stores)
            loops = len(kernel.space) + len(kernel.inner)
            after = collapse(kernel)
            assert len(after.space) + len(after.inner) <= loops
            merged += loops - len(after.space) - len(after.inner)
            assert accesses(after) == accesses(before)
    assert merged > 20


def space_of(node, *inputs):
    (kernel,) = kernels_of(plan(simplified(entry([node], *inputs))).launches)
    kernel = collapse(kernel)
    return [v.size for v in kernel.space], [v.size for v in kernel.inner]


def test_loops_merge_where_all_indices_walk_through_them():
    x = b.input((3, 4, 5), float32)
    assert space_of(b.add(x, x), x) == ([60], [])
    assert space_of(b.permute(x, (0, 2, 1)), x) == ([3, 5, 4], [])
    assert space_of(b.permute(x, (2, 0, 1)), x) == ([5, 12], [])
    assert space_of(b.reshape(x, (5, 12)), x) == ([60], [])
    row = b.input((5,), float32)
    assert space_of(b.add(x, b.broadcast(row, (3, 4, 5), (2,))), x, row) == ([12, 5], [])
    assert space_of(make("slice", x, start=(0, 0, 0), stop=(3, 4, 4), step=(1, 1, 1)), x) == (
        [12, 4],
        [],
    )
    assert space_of(make("flip", x, axes=(0, 1, 2)), x) == ([60], [])
    assert space_of(make("reduce_sum", x, axes=(1, 2)), x) == ([3], [20])
    assert space_of(make("reduce_sum", x, axes=(0, 1)), x) == ([5], [12])
    assert space_of(make("reduce_sum", x, axes=(0, 2)), x) == ([4], [3, 5])
    assert space_of(make("reduce_sum", x, axes=(0, 1, 2)), x) == ([], [60])


def test_loops_of_one_step_are_dropped():
    x = b.input((1, 4, 1, 5, 1), float32)
    assert space_of(make("exp", x), x) == ([20], [])
    one = b.input((1, 1), float32)
    assert space_of(make("exp", one), one) == ([], [])


def test_a_condition_keeps_its_loop_apart():
    x = b.input((6, 4), float32)
    padded = make("pad", x, b.const(0.0, float32), low=(0, 1), high=(0, 1), interior=(0, 0))
    assert space_of(padded, x) == ([6, 6], [])
    below = make("pad", x, b.const(0.0, float32), low=(2, 0), high=(0, 0), interior=(0, 0))
    assert len(space_of(below, x)[0]) <= 2


# One function for equal kernels


def functions(*graphs):
    """The functions that the kernels of several entries of one Program run."""
    entries = driver.compile(graphs, WasmTarget()).entries
    return [name for each in entries for name in each.kernels]


def of_two(rule, size=50, dtype=float32):
    x, y = b.input((size,), dtype), b.input((size,), dtype)
    return entry([rule(x, y)], x, y)


def test_equal_kernels_are_one_function():
    """Also in several entries, and with their arguments in other places."""

    def rule(x, y):
        return b.add(make("exp", x), y)

    unused = b.input((3,), float32)
    x, y = b.input((50,), float32), b.input((50,), float32)
    later = EntryGraph("later", [Argument(n, f"p{i}") for i, n in enumerate((unused, y, x))], [],
                       [Result(rule(x, y), "q")])  # fmt: skip
    names = functions(of_two(rule), of_two(rule), later)
    assert len(names) == 3 and len(set(names)) == 1


DIFFERENT = [
    lambda x, y: b.add(x, y),
    lambda x, y: b.sub(x, y),
    lambda x, y: b.mul(x, y),
    lambda x, y: b.add(x, b.full(x.shape, 2, x.dtype)),
    lambda x, y: b.add(x, b.full(x.shape, 3, x.dtype)),
    lambda x, y: b.add(x, x),
    lambda x, y: b.add(x, make("flip", y, axes=(0,))),
    lambda x, y: b.lt(b.add(x, y), x),
    lambda x, y: b.cast(b.add(x, y), int32),
    lambda x, y: make("pad", x, b.const(0.0, float32), low=(1,), high=(-1,), interior=(0,)),
    lambda x, y: make("pad", x, b.const(0.0, float32), low=(2,), high=(-2,), interior=(0,)),
    lambda x, y: make("reduce_sum", x, axes=(0,)),
    lambda x, y: make("reduce_max", x, axes=(0,)),
    lambda x, y: make("argmax", x, axis=0),
    lambda x, y: make("argmin", x, axis=0),
    lambda x, y: make("reduce_sum", b.mul(x, y), axes=(0,)),
]


def test_different_kernels_are_not():
    names = functions(*map(of_two, DIFFERENT), of_two(DIFFERENT[0], 51),
                      of_two(DIFFERENT[0], dtype=int32))  # fmt: skip
    assert len(set(names)) == len(DIFFERENT) + 2


def test_indices_read_at_run_time_tell_kernels_apart():
    """In a scatter of x - y at y and one of y - x at y, the same name is another argument."""

    def at_second(x, y):
        return make("scatter", b.full((4,), 0, int32), y, b.sub(x, y), axis=0, op="add")

    def at_second_turned(x, y):
        return make("scatter", b.full((4,), 0, int32), y, b.sub(y, x), axis=0, op="add")

    def gathered(x, y):
        return b.add(b.sub(x, y), make("gather", x, y, axis=0))

    def gathered_turned(x, y):
        return b.add(b.sub(y, x), make("gather", x, y, axis=0))

    first, second = (functions(of_two(r, 4, int32)) for r in (at_second, at_second_turned))
    both = functions(*(of_two(r, 4, int32) for r in (at_second, at_second_turned)))
    assert len(set(both)) == len({*first, *second}) + 1  # the filling with zeros is shared
    assert len(set(functions(*(of_two(r, 4, int32) for r in (gathered, gathered_turned))))) == 2


def test_kernels_name_the_node_of_every_store():
    def several(x, y):
        total = x + y
        return total, total * x, ops.sum(total)

    result = made_of(traced(several, ((30,), F), ((30,), F)))
    for kernel in result.kernels:
        assert len(kernel.nodes) == len(kernel.stores)
        for node, store in zip(kernel.nodes, kernel.stores, strict=True):
            assert node.size == store.buffer.size and node.dtype is store.buffer.dtype


def test_conditions_compare_by_value():
    i = Index.of(Var("i", 9))
    assert Condition(i, 0, 5) == Condition(i, 0, 5) != Condition(i, 0, 6)
    assert len({Condition(i, 0, 5), Condition(i, 0, 5), Condition(i, modulo=2)}) == 2
    store = Store(Buffer("y", "output", 9, float32), i, Expr("const", float32, value=0.0))
    assert store.combine == "set" and store.conditions == ()
