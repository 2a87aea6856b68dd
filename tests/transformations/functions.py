"""The same functions written for tabgrad and for JAX, and how results are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tabgrad as tg


def close(got: Any, expected: Any, **tolerance: float) -> None:
    """Containers of equal structure with nearly equal arrays of equal shape."""
    options = {"rtol": 2e-5, "atol": 1e-6} | tolerance
    if isinstance(expected, dict):
        assert set(got) == set(expected)
        for key in expected:
            close(got[key], expected[key], **tolerance)
    elif isinstance(expected, (tuple, list)) and not isinstance(expected[0], (int, float)):
        assert isinstance(got, (tuple, list))
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            close(one, other, **tolerance)
    else:
        one, other = np.asarray(got), np.asarray(expected)
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, **options)


def given(*arrays: Any) -> list[Any]:
    """Arrays as tensors."""
    return [tg.tensor(a) for a in arrays]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Float32 normal numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def mlp(lib: Any) -> Callable[..., Any]:
    def f(x: Any, w: Any, v: Any) -> Any:
        return lib.tanh(x @ w) @ v

    return f


def softmax_loss(lib: Any) -> Callable[..., Any]:
    def f(x: Any, w: Any) -> Any:
        z = x @ w
        z = z - lib.max(z)
        e = lib.exp(z)
        return -lib.log(e / lib.sum(e))[1]

    return f


def powers(lib: Any) -> Callable[..., Any]:
    def f(x: Any) -> Any:
        return lib.sum(lib.sin(x) * x**3) + lib.prod(x) + lib.max(x * x)

    return f


def spread(lib: Any) -> Callable[..., Any]:
    def f(x: Any) -> Any:
        return {"a": lib.sin(x) * x, "b": (lib.sum(x * x), lib.sum(x) * x[1:])}

    return f


def both(build: Callable[[Any], Callable[..., Any]]) -> tuple[Callable[..., Any], ...]:
    """A function for tabgrad and its twin for JAX."""
    return build(tg), build(jnp)


def tree_numpy(tree: Any) -> Any:
    """JAX's containers with NumPy arrays."""
    return jax.tree_util.tree_map(np.asarray, tree)
