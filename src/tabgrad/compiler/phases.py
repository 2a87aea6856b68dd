"""Strided gradients without multiplications by inserted zeros: one contraction for each phase.

The gradient of a convolution with stride s reads its operand where s divides a sum of an output
loop and a step, and 0 elsewhere. For outputs of one remainder modulo s the steps that count have
one remainder too: each such phase is a contraction of its own, dense, with about a share 1/s of the
steps. An output that no step reaches is the epilogue of 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import gcd

from tabgrad.compiler.collapse import rewrite
from tabgrad.ir.index import Index, Var
from tabgrad.ir.kernel import Condition, Expr, Group, Kernel, rebuilt, walk


def in_phases(kernel: Kernel) -> list[Kernel]:
    """The kernels that together store what a contraction stores: itself alone where no remainder
    decides what is read."""
    if kernel.kind != "contract":
        return [kernel]
    found = [phase for phase in (_phase(kernel, c) for c in _remainders(kernel)) if phase]
    loops = [v for phase in found for v in (phase.output, phase.step)]
    if not found or len(set(loops)) != len(loops):
        return [kernel]
    kernels = [
        _one(kernel, found, rests, number)
        for number, rests in enumerate(
            itertools.product(*(range(min(p.modulo, p.output.size)) for p in found))
        )
    ]
    # The largest first: a border that it is given has what the others read.
    kernels.sort(key=lambda kernel: -kernel.points if kernel.kind == "contract" else 0)
    for kernel in kernels[:-1]:
        kernel.nodes = ()  # their values are complete after the last
    return kernels


class _Phase:
    """A condition `index % modulo == 0` on one loop of the output and one step."""

    def __init__(self, output: Var, step: Var, index: Index, modulo: int) -> None:
        self.output, self.step, self.modulo = output, step, modulo
        self._index = index

    def first_step(self, rest: int) -> int:
        """The first step that counts for outputs of a remainder."""
        by, start = self._index.terms[self.step], self._index.const
        start += self._index.terms[self.output] * rest
        return next(k for k in range(self.modulo) if (start + by * k) % self.modulo == 0)


def _remainders(kernel: Kernel) -> list[Condition]:
    found: dict[Condition, None] = {}
    for expr in walk([e for e in (kernel.a, kernel.b) if e is not None]):
        found.update({c: None for c in expr.conditions if c.modulo != 1})
    return list(found)


def _phase(kernel: Kernel, condition: Condition) -> _Phase | None:
    terms = condition.index.terms
    outputs = [v for v in terms if v in kernel.space]
    steps = [v for v in terms if v in kernel.inner]
    if len(terms) != 2 or len(outputs) != 1 or len(steps) != 1:
        return None
    output, step = outputs[0], steps[0]
    assert isinstance(output, Var) and isinstance(step, Var)
    if gcd(terms[step], condition.modulo) != 1:
        return None
    return _Phase(output, step, condition.index, condition.modulo)


def _one(kernel: Kernel, phases: Sequence[_Phase], rests: Sequence[int], number: int) -> Kernel:
    """The part of a contraction that stores outputs of the given remainders."""
    values: dict[Var, Index] = {}
    for phase, rest in zip(phases, rests, strict=True):
        first = phase.first_step(rest)
        for loop, start in ((phase.output, rest), (phase.step, first)):
            size = len(range(start, loop.size, phase.modulo))
            values[loop] = Index.of(Var(loop.name, size)) * phase.modulo + start
    loops = {v: next((w for w in i.variables()), Var(v.name, 1)) for v, i in values.items()}
    part = replace(
        kernel,
        space=tuple(loops.get(v, v) for v in kernel.space),
        inner=tuple(loops.get(v, v) for v in kernel.inner),
        roles={loops.get(v, v): role for v, role in kernel.roles.items()},
        stores=list(kernel.stores),
        name=f"{kernel.name}_{number}",
        group=_group(kernel),
    )
    rewrite(part, values)
    empty = any(
        phase.first_step(rest) >= phase.step.size for phase, rest in zip(phases, rests, strict=True)
    )
    assert part.a is not None and part.b is not None
    if empty:
        zero = Expr("const", part.a.dtype, value=0.0)
        part.kind, part.inner, part.a, part.b, part.roles = "map", (), None, None, {}
        exprs = rebuilt(
            [s.expr for s in part.stores], lambda expr, _: zero if expr.op == "acc" else None
        )
        part.stores = [replace(s, expr=e) for s, e in zip(part.stores, exprs, strict=True)]
        part.flops = 0
        return part
    part.a, part.b = _settled(part.a), _settled(part.b)
    part.flops = 2 * part.points
    return part


def _group(kernel: Kernel) -> Group | None:
    """A group of short kernels on one thread takes the phases too; others wait for a contraction
    that is their last, and there is no longer one."""
    return kernel.group if kernel.group is not None and kernel.group.kind == "small" else None


def _settled(root: Expr) -> Expr:
    """Without the conditions that always hold now."""

    def less(expr: Expr, moved: Callable[[Expr], Expr]) -> Expr | None:
        if expr.op != "guard":
            return None
        left = tuple([c for c in expr.conditions if not _always(c)])
        args = tuple([moved(arg) for arg in expr.args])
        return expr.on(args, None, left) if left else args[0]

    return rebuilt([root], less)[0]


def _always(condition: Condition) -> bool:
    index = condition.index
    if condition.modulo != 1:
        return all(n % condition.modulo == 0 for n in (index.const, *index.terms.values()))
    low, high = index.range
    above = condition.low is None or low >= condition.low
    return above and (condition.high is None or high < condition.high)
