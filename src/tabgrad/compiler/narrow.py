"""Kernels that touch few enough buffers: some targets can bind only so many at once.

What a kernel stores is shared out over several, its epilogue is taken off a fold, and as a last
resort parts of expressions that read many buffers are computed before, into a temporary.

Not here: which kernels there are in the first place (fuse.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tabgrad.compiler.temporaries import after_fold, put_down
from tabgrad.ir.kernel import Buffer, Expr, Kernel, Store, rebuilt, run_time_places, walk

Bound = Callable[[Buffer], bool]


def narrowed(kernel: Kernel, temporaries: list[Buffer], most: int, bound: Bound) -> list[Kernel]:
    """The kernel as several of which none touches more than `most` buffers.

    `bound` says whether a buffer counts: a host scalar takes no binding.
    """
    work = _Narrowing(temporaries, most, bound)
    return work.narrow(kernel)


class _Narrowing:
    def __init__(self, temporaries: list[Buffer], most: int, bound: Bound) -> None:
        self.temporaries, self.most, self.bound = temporaries, most, bound

    def narrow(self, kernel: Kernel) -> list[Kernel]:
        """The kernels that take the place of one, in order."""
        if len(self._touched(kernel)) <= self.most or kernel.kind == "sort":
            return [kernel]
        if kernel.kind in ("reduce", "contract", "cumulative") and not _plain(kernel):
            return self._without_epilogue(kernel)
        if len(kernel.stores) > 1 and kernel.kind == "map":
            return self._store_by_store(kernel)
        return self._part_before(kernel)

    def _touched(self, kernel: Kernel) -> set[int]:
        both = (*kernel.reads(), *kernel.writes())
        return {id(b.root) for b in both if self.bound(b.root)}

    def _without_epilogue(self, kernel: Kernel) -> list[Kernel]:
        acc = next(x for x in walk([s.expr for s in kernel.stores]) if x.op == "acc")
        # A running fold stores at every step, any other one when it is complete.
        loops = (*kernel.space, *kernel.inner) if kernel.kind == "cumulative" else kernel.space
        store, loaded = put_down(acc, loops, self.temporaries)
        fold = replace(kernel, stores=[store], nodes=())
        stores = after_fold(kernel.stores, loaded)
        rest = Kernel("map", loops, stores, nodes=kernel.nodes, name=kernel.name)
        return [*self.narrow(fold), *self.narrow(rest)]

    def _store_by_store(self, kernel: Kernel) -> list[Kernel]:
        read = {id(b.root) for b in kernel.reads()}
        late: list[Kernel] = []
        stores, nodes = [], []
        for store, node in zip(
            kernel.stores, kernel.nodes or [None] * len(kernel.stores), strict=True
        ):
            if id(store.buffer.root) in read:
                # Others may still read what it overwrites.
                first, again = put_down(store.expr, kernel.space, self.temporaries)
                late.append(Kernel("map", kernel.space, [replace(store, expr=again)]))
                store = first
            stores.append(store)
            nodes.append(node)
        groups: list[list[Store]] = []
        for store in stores:
            if (
                groups
                and len(self._touched(Kernel("map", kernel.space, [*groups[-1], store])))
                <= self.most
            ):
                groups[-1].append(store)
            else:
                groups.append([store])
        made = [Kernel("map", kernel.space, group, name=kernel.name) for group in groups]
        return [part for one in made for part in self.narrow(one)] + late

    def _part_before(self, kernel: Kernel) -> list[Kernel]:
        """Compute the part that reads the most buffers, but not too many, on its own."""
        roots = [*kernel.expressions(), *(x for s in kernel.stores for x in run_time_places(s))]
        reads: dict[int, frozenset[int]] = {}
        best: Expr | None = None
        for x in walk(roots):
            own = frozenset().union(*(reads[id(part)] for part in x.parts))
            if x.buffer is not None and self.bound(x.buffer.root):
                own |= {id(x.buffer.root)}
            reads[id(x)] = own
            if 1 < len(own) < self.most and x.op not in ("threefry", "load", "const"):
                if best is None or len(own) > len(reads[id(best)]):
                    best = x
        if best is None:  # nothing but one load by many run-time indices
            return [kernel]
        part = best
        loops = [v for v in (*kernel.space, *kernel.inner) if v in part.variables()]
        store, loaded = put_down(part, loops, self.temporaries)
        before = Kernel("map", tuple(loops), [store])
        return [*self.narrow(before), *self.narrow(_with(kernel, part, loaded))]


def _plain(kernel: Kernel) -> bool:
    """Whether a fold stores what it has folded and nothing else."""
    return len(kernel.stores) == 1 and kernel.stores[0].expr.op == "acc"


def _with(kernel: Kernel, old: Expr, new: Expr) -> Kernel:
    """The kernel with one expression in the place of another, wherever that stands."""
    names = [n for n in ("body", "body_index", "a", "b") if getattr(kernel, n) is not None]
    places = [x for s in kernel.stores for x in run_time_places(s)]
    roots = [*(getattr(kernel, n) for n in names), *(s.expr for s in kernel.stores), *places]

    def change(x: Expr, moved: Callable[[Expr], Expr]) -> Expr | None:
        if x is old:
            return new
        if x.index is None and not x.conditions:
            return None
        return x.on(
            tuple([moved(arg) for arg in x.args]),
            None if x.index is None else x.index.replace({}, moved),
            tuple([c.replace({}, moved) for c in x.conditions]),
        )

    made = rebuilt(roots, change)
    known = {id(a): b for a, b in zip(roots, made, strict=True)}
    stores = [
        Store(
            s.buffer,
            s.index.replace({}, lambda x: known[id(x)]),
            known[id(s.expr)],
            s.combine,
            tuple([c.replace({}, lambda x: known[id(x)]) for c in s.conditions]),
        )
        for s in kernel.stores
    ]
    changed = replace(kernel, stores=stores)
    for name, expr in zip(names, made, strict=False):
        setattr(changed, name, expr)
    return changed
