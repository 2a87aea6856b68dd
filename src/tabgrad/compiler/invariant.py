"""What need not be computed each time: before a loop instead of in it, once for many runs.

`hoist` moves operands that a target packs in each turn of a loop, always alike, in front of it.
`derive` takes out of an entry what depends on nothing but constants and on state that the entry
only reads: packed weights, factors of a batch normalisation. Engines run that part again when such
state has changed, and keep the results in memory of their own (`Plan.derived` bytes).
"""

from __future__ import annotations

from collections.abc import Callable

from tabgrad.compiler.memory import ALIGN, SPARE
from tabgrad.compiler.plan import Plan
from tabgrad.ir.kernel import Buffer, Kernel, Launch, Loop, While

FEWEST = 1 << 10  # elements below which keeping them saves less than a second call costs


def hoist(launches: list[Launch]) -> None:
    """Move kernels that store no node of the graph, and read nothing that a loop writes, in front
    of that loop."""
    at = 0
    while at < len(launches):
        launch = launches[at]
        for body in launch.bodies():
            hoist(body)
        if isinstance(launch, (Loop, While)):
            found = _unchanging(launch)
            for body in launch.bodies():
                body[:] = [inner for inner in body if not any(inner is k for k in found)]
            for kernel in found:
                kernel.group = None
            launches[at:at] = found
            at += len(found)
        at += 1


def _unchanging(loop: Loop | While) -> list[Kernel]:
    """Such kernels among those that each turn begins anew, in order."""
    writers: dict[int, int] = {}
    for body in loop.bodies():
        for launch in body:
            for buffer in launch.writes():
                writers[id(buffer.root)] = writers.get(id(buffer.root), 0) + 1
    found: list[Kernel] = []
    for body in loop.bodies():
        for launch in body:
            if not isinstance(launch, Kernel) or launch.nodes:
                continue
            buffers = [*launch.reads(), *launch.writes()]
            if any(buffer.role in ("slice", "rows") for buffer in buffers):
                continue
            if any(id(buffer) in writers for buffer in launch.reads()):
                continue
            if all(b.role == "temp" and writers[id(b)] == 1 for b in launch.writes()):
                found.append(launch)
                for buffer in launch.writes():
                    del writers[id(buffer)]
    return found


def steady(plan: Plan) -> Callable[[Buffer], bool]:
    """Whether a buffer holds a constant, or state that the entry only reads."""
    updated = {position for position, _ in plan.graph.updates}

    def of(buffer: Buffer) -> bool:
        root = buffer.root
        return root.role == "constant" or (root.role == "state" and root.slot not in updated)

    return of


def derive(plan: Plan) -> None:
    """Move what is derived from constants and unchanged state from a plan's launches to its
    `derivations`, and give its results places."""
    from_outside = steady(plan)
    writers: dict[int, int] = {}
    for launch in plan.launches:
        for buffer in launch.writes():
            writers[id(buffer.root)] = writers.get(id(buffer.root), 0) + 1

    found: list[Launch] = []
    made: dict[int, Buffer] = {}
    for launch in plan.launches:
        if not isinstance(launch, Kernel):
            continue
        reads, writes = launch.reads(), launch.writes()
        whole = all(b.role == "temp" and writers[id(b)] == 1 for b in writes)
        if (
            reads
            and whole
            and launch.kind != "scatter"
            and all(from_outside(buffer) or id(buffer.root) in made for buffer in reads)
        ):
            found.append(launch)
            made |= {id(b): b for b in writes}
    rest = [launch for launch in plan.launches if not any(launch is one for one in found)]
    read = {id(b.root) for launch in rest for b in launch.reads()}
    kept = [buffer for key, buffer in made.items() if key in read]
    if sum(buffer.size for buffer in kept) < FEWEST:
        return
    for launch in found:
        assert isinstance(launch, Kernel)
        launch.group = None
    for buffer in kept:
        buffer.role, buffer.offset = "derived", plan.derived
        plan.derived += (buffer.nbytes + SPARE + ALIGN - 1) // ALIGN * ALIGN
    kept_ids = {id(buffer) for buffer in kept}
    plan.temporaries = [b for b in plan.temporaries if id(b) not in kept_ids]
    plan.launches, plan.derivations = rest, found
