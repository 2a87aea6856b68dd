"""Builders of rows for images: tg.image against Keras on JAX, or another oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops import building
from tests.ops.building import keras_oracle
from tests.ops.comparing import Array, Case

MODES = ("constant", "nearest", "wrap", "mirror", "reflect")
"""How places outside of an image are filled."""

TURN = np.float32([0.9, 0.3, -1.2, -0.25, 1.1, 0.7, 0, 0])
PROJECT = np.float32([0.9, 0.3, -1.2, -0.25, 1.1, 0.7, 0.03, -0.02])


def near(
    op: str, label: str, call: Callable[..., Any], oracle: Callable[..., Any], *inputs: Array,
    ulp: float = 16, slow: bool = False,
) -> Case:  # fmt: skip
    """Compared in units of the largest magnitude of the result."""
    return building.near(f"image.{op}", label, call, oracle, *inputs, ulp=ulp, slow=slow)


def same(
    op: str, label: str, call: Callable[..., Any], oracle: Callable[..., Any], *inputs: Array,
    slow: bool = False,
) -> Case:  # fmt: skip
    """Compared exactly."""
    return Case(f"image.{op}", label, call, oracle, inputs, slow=slow)


def keras_near(op: str, label: str, *inputs: Array, ulp: float = 16, **options: Any) -> Case:
    """Against Keras, near it. It compiles each call: not in the quick set, for which
    table_image_numpy.py has oracles of its own."""
    return near(
        op, label, lambda *xs: getattr(tg.image, op)(*xs, **options),
        keras_oracle(f"image.{op}", **options), *inputs, ulp=ulp, slow=True,
    )  # fmt: skip


def keras_same(op: str, label: str, *inputs: Array, **options: Any) -> Case:
    """Against Keras, exactly."""
    return same(
        op, label, lambda *xs: getattr(tg.image, op)(*xs, **options),
        keras_oracle(f"image.{op}", **options), *inputs, slow=True,
    )  # fmt: skip
