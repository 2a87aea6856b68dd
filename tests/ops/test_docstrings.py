"""What the documentation of every public function says: its parameters, shapes, dtypes, errors, an
example.

That the examples run is tested in `test_examples.py` and `tests/transformations/test_examples.py`.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from tests.ops.test_bad_arguments import FUNCTIONS

SHAPE = r"""shape | ax[ie]s | size | element | \(\.\.\. | \((n|m|batch|h|d|\*shape|num)\b | scalar
    | 0-d | matri | vector | argument"""
DTYPE = r"""type | float | int | bool | complex | number | key | Tensor | function | gradient
    | derivative"""
NOT_ON_TENSORS = {"tg.Input", "tg.__array_namespace_info__", "tg.export", "tg.memory",
                  "tg.set_engine", "tg.set_printoptions", "random.global_generator"}  # fmt: skip
"""What has no argument or result with a shape or a dtype."""


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_docstring(name: str) -> None:
    function: Callable[..., Any] = FUNCTIONS[name]
    said = inspect.getdoc(function) or ""
    assert "Example:" in said, "no example"
    assert ">>>" in said, "no example that runs"
    words = said.partition("Example:")[0]
    listed = words.partition("\nArgs:\n")[2]
    listed = re.split(r"\n(?=\S)", listed)[0]
    names = re.findall(r"^    ([\w, *]+):", listed, re.MULTILINE)
    known = {word.strip(" *") for each in names for word in each.split(",")}
    for parameter in inspect.signature(function).parameters:
        assert not known or parameter in known, f"{parameter} is missing under Args"
        assert re.search(rf"\b{parameter}\b", words), f"nothing about {parameter}"
    if name not in NOT_ON_TENSORS:
        assert re.search(SHAPE, words, re.VERBOSE), "nothing about shapes"
        assert re.search(DTYPE, words, re.VERBOSE), "nothing about dtypes"


def raised_by(function: Callable[..., Any]) -> set[str]:
    """The errors that a function's own code raises, by name."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    calls = (node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise))
    return {
        call.func.id
        for call in calls
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    }


@pytest.mark.parametrize("name", [n for n, f in FUNCTIONS.items() if inspect.isfunction(f)])
def test_errors_are_documented(name: str) -> None:
    said = inspect.getdoc(FUNCTIONS[name]) or ""
    assert not [error for error in raised_by(FUNCTIONS[name]) if error not in said]
