"""Let reductions take in the maps that only go on with their results, point by point.

A variance becomes a factor, a shift and two moving averages: several values of one shape from one
sum. Cutting the graph (fuse.py) gives a fold a single value to end with; here maps over the same
points become further stores of the kernel that folds, which saves a launch and a way to memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tabgrad.compiler.collapse import rewrite
from tabgrad.compiler.dependence import Dependence
from tabgrad.ir.index import Index, Var
from tabgrad.ir.kernel import Buffer, Expr, Kernel, Store, rebuilt, run_time_indices, walk


def absorb(order: Dependence, outside: frozenset[int] = frozenset()) -> None:
    """Merge such maps into their reductions. Buffers (by the id of their root) of `outside` are
    read by other launches than these, too."""
    grown = []
    for i in list(order.launches):
        kernel = order.launches.get(i)
        if not isinstance(kernel, Kernel) or kernel.kind != "reduce":
            continue
        for j in sorted(order.after[i]):
            other = order.launches[j]
            if not isinstance(other, Kernel) or not _goes_on(kernel, other):
                continue
            # Whatever else the map needs has to be there when the reduction runs.
            if not order.reaches(i, order.needs[j] - {i}):
                _take_in(kernel, other)
                order.merge(i, j)
                grown.append(kernel)
    if grown:
        read = {id(b.root) for launch in order.launches.values() for b in launch.reads()}
        read |= outside
        for kernel in grown:
            _forget_unread(kernel, read)


def _goes_on(kernel: Kernel, other: Kernel) -> bool:
    """Whether a map's points are a reduction's results, and it reads these and writes over what the
    reduction reads at its own point only."""
    if other.kind != "map" or not other.nodes or len(_long(kernel)) != len(_long(other)):
        return False  # copies have no nodes, and come last for a reason
    if any(a.size != b.size for a, b in zip(_long(kernel), _long(other), strict=True)):
        return False
    if any(run_time_indices(expr) for expr in walk(other.expressions())):
        return False
    names = _names(kernel, other)
    results = {id(s.buffer.root): s.index for s in kernel.stores}
    written = {id(s.buffer.root): s.index.replace(names) for s in other.stores}
    if results.keys() & written.keys() or len(written) < len(other.stores):
        return False  # nor may it store twice to one buffer: parts of a concatenation
    for buffer, index in _loads([s.expr for s in other.stores]):
        if id(buffer.root) in results and index.replace(names) != results[id(buffer.root)]:
            return False
    folded = [e for e in (kernel.body, kernel.body_index) if e is not None]
    if any(id(buffer.root) in written for buffer, _ in _loads(folded)):
        return False
    return all(
        written.get(id(buffer.root), index) == index
        for buffer, index in _loads([s.expr for s in kernel.stores])
    )


def _take_in(kernel: Kernel, other: Kernel) -> None:
    """Make a map's stores the reduction's, reading its results where they are at hand."""
    rewrite(other, _names(kernel, other))
    results = {id(s.buffer.root): s.expr for s in kernel.stores}

    def ready(expr: Expr, _: Callable[[Expr], Expr]) -> Expr | None:
        return None if expr.buffer is None else results.get(id(expr.buffer.root))

    exprs = rebuilt([s.expr for s in other.stores], ready)
    kernel.stores += [
        Store(s.buffer, s.index, expr) for s, expr in zip(other.stores, exprs, strict=True)
    ]
    kernel.nodes += other.nodes
    kernel.flops += other.flops


def _forget_unread(kernel: Kernel, read: set[int]) -> None:
    """Drop stores to temporaries that nobody reads any more."""
    kept = [
        (store, kernel.nodes[n : n + 1])
        for n, store in enumerate(kernel.stores)
        if store.buffer.role != "temp" or id(store.buffer.root) in read
    ]
    kernel.stores = [store for store, _ in kept]
    kernel.nodes = tuple([node for _, nodes in kept for node in nodes])


def _long(kernel: Kernel) -> list[Var]:
    return [v for v in kernel.space if v.size != 1]


def _names(kernel: Kernel, other: Kernel) -> dict[Var, Index]:
    """The map's loops as the reduction's."""
    pairs = zip(_long(other), _long(kernel), strict=True)
    return {theirs: Index.of(ours) for theirs, ours in pairs}


def _loads(roots: Sequence[Expr]) -> Iterator[tuple[Buffer, Index]]:
    for expr in walk(roots):
        if expr.buffer is not None and expr.index is not None:
            yield expr.buffer, expr.index
