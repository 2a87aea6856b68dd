"""The examples in the docstrings of transformations and of what compiled functions are made of."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import tabgrad.transformations

PARTS = pkgutil.iter_modules(tabgrad.transformations.__path__)
MODULES = ["tabgrad.jit", *(f"tabgrad.transformations.{part.name}" for part in PARTS)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert not failed
