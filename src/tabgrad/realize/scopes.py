"""What goes on around: is a function being captured, does a gradient follow what is computed?

Not here: where the nodes of a capture were made (`ir/graph.py`), and what to say where one has no
value (`absent.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from weakref import WeakSet

from tabgrad.ir.graph import Node, captured
from tabgrad.realize.values import forget_sources


class _Around:
    """How many of each there are around what runs now, one inside the other."""

    def __init__(self) -> None:
        self.gradients = 0
        self.rules = 0
        self.captures = 0
        self.kept: WeakSet[Node] = WeakSet()  # nodes that have a value and their sources, too


_around = _Around()


@contextmanager
def gradient_scope() -> Iterator[None]:
    """Inside, nodes that are realised keep their sources, for the gradient to walk along."""
    _around.gradients += 1
    try:
        yield
    finally:
        _around.gradients -= 1
        if not _around.gradients:
            for node in list(_around.kept):
                forget_sources(node)
            _around.kept.clear()


@contextmanager
def capture_scope(by: str = "", name: str = "") -> Iterator[None]:
    """Inside, a function is being captured: nothing is realised by itself. Where Python of a user
    runs, errors say who captures it and how it is called."""
    _around.captures += 1
    try:
        with captured(by, name) if by else nullcontext():
            yield
    finally:
        _around.captures -= 1


def capturing() -> bool:
    """True while a function is being captured."""
    return _around.captures > 0


def differentiating() -> bool:
    """True while a gradient follows what is computed."""
    return _around.gradients > 0


@contextmanager
def rule_scope() -> Iterator[None]:
    """Inside, a gradient's rule is written down: one of the gradients around has what it needs.

    Without this count the rule of sinh would write that of cosh, and that the one of sinh, for
    ever: rules may use functions that have rules, their own among them.
    """
    _around.rules += 1
    try:
        yield
    finally:
        _around.rules -= 1


def wants_rules() -> bool:
    """True while a gradient follows that is not served yet by the rules being written down."""
    return _around.rules < _around.gradients


def computed(node: Node) -> None:
    """A node was computed: it lets go of its sources, unless a gradient needs them."""
    if _around.gradients:
        _around.kept.add(node)
    else:
        forget_sources(node)
