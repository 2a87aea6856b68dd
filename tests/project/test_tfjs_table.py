"""docs/tfjs-operations.md is what its tool writes; the Python in it can be called as written."""

import ast
import inspect
import re

import pytest

import tabgrad as tg
from tools.tfjs_table import BESIDE, DOCUMENT, OPERATIONS, document, parsed

LINES = [*parsed(OPERATIONS), *parsed(BESIDE)]


def resolved(node):
    """The object that tg.a.b stands for; None for anything else. AttributeError if it is none."""
    if isinstance(node, ast.Name) and node.id == "tg":
        return tg
    if isinstance(node, ast.Attribute):
        owner = resolved(node.value)
        return None if owner is None else getattr(owner, node.attr)
    return None


def python_of(line):
    """What of a line is Python: the second column, and what the remark marks as code."""
    texts = [line.python, *re.findall("`(.*?)`", line.remark)]
    return [text for text in texts if not text.startswith("TABGRAD_")]


def check_python(text):
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            resolved(node)
        if isinstance(node, ast.Call) and callable(function := resolved(node.func)):
            keywords = {keyword.arg: None for keyword in node.keywords}
            inspect.signature(function).bind_partial(*node.args, **keywords)


def test_document_is_what_the_tool_writes():
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run python -m tools.tfjs_table"


def test_all_operations_are_there_once():
    names = [line.name for line in parsed(OPERATIONS)]
    assert len(names) == len(set(names)) == 248


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_line(line):
    assert line.python
    for text in python_of(line):
        check_python(f"async def f():\n  {text}" if "await" in text else text)
