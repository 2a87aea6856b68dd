"""The scope of a function that Python runs once for many times: loop bodies, branches, examples.

Not here: what captures such functions (`ops/capturing.py`, `vmap.py`), and the scopes that keep
what is assigned (`jit.py`) or mark what is differentiated (`reverse.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tabgrad.errors import TabgradError
from tabgrad.ir.closing import depending
from tabgrad.ir.graph import Node
from tabgrad.variable import Variable


class Inside:
    """Variables read and are assigned as around it, but a value that depends on `inputs`, which
    only exist inside, cannot leave by an assignment: `refusal(path)` is raised."""

    def __init__(self, inputs: Sequence[Node], refusal: Callable[[str], TabgradError]) -> None:
        self._inputs, self._refusal = inputs, refusal

    def read(self, variable: Variable, outer: int) -> Node | None:
        """As around it."""
        return None

    def assign(self, variable: Variable, node: Node) -> bool:
        """As around it, if the value may leave."""
        if id(node) in depending([node], self._inputs):
            raise self._refusal(variable.path)
        return False
