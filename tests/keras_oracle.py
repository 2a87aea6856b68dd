"""Keras 3 on its JAX backend, as the judge of layers, losses, metrics, optimizers and training."""

from __future__ import annotations

import os
import warnings
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Keras's own import warns of is not our concern
    import keras

assert keras.backend.backend() == "jax"

__all__ = ["check", "gradients", "jax", "keras", "numbers", "values"]


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> Any:
    """Normal float32 numbers, the same for the same arguments."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def check(ours: Any, theirs: Any, tolerance: float, what: str = "value") -> None:
    """Fail unless all elements agree within `tolerance` of the largest magnitude in the tensor."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, f"{what}: shape {ours.shape}, Keras has {theirs.shape}"
    assert np.isfinite(ours).all() and np.isfinite(theirs).all(), f"{what} is not finite"
    largest = float(np.abs(theirs).max()) if theirs.size else 0.0
    error = float(np.abs(ours.astype(np.float64) - theirs).max()) if theirs.size else 0.0
    assert error <= tolerance * max(largest, 1e-30), (
        f"{what}: largest difference {error:.3g}, allowed {tolerance:g} of {largest:.3g}"
    )


def values(variables: Any) -> list[Any]:
    """The values of Keras Variables as arrays (their own `numpy()` warns under NumPy 2)."""
    return [np.asarray(v.value) for v in variables]


def gradients(layer: Any, x: Any, cotangent: Any, training: bool) -> tuple[Any, Any, Any]:
    """Output, gradient of sum(output * cotangent) by x and by each trainable weight, in Keras."""
    fixed = [v.value for v in layer.non_trainable_variables]
    names = layer.call_signature_parameters
    extra = {"training": training} if "training" in names else {}

    def total(weights: Any, x: Any) -> tuple[Any, Any]:
        output, state = layer.stateless_call(weights, fixed, x, **extra)
        return (output * cotangent).sum(), (output, state)

    weights = [v.value for v in layer.trainable_variables]
    # Compiled as one function: many times quicker than an operation at a time.
    both = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))
    (_, (output, state)), (by_weights, by_x) = both(weights, x)
    return (output, state), by_x, by_weights
