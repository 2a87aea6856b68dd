"""What indices are, by counting: independent of the rules that simplify them."""

from __future__ import annotations

from collections.abc import Callable

from tabgrad.ir.index import Div, Index, Mod, Var


def value(index: Index, of: Callable[[Var], int]) -> int:
    """What an index without run-time parts is, where `of` tells its variables."""
    total = index.const
    for atom, factor in index.terms.items():
        if isinstance(atom, Var):
            total += factor * of(atom)
        elif isinstance(atom, Div):
            total += factor * (value(atom.of, of) // atom.by)
        else:
            assert isinstance(atom, Mod)
            total += factor * (value(atom.of, of) % atom.by)
    return total
