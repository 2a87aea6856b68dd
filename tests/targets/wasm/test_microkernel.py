"""The register tile against NumPy: exact float32 sums in the order of k."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tabgrad.targets.wasm.builder import I32, F32x4, F64x2, I32x4, Module, U32x4
from tabgrad.targets.wasm.microkernel import TILE_FMA, TILE_PLAIN, fits_registers, tile
from tests.targets.wasm.machine import Machine

A, B, C, START = 4096, 16384, 32768, 40960
DTYPES = {F32x4: np.float32, F64x2: np.float64, I32x4: np.int32, U32x4: np.uint32}


def product(
    a: Any, b: Any, *, fma: bool = False, dynamic: bool = False, transposed: bool = False,
    padding: int = 0, start: Any = None, kind: Any = F32x4,
) -> Any:  # fmt: skip
    """a @ b with one tile; `padding` elements lie between the rows of b."""
    (mr, k), n = a.shape, b.shape[1]
    size = a.itemsize
    module = Module()
    f = module.function("run", [I32, I32, I32, I32], export=True)
    pa, pb, pc, count = f.params
    a_row, a_step = (size, mr * size) if transposed else (k * size, size)
    accumulators = tile(
        f, kind, pa, pb, mr=mr, nv=n * size // 16, a_row=a_row,
        runs=[(count if dynamic else k, a_step)], b_step=(n + padding) * size, fma=fma,
        start=None if start is None else [
            [kind.load(I32.const(START + (r * n * size) + 16 * v)) for v in range(n * size // 16)]
            for r in range(mr)
        ],
    )  # fmt: skip
    for r, row in enumerate(accumulators):
        for v, vector in enumerate(row):
            f.store(pc + (r * n * size + 16 * v), vector)
    machine = Machine(module)
    machine.write(A, a.T if transposed else a)
    machine.write(B, np.pad(b, ((0, 0), (0, padding))))
    if start is not None:
        machine.write(START, start)
    machine.call("run", A, B, C, k)
    return machine.read(C, (mr, n), a.dtype)


def in_order(a: Any, b: Any, start: Any = None) -> Any:
    """The product in the arrays' own precision, one k after the other."""
    total = np.zeros((a.shape[0], b.shape[1]), a.dtype) if start is None else start.copy()
    for i in range(a.shape[1]):
        total += a[:, i : i + 1] * b[i]
    return total


def numbers(dtype: Any, *shape: int) -> Any:
    random = np.random.default_rng(sum(shape))
    if np.dtype(dtype).kind == "f":
        return random.normal(size=shape).astype(dtype)
    return random.integers(0, 2**31, shape).astype(dtype)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("k", [0, 1, 2, 3, 4, 5, 8, 17, 64])
@pytest.mark.parametrize(("mr", "nv"), [(1, 1), (1, 6), (2, 4), (3, 3), (5, 2), (6, 2), (7, 1)])
def test_plain_tiles_are_bit_exact(mr: int, nv: int, k: int, dynamic: bool) -> None:
    a, b = numbers(np.float32, mr, k), numbers(np.float32, k, 4 * nv)
    got = product(a, b, dynamic=dynamic)
    np.testing.assert_array_equal(got, in_order(a, b))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 12])
@pytest.mark.parametrize("k", [3, 6, 11])
def test_strides_and_start_values(k: int, padding: int, transposed: bool) -> None:
    a, b, start = (numbers(np.float32, *s) for s in ((5, k), (k, 8), (5, 8)))
    got = product(a, b, padding=padding, transposed=transposed, start=start, dynamic=k == 11)
    np.testing.assert_array_equal(got, in_order(a, b, start))


@pytest.mark.parametrize("k", [1, 2, 7, 50])
def test_fused_tiles_are_close_and_independent_of_their_shape(k: int) -> None:
    a, b = numbers(np.float32, 6, k), numbers(np.float32, k, 8)
    whole = product(a, b, fma=True)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    np.testing.assert_allclose(whole, exact, rtol=0, atol=1e-6 * k)
    rows = [product(a[r : r + 1], b, fma=True, dynamic=True) for r in range(6)]
    np.testing.assert_array_equal(whole, np.concatenate(rows))
    columns = [product(a, b[:, c : c + 4].copy(), fma=True) for c in (0, 4)]
    np.testing.assert_array_equal(whole, np.concatenate(columns, axis=1))


