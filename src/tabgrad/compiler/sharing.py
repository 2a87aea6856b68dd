"""Long folds in parts: one kernel that folds the parts and one that puts those together.

Where few results take long folds, few threads would work. How many parts gain depends on the
machine, so a target decides; not here.
"""

from __future__ import annotations

from dataclasses import replace

from tabgrad.compiler.collapse import collapse
from tabgrad.compiler.temporaries import put_down
from tabgrad.dtypes import DType, wrap
from tabgrad.ir.index import Index, Var, points_of
from tabgrad.ir.kernel import Buffer, Condition, Expr, Kernel, identity

VECTOR = 4
MUCH = 4  # times as many parts are worth a test in each turn


def in_parts(kernel: Kernel, temporaries: list[Buffer], wanted: int) -> list[Kernel]:
    """Two kernels in the place of one, with at most `wanted` parts of the longest inner loop; the
    kernel itself where there is one part."""
    loop = max(kernel.inner, key=lambda v: v.size)
    parts, size = _cut(loop.size, wanted)
    if parts == 1:
        return [kernel]
    body = kernel.body if kernel.body is not None else kernel.a
    assert body is not None
    part, turn = Var(f"{loop.name}p", parts), Var(loop.name, size)
    at = Index.of(part) * size + Index.of(turn)
    space = (part, *kernel.space)
    store, again = put_down(Expr("acc", body.dtype), space, temporaries)
    first = replace(
        kernel,
        space=space,
        inner=tuple([turn if v == loop else v for v in kernel.inner]),
        stores=[store],
        roles={**kernel.roles, part: "g", turn: "k"} if kernel.roles else {},
        nodes=(),
    )
    for name in ("body", "a", "b"):
        expr = getattr(kernel, name)
        if expr is not None:
            inside = expr.replace({loop: at})
            if parts * size > loop.size:
                rest = Condition(at, high=loop.size)
                inside = Expr(
                    "guard", expr.dtype, (inside, _nothing(kernel, expr.dtype)), conditions=(rest,)
                )
            setattr(first, name, inside)
    second = replace(
        kernel, kind="reduce", inner=(part,), fold=kernel.fold or "sum", body=again, a=None, b=None,
        roles={}, flops=0,
    )  # fmt: skip
    return [first, collapse(second)]


def _cut(n: int, wanted: int) -> tuple[int, int]:
    """How many parts n turns are cut into, and of how many turns. Parts that are all full need no
    test in each turn, but a number with no divisors must not leave the work to few."""
    parts = max(p for p in range(1, max(wanted, 1) + 1) if n % p == 0)
    size = -(-n // max(wanted, 1) // VECTOR) * VECTOR
    uneven = -(-n // size)
    return (uneven, size) if uneven >= MUCH * parts else (parts, n // parts)


def _nothing(kernel: Kernel, dtype: DType) -> Expr:
    """What is folded, or multiplied, without effect; -0 keeps the sign of a sum of zeros."""
    if kernel.kind == "contract":
        return Expr("const", dtype, value=wrap(0, dtype))
    if kernel.fold == "sum" and dtype.is_float:
        return Expr("const", dtype, value=-0.0)
    return identity(kernel.fold, dtype)


def divisible(kernel: Kernel) -> bool:
    """Whether a kernel folds in a way that can be done in parts."""
    if kernel.kind not in ("reduce", "contract") or not kernel.inner:
        return False
    return kernel.fold not in ("dot", "argmax", "argmin") and points_of(kernel.inner) > 0
