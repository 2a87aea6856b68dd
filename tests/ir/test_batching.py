"""The batching rule of every primitive against a loop, for each choice of batched sources."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabgrad import dtypes
from tabgrad.dtypes import as_dtype
from tabgrad.engines.reference import evaluate
from tabgrad.ir import build as b
from tabgrad.ir.batching import batched
from tabgrad.ir.graph import PRIMITIVES, Graph, Node, Primitive, make
from tabgrad.ir.reverse import cotangents
from tests.ir.graphs import gallery, random_arrays, random_graphs
from tests.ir.running import conv
from tests.ir.test_gradients import CASES as SMOOTH
from tests.ir.test_gradients import distinct

BATCH = 3


@dataclass
class Case:
    """A primitive with one array for each source."""

    name: str
    arrays: list[np.ndarray]
    params: dict[str, Any]
    label: str = ""


def _arrays(nodes: tuple[Node, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    found = []
    for node in nodes:
        if node.dtype.kind == "b":
            found.append(rng.random(node.shape) < 0.5)
        elif node.dtype.is_float:
            found.append(rng.normal(size=node.shape).astype(node.dtype.name))
        else:
            found.append(rng.integers(0, 4, node.shape).astype(node.dtype.name))
    return found


def _cases() -> list[Case]:
    cases = []
    for smooth in SMOOTH:
        arrays = smooth.arrays()
        for position, array in smooth.fixed.items():
            arrays.insert(position, array)
        cases.append(Case(smooth.name, arrays, smooth.params, smooth.label))
    for name, node in gallery().items():
        if node.prim.family == "leaf" or name == "proj":
            continue
        if name in {case.name for case in cases}:
            continue
        source = node.srcs[0] if node.prim.name == "proj" else node
        cases.append(Case(name, _arrays(source.srcs), dict(source.params)))
    return cases


def _more() -> list[Case]:
    rng = np.random.default_rng(5)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape)

    def index(*values: int) -> np.ndarray:
        return np.array(values, np.int32)

    odd = ((2, 0, 3, 1), (1, 3, 0, 2), (3, 1, 0, 2))
    return [
        Case("conv", [normal(4, 6, 3, 5), normal(2, 4, 3, 2)],
             conv(dims=odd, groups=2, strides=(2, 1), padding=((1, 0), (0, 2))), "odd groups"),
        Case("conv", [normal(4, 2, 5), normal(6, 2, 3)], conv(1, batch_groups=2), "batch groups"),
        Case("conv", [normal(2, 6, 5), normal(6, 1, 3)], conv(1, groups=6), "depthwise"),
        Case("dot", [normal(2, 5, 3, 4), normal(4, 2, 6, 3)],
             {"contract": ((2, 3), (3, 0)), "batch": ((0,), (1,))}, "batched"),
        Case("gather", [normal(3, 5, 2), index(0, 9, -1, 2).reshape(2, 2)], {"axis": 1}, "middle"),
        Case("gather", [normal(4), np.int32(2)], {"axis": 0}, "one"),
        Case("scatter", [normal(3, 5, 2), index(0, 9, 4, 0).reshape(2, 2), normal(3, 2, 2, 2)],
             {"axis": 1, "op": "set"}, "middle"),
        Case("scatter", [normal(4), np.int32(2), normal()], {"axis": 0, "op": "add"}, "one"),
        Case("reduce_max", [rng.random((2, 3)) < 0.5], {"axes": (1,)}, "any"),
        Case("pad", [rng.integers(0, 9, (2, 3)).astype(np.int32), np.int32(5)],
             {"low": (1, -1), "high": (0, 2), "interior": (0, 1)}, "integers"),
        Case("dynamic_slice", [normal(), ], {"sizes": ()}, "0-d"),
    ]  # fmt: skip


CASES = [*_cases(), *_more()]


def test_every_primitive_has_a_rule():
    without = {
        name
        for name, prim in PRIMITIVES.items()
        if type(prim).batch is Primitive.batch and prim.family != "leaf" and name != "proj"
    }
    assert not without
    assert {case.name for case in CASES} == {
        name for name, prim in PRIMITIVES.items() if prim.family != "leaf" and name != "proj"
    }


def _varied(array: np.ndarray, k: int) -> np.ndarray:
    """Another array of the same kind for each example."""
    array = np.asarray(array)
    moved = np.roll(array.ravel(), k).reshape(array.shape)
    if array.dtype.kind == "f":
        return (moved * (1 + 0.125 * k)).astype(array.dtype)
    if array.dtype.kind == "b":
        return moved ^ (k == 1)
    return moved if array.size > 1 else (moved + k).astype(array.dtype)


def _choices(count: int) -> list[tuple[bool, ...]]:
    if count <= 4:
        return [c for c in itertools.product((True, False), repeat=count) if any(c)]
    single = [tuple(i == j for i in range(count)) for j in range(count)]
    return [(True,) * count, *single]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.name} {c.label}".strip())
def test_batched_is_looped(case):
    for flags in _choices(len(case.arrays)):
        plain = [b.input(np.shape(a), as_dtype(np.asarray(a).dtype.name)) for a in case.arrays]
        node = make(case.name, *plain, **case.params)
        outs = [node] if len(node.outs) == 1 else [b.proj(node, i) for i in range(len(node.outs))]
        many = [np.stack([_varied(a, k) for k in range(BATCH)]) for a in case.arrays]
        twins = {
            x: b.input(a.shape, x.dtype)
            for x, a, flag in zip(plain, many, flags, strict=True)
            if flag
        }
        found = batched(outs, twins)
        assert all(flag for _, flag in found)
        leaves = {
            twins.get(x, x): a if flag else one
            for x, a, one, flag in zip(plain, many, case.arrays, flags, strict=True)
        }
        got = evaluate([new for new, _ in found], leaves)
        for k in range(BATCH):
            here = {
                x: a[k] if flag else one
                for x, a, one, flag in zip(plain, many, case.arrays, flags, strict=True)
            }
            for one, all_of_them in zip(evaluate(outs, here), got, strict=True):
                np.testing.assert_allclose(
                    all_of_them[k], one, rtol=1e-6, atol=1e-12, err_msg=f"{flags}, example {k}"
                )


def test_what_does_not_depend_on_the_batch_stays():
    x, y = b.input((2,), dtypes.float32), b.input((2,), dtypes.float32)
    twin = b.input((5, 2), dtypes.float32)
    apart = b.neg(y)
    (kept, is_batched), (both, _) = batched([apart, b.add(x, apart)], {x: twin})
    assert kept is apart
    assert not is_batched
    assert both.shape == (5, 2)


def test_a_batch_of_nothing():
    x = b.input((2,), dtypes.float32)
    (out, _) = batched([make("reduce_sum", b.mul(x, x), axes=(0,))], {x: b.input((0, 2), x.dtype)})[
        0
    ]
    assert out.shape == (0,)


def test_custom_gradients_are_mapped():
    g, x, k = (b.input((), dtypes.float64) for _ in range(3))
    back = Graph([g, x, k], [b.mul(g, b.mul(x, k))])
    y, factor = b.input((), dtypes.float64), b.input((), dtypes.float64)
    node = make("custom", make("exp", y), y, factor, back=back, n_out=1, n_x=1)
    ys = distinct((4,), 1, -1.0, 1.0)
    for shared in (False, True):
        twin = b.input((4,), dtypes.float64)
        ((out, _),) = batched([node], {factor: twin} if shared else {y: twin})
        (slope,) = cotangents([out], [b.like(out, 1)], [y if shared else twin])
        leaves = {twin: ys, (y if shared else factor): np.float64(2)}
        (got,) = evaluate([slope], leaves)
        np.testing.assert_allclose(got, (2 * ys).sum() if shared else 2 * ys)


@given(random_graphs(), st.integers(0, 2**16), st.lists(st.booleans(), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_random_graphs(graph, seed, chosen):
    plain, outs = graph
    many = [random_arrays(plain, seed + k) for k in range(BATCH)]
    flags = chosen[: len(plain)] if any(chosen[: len(plain)]) else [True] * len(plain)
    twins = {
        x: b.input((BATCH, *x.shape), x.dtype) for x, on in zip(plain, flags, strict=True) if on
    }
    leaves = {
        twins.get(x, x): np.stack([arrays[i] for arrays in many]) if on else many[0][i]
        for i, (x, on) in enumerate(zip(plain, flags, strict=True))
    }
    found = batched(outs, twins)
    got = evaluate([new for new, _ in found], leaves)
    for k in range(BATCH):
        here = {
            x: many[k if on else 0][i] for i, (x, on) in enumerate(zip(plain, flags, strict=True))
        }
        for one, value, (_, is_batched) in zip(evaluate(outs, here), got, found, strict=True):
            np.testing.assert_array_equal(value[k] if is_batched else value, one)
