"""Long folds in parts: one kernel that folds the parts and one that puts those together.

Where few results take long folds, few threads would work. How many parts gain depends on the
machine, so a target decides; not here.
"""

from __future__ import annotations

from dataclasses import replace

from tabgrad.compiler.collapse import collapse
from tabgrad.compiler.temporaries import put_down
from tabgrad.ir.index import Index, Var, points_of
from tabgrad.ir.kernel import Buffer, Expr, Kernel


def in_parts(kernel: Kernel, temporaries: list[Buffer], wanted: int) -> list[Kernel]:
    """Two kernels in the place of one, with as many parts as divide the longest inner loop, at
    most `wanted`; the kernel itself where there is one part."""
    loop = max(kernel.inner, key=lambda v: v.size)
    parts = max(p for p in range(1, max(wanted, 1) + 1) if loop.size % p == 0)
    if parts == 1:
        return [kernel]
    body = kernel.body if kernel.body is not None else kernel.a
    assert body is not None
    part, turn = Var(f"{loop.name}p", parts), Var(loop.name, loop.size // parts)
    values = {loop: Index.of(part) * turn.size + Index.of(turn)}
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
        setattr(first, name, None if expr is None else expr.replace(values))
    second = replace(
        kernel, kind="reduce", inner=(part,), fold=kernel.fold or "sum", body=again, a=None, b=None,
        roles={}, flops=0,
    )  # fmt: skip
    return [first, collapse(second)]


def divisible(kernel: Kernel) -> bool:
    """Whether a kernel folds in a way that can be done in parts."""
    if kernel.kind not in ("reduce", "contract") or not kernel.inner:
        return False
    return kernel.fold not in ("dot", "argmax", "argmin") and points_of(kernel.inner) > 0
