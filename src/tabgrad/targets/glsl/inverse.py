"""Which point of the loops an element of a buffer comes from: the inverse of a store's index.

A fragment cannot choose where it writes, so a store `b[index(loops)] = value` is turned round: from
the number of an element follow the loops' counters. An index is a sum of loops with strides, which
splits like the digits of a number; quotients and remainders of one sum give that sum back. Loops
that this does not find (a scatter's, whose places are read at run time) are gone through, and
`equal` tells which of their points lead to the element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tabgrad.ir.index import Atom, Div, Dyn, Index, Mod, Var
from tabgrad.ir.kernel import Condition, in_range


@dataclass
class Inverse:
    """Counters as indices of `element`, the number of an element of the buffer.

    All of `checks` (on the element) and `equal` (two indices each, of the loops and of the element)
    must hold for an element that is written; the loops of `rest` are not told by it.
    """

    element: Var
    counters: dict[Var, Index] = field(default_factory=dict)
    checks: list[Condition] = field(default_factory=list)
    equal: list[tuple[Index, Index]] = field(default_factory=list)
    rest: tuple[Var, ...] = ()
    never: bool = False
    low: int = 0  # the first element that may be written
    high: int = 0  # the last
    dense: bool = False  # every one from the first to the last is


def invert(
    index: Index, loops: Sequence[Var], size: int, conditions: Sequence[Condition] = ()
) -> Inverse:
    """The inverse of an index of some loops into a buffer of `size` elements."""
    return _Inversion(loops, size, conditions).invert(index)


class _Inversion:
    def __init__(self, loops: Sequence[Var], size: int, conditions: Sequence[Condition]) -> None:
        self.loops, self.size = loops, size
        self.found = Inverse(Var("element", size))
        # A place read at run time reaches no further than the store's conditions let it.
        self.bounds: dict[Dyn, int] = {}
        for one in conditions:
            terms = list(one.index.terms.items())
            if len(terms) == 1 and terms[0][1] == 1 and not one.index.const and one.low == 0:
                atom = terms[0][0]
                if isinstance(atom, Dyn) and one.high is not None:
                    self.bounds[atom] = one.high - 1
        self.parts: dict[tuple[Index, int], dict[str, Index]] = {}
        self.left: list[tuple[Index, Index]] = []

    def invert(self, index: Index) -> Inverse:
        """Solve index = element."""
        found = self.found
        self.left.append((index, Index(0, {found.element: 1})))
        while self.left:
            self._solve(*self.left.pop())
        for (of, by), known in self.parts.items():
            for sign, value in known.items():
                atom: Atom = Div(of, by) if sign == "//" else Mod(of, by)
                found.equal.append((Index.of(atom), value))
        found.rest = tuple([v for v in self.loops if v not in found.counters])
        low, high = index.range
        found.low, found.high = max(low, 0), min(high, self.size - 1)
        points = 1
        for loop in self.loops:
            points *= loop.size
        run_time = any(isinstance(atom, Dyn) for atom in index.terms)
        found.dense = (
            not found.equal and not found.rest and not run_time and high - low + 1 == points
        )
        return found

    def _range(self, atom: Atom) -> tuple[int, int]:
        if isinstance(atom, Dyn):
            return 0, self.bounds.get(atom, atom.high)
        return atom.range

    def _solve(self, index: Index, value: Index) -> None:
        """Take the digits of a value apart."""
        value = value - index.const
        digits: list[tuple[int, Atom, int]] = []  # stride, atom, what it is counted from
        for atom, c in index.terms.items():
            low, high = self._range(atom)
            if isinstance(atom, Dyn) and not atom.expr.variables():
                # Known before any loop: a shift of the whole.
                value = value - Index(0, {Dyn(atom.expr, high): c})
                continue
            value = value - c * (low if c > 0 else high)
            digits.append((abs(c), atom, 1 if c > 0 else -1))
        digits.sort(key=lambda digit: -digit[0])
        for number, (stride, atom, sign) in enumerate(digits):
            below = [(s, *self._range(a)) for s, a, _ in digits[number + 1 :]]
            if stride <= sum(s * (high - low) for s, low, high in below):
                left = digits[number:]
                base = sum(s * self._range(a)[0] if g > 0 else -s * self._range(a)[1]
                           for s, a, g in left)  # fmt: skip
                self.found.equal.append((Index(0, {a: s * g for s, a, g in left}), value + base))
                return
            digit, value = value.split(stride)
            self._digit(atom, sign, digit)
        self._check(value, 1)

    def _check(self, value: Index, size: int) -> None:
        tests = in_range(value, size)
        if tests is None:
            self.found.never = True
        else:
            self.found.checks += tests

    def _digit(self, atom: Atom, sign: int, digit: Index) -> None:
        low, high = self._range(atom)
        self._check(digit, high - low + 1)
        digit = digit + low if sign > 0 else digit * -1 + high
        if isinstance(atom, Var) and atom not in self.found.counters:
            self.found.counters[atom] = digit
        elif isinstance(atom, (Var, Dyn)):
            self.found.equal.append((Index(0, {atom: 1}), digit))
        else:
            known = self.parts.setdefault((atom.of, atom.by), {})
            known[atom.sign] = digit
            if len(known) == 2:
                del self.parts[atom.of, atom.by]
                self.left.append((atom.of, known["//"] * atom.by + known["%"]))
