"""Index arithmetic: integer expressions of loop variables with known ranges.

An `Index` is a constant plus coefficients times atoms; an atom is a loop variable, a quotient or
remainder that could not be simplified away, or an index read at run time. Reshapes turn into
quotients and remainders, which nearly always cancel: `split` is where that happens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Var(NamedTuple):
    """A loop variable running from 0 below `size`."""

    name: str
    size: int

    @property
    def range(self) -> tuple[int, int]:
        """Lowest and highest value."""
        return 0, max(self.size - 1, 0)


class Div(NamedTuple):
    """floor(of / by)."""

    of: Index
    by: int
    sign: str = "//"  # tells it from Mod: named tuples of equal fields are equal

    @property
    def range(self) -> tuple[int, int]:
        """Lowest and highest value."""
        low, high = self.of.range
        return low // self.by, high // self.by


class Mod(NamedTuple):
    """of modulo by, never negative."""

    of: Index
    by: int
    sign: str = "%"

    @property
    def range(self) -> tuple[int, int]:
        """Lowest and highest value."""
        return 0, self.by - 1


class Dyn(NamedTuple):
    """An int32 value computed at run time (an expression of ir/kernel.py), from 0 to `high`."""

    expr: Any
    high: int

    @property
    def range(self) -> tuple[int, int]:
        """Lowest and highest value."""
        return 0, self.high


Atom = Var | Div | Mod | Dyn


class Index:
    """const + sum of coefficient * atom. Immutable, compared by value."""

    __slots__ = ("_hash", "const", "terms")

    def __init__(self, const: int = 0, terms: Mapping[Atom, int] | None = None) -> None:
        self.const = const
        self.terms: dict[Atom, int] = {a: c for a, c in terms.items() if c} if terms else {}
        self._hash: int | None = None  # most are parts of sums that nobody looks up

    @staticmethod
    def of(atom: Atom) -> Index:
        """An atom by itself; a variable of size 1 is 0."""
        low, high = atom.range
        return Index(low) if low == high and not isinstance(atom, Dyn) else Index(0, {atom: 1})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Index) and self.const == other.const and self.terms == other.terms

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((self.const, frozenset(self.terms.items())))
        return self._hash

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return Index(self.const + other, self.terms) if other else self
        terms = dict(self.terms)
        for atom, c in other.terms.items():
            terms[atom] = terms.get(atom, 0) + c
        return Index(self.const + other.const, terms)

    def __sub__(self, other: Index | int) -> Index:
        return self + (other * -1 if isinstance(other, Index) else -other)

    def __mul__(self, factor: int) -> Index:
        return Index(self.const * factor, {a: c * factor for a, c in self.terms.items()})

    @property
    def range(self) -> tuple[int, int]:
        """Bounds of the value (exact for sums of independent variables)."""
        low = high = self.const
        for atom, c in self.terms.items():
            lo, hi = atom.range
            low += min(c * lo, c * hi)
            high += max(c * lo, c * hi)
        return low, high

    def split(self, by: int) -> tuple[Index, Index]:
        """(floor(self / by), self mod by)."""
        if by == 1:
            return self, Index()
        whole = {a: c // by for a, c in self.terms.items() if c % by == 0}
        rest = Index(self.const % by, {a: c for a, c in self.terms.items() if c % by})
        quotient = Index(self.const // by, whole)
        low, high = rest.range
        if low // by == high // by:
            return quotient + low // by, rest - low // by * by
        return quotient + Index.of(Div(rest, by)), Index.of(Mod(rest, by))

    def joined(self) -> Index:
        """The same value with a quotient and its remainder put together again: c*n*(x//n) + c*(x%n)
        is c*x. They meet when a value is reshaped one way and then back."""
        index = self
        while True:
            for atom, c in index.terms.items():
                if isinstance(atom, Mod):
                    whole = Div(atom.of, atom.by)
                    if index.terms.get(whole) == c * atom.by:
                        rest = {a: k for a, k in index.terms.items() if a not in (atom, whole)}
                        index = Index(index.const, rest) + atom.of * c
                        break
            else:
                return index

    def variables(self) -> set[Var]:
        """All loop variables, also inside quotients and run-time indices."""
        found: set[Var] = set()
        for atom in self.terms:
            if isinstance(atom, Var):
                found.add(atom)
            elif isinstance(atom, (Div, Mod)):
                found |= atom.of.variables()
            else:
                found |= atom.expr.variables()
        return found

    def coefficient(self, var: Var) -> int | None:
        """The coefficient of a variable, or None when the index is not affine in it."""
        for atom in self.terms:
            if not isinstance(atom, Var) and var in Index.of(atom).variables():
                return None
        return self.terms.get(var, 0)

    def replace(
        self, values: Mapping[Var, Index], run_time: Callable[[Any], Any] | None = None
    ) -> Index:
        """Variables replaced by indices, quotients simplified anew. `run_time` gives what takes the
        place of an expression read at run time, where that is known already."""
        const, terms = self.const, dict[Atom, int]()
        for atom, c in self.terms.items():
            if isinstance(atom, Var):
                new = values[atom] if atom in values else Index.of(atom)
            elif isinstance(atom, Div):
                new = atom.of.replace(values, run_time).split(atom.by)[0]
            elif isinstance(atom, Mod):
                new = atom.of.replace(values, run_time).split(atom.by)[1]
            else:
                moved = run_time(atom.expr) if run_time else atom.expr.replace(values)
                new = Index.of(Dyn(moved, atom.high))
            const += new.const * c
            for part, k in new.terms.items():
                terms[part] = terms.get(part, 0) + k * c
        return Index(const, terms)

    def __repr__(self) -> str:
        return self.text(repr)

    def text(self, show: Callable[[Any], str]) -> str:
        """Readable arithmetic; `show` gives the text of expressions read at run time."""
        named = [(_text(atom, show), c) for atom, c in self.terms.items()]
        parts = [f"{name}*{c}" if c != 1 else name for name, c in named]
        if self.const or not parts:
            parts.append(str(self.const))
        return "+".join(parts).replace("+-", "-")


def _text(atom: Atom, show: Callable[[Any], str]) -> str:
    if isinstance(atom, Var):
        return atom.name
    if isinstance(atom, Dyn):
        return f"[{show(atom.expr)}]"
    sign = "//" if isinstance(atom, Div) else "%"
    return f"({atom.of.text(show)}){sign}{atom.by}"


def points_of(loops: Sequence[Var]) -> int:
    """How many points some loops have."""
    return math.prod([loop.size for loop in loops])


def place_of(loops: Sequence[Var]) -> Index:
    """The number of a point of some loops, the last of which moves fastest."""
    place = Index()
    for loop in loops:
        place = place * loop.size + Index.of(loop)
    return place


def flatten(indices: tuple[Index, ...], shape: tuple[int, ...]) -> Index:
    """The row-major position of indices into `shape`."""
    result, stride = Index(), 1
    for index, n in zip(reversed(indices), reversed(shape), strict=True):
        result = result + index * stride
        stride *= n
    return result.joined()


def unflatten(index: Index, shape: tuple[int, ...]) -> tuple[Index, ...]:
    """The indices into `shape` of a row-major position."""
    result: list[Index] = []
    for n in reversed(shape[1:]):
        index, rest = index.split(n) if n else (index, Index())
        result.append(rest)
    return (index, *reversed(result)) if shape else ()