@pytest.mark.parametrize("kind", [F64x2, I32x4, U32x4], ids=lambda k: k.__name__)
@pytest.mark.parametrize("fma", [False, True])
def test_other_types(kind: Any, fma: bool) -> None:
    a, b = numbers(DTYPES[kind], 3, 9), numbers(DTYPES[kind], 9, 8)
    got = product(a, b, kind=kind, fma=fma)
    if kind is F64x2:
        np.testing.assert_allclose(got, a @ b, rtol=1e-12)
    else:
        np.testing.assert_array_equal(got, in_order(a, b))


@pytest.mark.parametrize("dynamic", [False, True])
def test_broadcast_vectors_of_b(dynamic: bool) -> None:
    """b_step 0: every k multiplies the same vectors."""
    a, b = numbers(np.float32, 2, 9), numbers(np.float32, 1, 4)
    module = Module()
    f = module.function("run", [I32], export=True)
    k = f.params[0] if dynamic else 9
    rows = tile(
        f, F32x4, I32.const(A), I32.const(B), mr=2, nv=1, runs=[(k, 4)], a_row=36, b_step=0,
        fma=False,
    )  # fmt: skip
    for r in range(2):
        f.store(C + 16 * r, rows[r][0])
    machine = Machine(module)
    machine.write(A, a)
    machine.write(B, b)
    machine.call("run", 9)
    want = in_order(a, np.broadcast_to(b, (9, 4)))
    np.testing.assert_array_equal(machine.read(C, (2, 4), np.float32), want)


@pytest.mark.parametrize("sizes", [(3, 5), (1, 4), (4, 1), (2, 3, 7), (3, 1, 2)])
def test_runs_of_steps(sizes: tuple[int, ...]) -> None:
    """Steps in loops inside each other: A jumps between runs, B is walked through."""
    steps, mr = int(np.prod(sizes)), 3
    a, b = numbers(np.float32, mr, steps), numbers(np.float32, steps, 8)
    # Between the runs of a loop lie 1, 2, ... elements that are not part of the product.
    places = np.zeros(1, int)
    runs, by = [], 1
    for i, size in enumerate(reversed(sizes)):
        places = (np.arange(size)[:, None] * by + places).ravel()
        runs.insert(0, (size, 4 * by))
        by = by * size + i + 1
    memory = np.full((mr, by), np.nan, np.float32)
    memory[:, places] = a
    module = Module()
    f = module.function("run", [I32], export=True)
    for dynamic in (False, True):
        counts = [(f.params[0], runs[0][1]), *runs[1:]] if dynamic else runs
        rows = tile(
            f, F32x4, I32.const(A), I32.const(B), mr=mr, nv=2, runs=counts, a_row=4 * by,
            b_step=32, fma=False,
        )  # fmt: skip
        for r in range(mr):
            for v in range(2):
                f.store(C + 512 * dynamic + 32 * r + 16 * v, rows[r][v])
    machine = Machine(module)
    machine.write(A, memory)
    machine.write(B, b)
    machine.call("run", sizes[0])
    for at in (C, C + 512):
        np.testing.assert_array_equal(machine.read(at, (mr, 8), np.float32), in_order(a, b))


def test_the_named_tiles_are_the_largest_that_fit() -> None:
    for (mr, nv), fma in ((TILE_FMA, True), (TILE_PLAIN, False)):
        assert fits_registers(mr, nv, fma)
        assert not fits_registers(mr + 1, nv, fma)


def test_mistakes() -> None:
    f = Module().function("f", [I32])
    (p,) = f.params
    with pytest.raises(ValueError, match="mr=0, nv=2"):
        tile(f, F32x4, p, p, mr=0, nv=2, runs=[(3, 4)], a_row=4, b_step=16, fma=False)
    with pytest.raises(ValueError, match="runs of steps must not be negative, got -1"):
        tile(f, F32x4, p, p, mr=1, nv=2, runs=[(-1, 4)], a_row=4, b_step=16, fma=False)
