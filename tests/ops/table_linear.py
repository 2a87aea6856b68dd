"""The op table, products: inner, vdot, kron, cross, and what einsum must understand.

Products of many shapes, and einsum's plain equations, are in `table_reduction.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.comparing import Array, Case, integers, random


def summed(
    op: str,
    label: str,
    oracle: Callable[..., Any],
    *shapes: tuple[int, ...],
    call: Callable[..., Any] | None = None,
) -> Case:
    """A row with random inputs whose error is counted in units of the sum of magnitudes."""
    inputs = tuple(random(shape, seed) for seed, shape in enumerate(shapes))
    return Case(op, f"{label} {list(map(list, shapes))}", call or getattr(tg.ops, op), oracle,
                inputs, ulp=6, scale=lambda *xs: oracle(*map(np.abs, xs)))  # fmt: skip


def exact(op: str, label: str, oracle: Callable[..., Any], *inputs: Array,
          call: Callable[..., Any] | None = None) -> Case:  # fmt: skip
    return Case(op, label, call or getattr(tg.ops, op), oracle, inputs)


def products() -> Iterator[Case]:
    for left, right in (
        ((4,), (4,)),
        ((2, 3), (4, 3)),
        ((2, 3, 4), (4,)),
        ((), (3,)),
        ((0,), (0,)),
    ):
        yield summed("inner", "", np.inner, left, right)
    for left, right in (((4,), (4,)), ((2, 3), (3, 2)), ((), ()), ((0,), (0,))):
        yield summed("vdot", "", np.vdot, left, right)
    for left, right in (
        ((2,), (3,)),
        ((2, 3), (3, 2)),
        ((2, 3, 2), (4,)),
        ((), (2, 2)),
        ((0,), (2,)),
    ):
        yield summed("kron", "", np.kron, left, right)
    for shapes, options in (
        (((3,), (3,)), {}),
        (((4, 3), (3,)), {}),
        (((5, 1, 3), (4, 3)), {}),
        (((3, 4), (3, 4)), {"axis": 0}),
        (((3, 4), (4, 3)), {"axisa": 0, "axisb": 1, "axisc": 0}),
    ):
        yield Case("cross", f"{shapes} {options}", lambda x, y, o=options: tg.ops.cross(x, y, **o),
                   lambda x, y, o=options: np.cross(x, y, **o),
                   (random(shapes[0]), random(shapes[1], 1)), ulp=2,
                   scale=lambda *xs: np.float64(9.0))  # fmt: skip
    for left, right in (((2,), (2,)), ((2,), (3,)), ((3, 3), (2,))):

        def padded(x: Array) -> Array:
            return np.concatenate([x, np.zeros((*x.shape[:-1], 3 - x.shape[-1]), x.dtype)], -1)

        def oracle(x: Array, y: Array) -> Array:
            found = np.cross(padded(x), padded(y))
            return found[..., 2] if x.shape[-1] == y.shape[-1] == 2 else found

        yield exact("cross", f"of two {left} {right}", oracle, integers(left), integers(right, 1))
    for op, oracle in (("inner", np.inner), ("vdot", np.vdot), ("kron", np.kron),
                       ("outer", np.outer), ("dot", np.dot)):  # fmt: skip
        yield exact(op, "int32", oracle, integers((5,)), integers((5,), 1))
    for dtype in ("int8", "uint8", "int32"):
        yield exact("vecdot", dtype, lambda x, y: np.vecdot(x, y), integers((3, 5), dtype=dtype),
                    integers((5,), 1, dtype=dtype))  # fmt: skip
    yield summed("vecdot", "axis", lambda x, y: np.vecdot(x, y, axis=-2), (2, 3, 4), (3, 1),
                 call=lambda x, y: tg.vecdot(x, y, axis=-2))  # fmt: skip
    special = np.float32([0.0, -0.0, np.inf, np.nan, -2])
    yield exact("outer", "special values", np.outer, special, special)
    yield summed("tensordot", "axes as numbers", lambda x, y: np.tensordot(x, y, (1, 0)), (2, 3),
                 (3, 4), call=lambda x, y: tg.tensordot(x, y, (1, 0)))  # fmt: skip


EQUATIONS = (
    ("...ij,...jk", [(2, 1, 3, 4), (5, 4, 2)]),
    ("...,...->...", [(3, 1), (1, 4)]),
    ("i...->...i", [(2, 3, 4)]),
    ("...ii->...i", [(2, 3, 3)]),
    ("ijij->ij", [(2, 3, 2, 3)]),
    ("iijj,jk->ik", [(2, 2, 3, 3), (3, 4)]),
    ("iii", [(3, 3, 3)]),
    ("ij,ij->", [(3, 4), (3, 4)]),
    ("ij,kl->ijkl", [(2, 3), (2, 2)]),
    ("ij,jk->ki", [(3, 4), (4, 5)]),
    ("ij,jk->ik", [(3, 1), (4, 5)]),
    ("ab,bc,cd,de->ae", [(2, 9), (9, 3), (3, 8), (8, 2)]),
    ("ab,bc,cd,de->", [(2, 3), (3, 4), (4, 3), (3, 2)]),
    ("i,i,i,i->i", [(5,), (5,), (5,), (5,)]),
    ("a,b,c,d,e,f,g,h,a->bh", [(2,)] * 8 + [(2,)]),
    ("bhqd,bhkd,bhkv->bhqv", [(2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 3)]),
    ("ba,ca,ca->bc", [(3, 4), (5, 4), (5, 4)]),
    (",ij->ij", [(), (2, 3)]),
    ("ij->", [(0, 3)]),
    ("ij,jk->ik", [(2, 0), (0, 3)]),
    (" i j , j k -> i k ", [(2, 3), (3, 4)]),
    ("Zz,zA->AZ", [(2, 3), (3, 4)]),
)


def equations() -> Iterator[Case]:
    for equation, shapes in EQUATIONS:
        yield summed("einsum", equation, lambda *xs, e=equation: np.einsum(e, *xs), *shapes,
                     call=lambda *xs, e=equation: tg.einsum(e, *xs))  # fmt: skip
    chain = "ab,bc,cd->ad"
    yield summed("einsum", "in order", lambda *xs: np.einsum(chain, *xs), (2, 3), (3, 4), (4, 2),
                 call=lambda *xs: tg.einsum(chain, *xs, optimize=False))  # fmt: skip
    yield exact("einsum", "int32", lambda x, y: np.einsum("ij,jk->ki", x, y), integers((3, 4)),
                integers((4, 2), 1), call=lambda x, y: tg.einsum("ij,jk->ki", x, y))  # fmt: skip

    def mine(x: tg.Tensor, y: tg.Tensor) -> list[tg.Tensor]:
        found = tg.einsum("ij,jk->ki", tg.complex(x, y), y)
        return [tg.real(found), tg.imag(found)]

    def theirs(x: Array, y: Array) -> list[Array]:
        found = np.einsum("ij,jk->ki", x + 1j * y, y)
        return [found.real, found.imag]

    yield Case("einsum", "complex", mine, theirs, (random((3, 3)), random((3, 3), 1)), ulp=8,
               scale=lambda *xs: [np.float64(30.0)] * 2)  # fmt: skip


CASES = [case for part in (products, equations) for case in part()]
