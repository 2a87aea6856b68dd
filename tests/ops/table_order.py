"""The op table: sorting, searching, distinct elements, order statistics and bins, against NumPy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.comparing import (
    SIZES,
    VIEWS,
    Array,
    Case,
    integers,
    random,
    special_floats,
    special_integers,
)

DTYPES = (
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16",
    "float32", "float64",
)  # fmt: skip
SHAPES = (((1,), 0), ((17,), -1), ((300,), 0), ((5, 17), 0), ((5, 17), 1), ((2, 3, 9), 1))


def few(shape: tuple[int, ...], seed: int = 1) -> Array:
    """Floats with many that are equal."""
    return np.float32(integers(shape, seed, -4, 5))


def placed(x: Array, axis: int | None, descending: bool) -> Array:
    """The stable order; NaNs come first where the largest do."""
    if not descending:
        return np.argsort(x, axis, kind="stable").astype(np.int32)
    line, at = (x.ravel(), 0) if axis is None else (x, axis)
    turned = np.flip(np.argsort(np.flip(line, at), at, kind="stable"), at)
    return (line.shape[at] - 1 - turned).astype(np.int32)


def in_order(x: Array, axis: int | None, descending: bool) -> Array:
    line, at = (x.ravel(), 0) if axis is None else (x, axis)
    return np.take_along_axis(line, placed(x, axis, descending), at)


def sorting() -> Iterator[Case]:
    pairs = [*SHAPES, *(((n,), 0) for n in SIZES), *(((n, 3), 0) for n in SIZES), ((0, 4), 1)]
    pairs += [((4, 0), 1), ((3, 4), None), ((3, 64), 1), ((2, 65), 1), ((1000,), 0)]
    for shape, axis in dict.fromkeys(pairs):
        for view in VIEWS:
            for descending in (False, True):
                quick = view == "as given" and not descending and shape not in SIZES
                quick |= shape == (5, 17) and axis == 1
                for op, oracle in (("sort", in_order), ("argsort", placed)):
                    yield Case(
                        op, f"{list(shape)} axis {axis} descending {descending}, {view}",
                        lambda x, op=op, axis=axis, descending=descending: getattr(tg.ops, op)(
                            x, axis, descending
                        ),
                        lambda x, oracle=oracle, axis=axis, descending=descending: oracle(
                            x, axis, descending
                        ),
                        (few(shape),), view=view, slow=not quick,
                    )  # fmt: skip
    for dtype in DTYPES:
        with np.errstate(over="ignore"):
            values = special_floats().astype(dtype) if dtype[0] == "f" else special_integers(dtype)
        values = np.random.default_rng(3).permutation(np.concatenate([values, values]))
        for descending in (False, True):
            for op, oracle in (("sort", in_order), ("argsort", placed)):
                yield Case(
                    op, f"special {dtype} descending {descending}",
                    lambda x, op=op, descending=descending: getattr(tg.ops, op)(
                        x, descending=descending
                    ),
                    lambda x, oracle=oracle, descending=descending: oracle(x, 0, descending),
                    (values,),
                )  # fmt: skip
    yield Case("sort", "in order already", tg.ops.sort, np.sort, (np.arange(100, dtype="int32"),))
    yield Case(
        "sort", "backwards", tg.ops.sort, np.sort, (np.arange(100, dtype="int32")[::-1].copy(),)
    )


def partitions() -> Iterator[Case]:
    values = np.random.default_rng(1).permutation(17).astype(np.float32)
    for kth in (0, 5, -1):
        yield Case(
            "partition", f"{kth}", lambda x, kth=kth: tg.ops.partition(x, kth)[kth],
            lambda x, kth=kth: np.partition(x, kth)[kth], (values,),
        )  # fmt: skip
        yield Case(
            "argpartition", f"{kth}", lambda x, kth=kth: tg.ops.argpartition(x, kth)[kth],
            lambda x, kth=kth: np.argpartition(x, kth)[kth].astype(np.int32), (values,),
        )  # fmt: skip
    keys = (integers((9,), 1, 0, 3), integers((9,), 2, 0, 3), few((9,)))
    yield Case(
        "lexsort", "three keys", lambda *k: tg.ops.lexsort(list(k)),
        lambda *k: np.lexsort(k).astype(np.int32), keys,
    )  # fmt: skip
    yield Case(
        "lexsort", "rows of keys", lambda k: tg.ops.lexsort(k, axis=0),
        lambda k: np.lexsort(k, 0).astype(np.int32), (integers((2, 5, 3), 1, 0, 3),),
    )  # fmt: skip


def ranking() -> Iterator[Case]:
    for shape, k in (((7,), 3), ((3, 9), 1), ((2, 2, 5), 5), ((4, 17), 0)):
        yield Case(
            "top_k", f"{list(shape)} {k}", lambda x, k=k: tg.ops.top_k(x, k),
            lambda x, k=k: [in_order(x, -1, True)[..., :k], placed(x, -1, True)[..., :k]],
            (few(shape),),
        )  # fmt: skip
    scores = np.float32([[1, 3, 3, 2], [0, np.nan, 5, 1], [np.inf, 1, 2, 3], [4, 4, 4, 4]])
    for k, hits in ((1, [1, 0, 0, 1]), (2, [1, 0, 0, 1]), (3, [1, 0, 1, 1])):
        yield Case(
            "in_top_k", f"{k}", lambda t, p, k=k: tg.ops.in_top_k(t, p, k),
            lambda t, p, hits=hits: np.array(hits, bool),
            (np.array([1, 1, 2, 0], np.int32), scores),
        )  # fmt: skip
    yield Case(
        "in_top_k", "counted", lambda t, p: tg.ops.in_top_k(t, p, 2),
        lambda t, p: (p > np.take_along_axis(p, t[:, None], 1)).sum(1) < 2,
        (np.array([1, 0, 2, 3], np.int32), few((4, 4))),
    )  # fmt: skip
    yield Case(
        "in_top_k", "targets that are no column", lambda t, p: tg.ops.in_top_k(t, p, 4),
        lambda t, p: np.array([False, False, True, True]),
        (np.array([-1, 4, 1, 2], np.int32), np.where(np.isfinite(scores), scores, 0)),
    )  # fmt: skip


def searching() -> Iterator[Case]:
    for n in SIZES:
        for side in ("left", "right"):
            yield Case(
                "searchsorted", f"{n} {side}",
                lambda s, v, side=side: tg.ops.searchsorted(s, v, side),
                lambda s, v, side=side: np.searchsorted(s, v, side).astype(np.int32),
                (np.sort(few((n,))), few((3, 5), 2)), slow=n in (3, 5, 9),
            )  # fmt: skip
    line = np.float32([-np.inf, -1, 0, 0, 2, np.inf, np.nan, np.nan])
    asked = np.float32([np.nan, np.inf, -np.inf, -0.0, 1, 2])
    for side in ("left", "right"):
        yield Case(
            "searchsorted", f"special {side}",
            lambda s, v, side=side: tg.ops.searchsorted(s, v, side),
            lambda s, v, side=side: np.searchsorted(s, v, side).astype(np.int32), (line, asked),
        )  # fmt: skip
    yield Case(
        "searchsorted", "sorter",
        lambda s, v, i: tg.ops.searchsorted(s, v, sorter=i),
        lambda s, v, i: np.searchsorted(s, v, sorter=i).astype(np.int32),
        (np.int32([3, 1, 2]), np.int32([2, 3, 4]), np.int32([1, 2, 0])),
    )  # fmt: skip
    edges = np.float32([-2, 0, 0.5, 3])
    for name, bins in (("rising", edges), ("falling", edges[::-1].copy()), ("one", edges[:1])):
        for right in (False, True):
            yield Case(
                "digitize", f"{name} right {right}",
                lambda x, e, right=right: tg.ops.digitize(x, e, right),
                lambda x, e, right=right: np.digitize(x, e, right).astype(np.int32),
                (np.concatenate([random((9,)), edges]), bins),
            )  # fmt: skip
    for invert in (False, True):
        for size in (0, 1, 7):
            yield Case(
                "isin", f"{size} invert {invert}",
                lambda x, y, invert=invert: tg.ops.isin(x, y, invert=invert),
                lambda x, y, invert=invert: np.isin(x, y, invert=invert),
                (few((4, 5)), few((size,), 2)),
            )  # fmt: skip
    yield Case(
        "isin", "NaN", tg.ops.isin, np.isin,
        (np.float32([np.nan, 0, np.inf]), np.float32([np.nan, -0.0, 1])),
    )  # fmt: skip


def as_int32(found: Any) -> list[Array]:
    """NumPy's indices in the dtype of ours."""
    return [np.asarray(x).astype(np.int32) for x in found]


