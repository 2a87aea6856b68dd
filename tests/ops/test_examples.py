"""The examples in the docstrings of all functions on tensors."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import tabgrad as tg

PACKAGES = ("ops", "image", "linalg", "random")
MODULES = [
    *(
        f"tabgrad.{name}"
        for name in ("fft", "nn", "printing", "realize", "segment", "signal", "tensor")
    ),
    *(
        f"tabgrad.{package}.{part.name}"
        for package in PACKAGES
        for part in pkgutil.iter_modules(getattr(tg, package).__path__)
    ),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert not failed
