"""Tensors as text, beside NumPy's arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import printing


def arrays() -> Iterator[np.ndarray]:
    """Every layout and every notation."""
    rng = np.random.default_rng(0)
    yield from (np.arange(5), np.arange(2000), np.arange(24).reshape(2, 3, 4), np.arange(100))
    yield np.arange(3000.0, dtype="f4").reshape(30, 100)
    yield from (np.array(3.5), np.array(True), np.array([True, False]), np.array([]))
    yield from (np.zeros((2, 0)), np.array([1.5, 2, np.nan]), np.array([1, np.inf, -np.inf], "f4"))
    yield from (np.array([1e-5, 1]), np.array([1e10, 1.25]), np.array([0.1, 1 / 3], "f4"))
    yield from (np.array([0.1, 1 / 3]), np.array([1e8], "f4"), np.array([123456789.0, 1]))
    yield from (np.array([1 + 2j, 3.25 - 1j]), np.array([np.nan + 1j, complex(1, -np.inf)]))
    yield from (np.array([0.0, -0.0]), np.array([1e300, 1e-300]), np.array(1e-9), np.array(1j))
    yield from (np.array([-1, 100], "i1"), np.array([np.nan]), np.array([[np.inf]]))
    yield from (np.array([3.4028235e38], "f4"), np.array([1e-45], "f4"), np.array(-np.inf))
    yield from (rng.normal(size=(4, 30)).astype("f4"), rng.normal(size=50).astype("f2"))
    yield from (rng.normal(size=(5, 5, 5, 10)).astype("f4"), rng.normal(size=(3, 3)) * 1e6)
    yield ((rng.normal(size=(3, 7)) + 1j * rng.normal(size=(3, 7))) * 1e5).astype("c8")
    for _ in range(60):
        shape = tuple(rng.integers(1, 6, size=rng.integers(0, 4)))
        values = np.asarray(rng.normal(size=shape) * 10.0 ** rng.integers(-6, 9))
        yield values.astype(rng.choice(["f4", "f8", "i4"]))


def test_looks_like_an_array() -> None:
    for x in arrays():
        t = tg.tensor(x, dtype=x.dtype.name)
        assert str(t) == np.array2string(x)
        inside = np.array2string(x, separator=", ", prefix="tensor(", suffix=")")
        assert repr(t).startswith(f"tensor({inside},")
        assert repr(t).endswith(f"dtype={x.dtype.name})")


def test_the_shape_is_shown_where_it_cannot_be_seen() -> None:
    assert repr(tg.zeros((2, 0))) == "tensor([], shape=(2, 0), dtype=float32)"
    assert "shape=(2000,)" in repr(tg.arange(2000))
    assert repr(tg.tensor([1, 2])) == "tensor([1, 2], dtype=int32)"
    assert max(map(len, repr(tg.zeros((3, 40))).splitlines())) <= 75


def test_options() -> None:
    before = printing._options
    x = np.random.default_rng(0).normal(size=(4, 30))
    try:
        for options in ({"precision": 3}, {"threshold": 10, "edgeitems": 2}, {"linewidth": 40}):
            tg.set_printoptions(**options)
            with np.printoptions(**options):
                assert str(tg.tensor(x, dtype="float64")) == str(x)
            printing._options = before
        tg.set_printoptions(suppress=True)
        with np.printoptions(suppress=True):
            assert str(tg.tensor([1e-7, 1.0], dtype="float64")) == str(np.array([1e-7, 1.0]))
        with pytest.raises(tg.errors.ArgumentError, match="precision"):
            tg.set_printoptions(precision=-1)
    finally:
        printing._options = before


def test_html_and_captured_tensors() -> None:
    assert tg.tensor([[1.0, 2.0]])._repr_html_() == (
        "<pre>[[1. 2.]]</pre><small>1 × 2 · float32</small>"
    )
    seen = []
    tg.compile(lambda x: seen.append((repr(x), str(x))) or x)(tg.tensor([1.0]))
    assert seen[0][0] == seen[0][1] == "<tensor of shape (1,), float32, being captured>"