def places() -> Iterator[Case]:
    inputs = {
        "rows": integers((5, 7), 1, 0, 2),
        "bools": random((9, 2)) > 0,
        "floats": np.float32([0, -0.0, np.nan, 1e-45, np.inf]),
        "nothing": np.zeros((0, 3), np.int32),
        "all zero": np.zeros((4,), np.float32),
    }
    for name, x in inputs.items():
        yield Case("nonzero", name, tg.ops.nonzero, lambda x: as_int32(np.nonzero(x)), (x,))
        yield Case(
            "argwhere", name, tg.ops.argwhere, lambda x: np.argwhere(x).astype(np.int32), (x,)
        )
        yield Case(
            "flatnonzero", name, tg.ops.flatnonzero,
            lambda x: np.flatnonzero(x).astype(np.int32), (x,),
        )  # fmt: skip
    for size in (0, 2, 6):
        yield Case(
            "nonzero", f"size {size}",
            lambda x, size=size: tg.ops.nonzero(x, size=size, fill_value=-1),
            lambda x, size=size: [
                np.concatenate([i[:size], np.full(max(size - len(i), 0), -1)]).astype(np.int32)
                for i in np.nonzero(x)
            ],
            (np.int32([[0, 5, 0], [7, 8, 9]]),),
        )  # fmt: skip


def distinct() -> Iterator[Case]:
    def oracle(name: str) -> Callable[[Array], list[Array]]:
        def found(x: Array) -> list[Array]:
            values, *rest = np.unique_all(x)
            kept = {
                "unique_all": rest, "unique_counts": rest[2:], "unique_inverse": rest[1:2],
                "unique_values": [],
            }[name]  # fmt: skip
            return [values, *as_int32(kept)]

        return found

    inputs = {
        "rows": integers((5, 7), 1, 0, 6),
        "bools": random((9, 2)) > 0,
        "bytes": integers((40,), 2, 0, 9, "uint8"),
        "floats": np.float32([2, np.nan, -0.0, np.inf, 0.0, np.nan, 2]),
        "nothing": np.zeros((0, 3), np.int32),
        "one": np.float32([3]),
    }
    for name in ("unique_all", "unique_counts", "unique_inverse", "unique_values"):
        for label, x in inputs.items():
            yield Case(name, label, getattr(tg.ops, name), oracle(name), (x,))
    everything = {"return_index": True, "return_inverse": True, "return_counts": True}
    yield Case("unique", "values", tg.ops.unique, np.unique, (inputs["rows"],))
    for axis in (0, 1):
        yield Case(
            "unique", f"slices of axis {axis}",
            lambda x, axis=axis: tg.ops.unique(x, axis=axis, **everything),
            lambda x, axis=axis: [
                (found := np.unique(x, axis=axis, **everything))[0],
                *(i.reshape(-1) for i in as_int32(found[1:])),
            ],
            (np.int32([[1, 0, 1, 0], [2, 2, 2, 2], [1, 0, 1, 0]]),),
        )  # fmt: skip
    for size, expected in ((2, [1, 3]), (5, [1, 3, 4, 9, 9])):
        yield Case(
            "unique", f"size {size}",
            lambda x, size=size: tg.ops.unique(x, size=size, fill_value=9),
            lambda x, expected=expected: np.int32(expected), (np.int32([3, 1, 4, 1]),),
        )  # fmt: skip


METHODS = (
    "linear", "lower", "higher", "midpoint", "nearest", "inverted_cdf", "averaged_inverted_cdf",
    "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull", "median_unbiased",
    "normal_unbiased",
)  # fmt: skip


def quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of NumPy without its warning about rows of nothing but NaN."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return function(*args, **kwargs)

    return call


def order_statistics() -> Iterator[Case]:
    x = random((5, 8), 3)
    holes = x.copy()
    holes[0, 3], holes[2, 1:], holes[3] = np.nan, np.nan, np.nan
    size = {"ulp": 8.0, "scale": lambda x: np.abs(np.nan_to_num(x)).max()}
    for method in METHODS:
        for q in (0.0, 0.3, 0.5, 1.0):
            yield Case(
                "quantile", f"{method} {q}",
                lambda x, method=method, q=q: tg.ops.quantile(x, q, axis=1, method=method),
                lambda x, method=method, q=q: np.quantile(x, q, axis=1, method=method), (x,),
                **size, slow=q == 0.3 and method != "linear",
            )  # fmt: skip
        yield Case(
            "nanquantile", method,
            lambda x, method=method: tg.ops.nanquantile(x, [0.25, 0.6], axis=1, method=method),
            quiet(lambda x, method=method: np.nanquantile(x, [0.25, 0.6], axis=1, method=method)),
            (holes,), ulp=32.0, scale=size["scale"],
        )  # fmt: skip
    for axis in (None, 0, (0, 1)):
        for keepdims in (False, True):
            options = {"axis": axis, "keepdims": keepdims}
            for op in ("percentile", "nanpercentile"):
                yield Case(
                    op, f"axis {axis} keepdims {keepdims}",
                    lambda x, op=op, options=options: getattr(tg.ops, op)(
                        x, [[5, 40], [90, 100]], **options
                    ),
                    quiet(lambda x, op=op, options=options: getattr(np, op)(
                        x, [[5, 40], [90, 100]], **options
                    )),
                    (holes if op[0] == "n" else x,), ulp=64.0, scale=size["scale"],
                )  # fmt: skip
            for op in ("median", "nanmedian"):
                yield Case(
                    op, f"axis {axis} keepdims {keepdims}",
                    lambda x, op=op, options=options: getattr(tg.ops, op)(x, **options),
                    quiet(lambda x, op=op, options=options: getattr(np, op)(x, **options)),
                    (holes if op[0] == "n" else x,), ulp=1.0,
                )  # fmt: skip
    yield Case(
        "median", "NaN", lambda x: tg.ops.median(x, 1), lambda x: np.median(x, 1), (holes,), 1
    )
    far = np.float32([1, np.inf])
    yield Case("median", "infinity", tg.ops.median, lambda x: np.float32(np.inf), (far,))
    yield Case("median", "integers", tg.ops.median, np.median, (integers((7,)),), 1)


def bins() -> Iterator[Case]:
    x, weights = integers((50,), 1, 0, 9), np.float32(integers((50,), 2))
    yield Case("bincount", "plain", tg.ops.bincount, lambda x: as_int32([np.bincount(x)]), (x,))
    yield Case(
        "bincount", "weights and minlength", lambda x, w: tg.ops.bincount(x, w, 12),
        lambda x, w: np.bincount(x, w, 12).astype(w.dtype), (x, weights),
    )  # fmt: skip
    yield Case(
        "bincount", "rows", tg.ops.bincount,
        lambda x: np.stack([np.bincount(row, minlength=9) for row in x]).astype(np.int32),
        (np.concatenate([x[:49].reshape(7, 7), np.full((1, 7), 8, np.int32)]),),
    )  # fmt: skip
    yield Case(
        "bincount", "length", lambda x: tg.ops.bincount(x, length=4),
        lambda x: np.bincount(x)[:4].astype(np.int32), (x,),
    )  # fmt: skip
    yield Case(
        "bincount", "nothing", lambda x: tg.ops.bincount(x, minlength=2),
        lambda x: np.zeros(2, np.int32), (np.zeros(0, np.int32),),
    )  # fmt: skip
    values = few((3, 20))
    options: dict[str, dict[str, Any]] = {
        "ten": {}, "bins": {"bins": 4}, "range": {"bins": 4, "range": (-2.0, 2.0)},
        "edges": {"bins": [-4.0, -1.0, 0.0, 0.5, 4.0]}, "density": {"bins": 4, "density": True},
    }  # fmt: skip
    for name, option in options.items():
        yield Case(
            "histogram", name, lambda x, option=option: tg.ops.histogram(x, **option)[0],
            lambda x, option=option: np.histogram(x, **option)[0].astype(
                np.float32 if "density" in option else np.int32
            ),
            (values,),
        )  # fmt: skip
        yield Case(
            "histogram", f"{name}: edges",
            lambda x, option=option: tg.ops.histogram(x, **option)[1],
            lambda x, option=option: np.histogram(x, **option)[1], (values,), 2,
            lambda x: np.abs(x).max(),
        )  # fmt: skip
    yield Case(
        "histogram", "weights and NaN",
        lambda x, w: tg.ops.histogram(x, 3, (0.0, 3.0), weights=w)[0],
        lambda x, w: np.float32([1, 0, 6]),
        (np.float32([0, np.nan, 3, -1, 4, 2.5]), np.float32([1, 2, 4, 8, 16, 2])),
    )  # fmt: skip
    yield Case(
        "histogram", "one value", lambda x: list(tg.ops.histogram(x, 2)),
        lambda x: [np.int32([0, 2]), np.float32([4.5, 5, 5.5])], (np.float32([5, 5]),),
    )  # fmt: skip


CASES = [
    case
    for part in (
        sorting, partitions, ranking, searching, places, distinct, order_statistics, bins
    )
    for case in part()
]  # fmt: skip
