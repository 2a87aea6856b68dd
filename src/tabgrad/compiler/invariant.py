"""What need not be computed each time: before a loop instead of in it, once for many runs.

`hoist` moves operands that a target packs in each turn of a loop, always alike, in front of it.
`derive` takes out of an entry what depends on nothing but constants and on state that the entry
only reads: packed weights, factors of a batch normalisation. Engines run that part again when such
state has changed, and keep the results in memory of their own (`Plan.derived` bytes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    inside = [launch for body in loop.bodies() for launch in body]
    written = {id(buffer.root) for launch in inside for buffer in launch.writes()}

    def outside(buffer: Buffer) -> bool:
        return buffer.role not in ("slice", "rows") and id(buffer.root) not in written

    return _made_from(
        outside, [x for x in inside if not (isinstance(x, Kernel) and x.nodes)], inside
    )


def _made_from(
    given: Callable[[Buffer], bool], candidates: Sequence[Launch], launches: Sequence[Launch]
) -> list[Kernel]:
    """The kernels among the candidates that read only what is given, or what others of them leave,
    and leave whole temporaries that no other launch writes."""
    left = [x for x in candidates if isinstance(x, Kernel) and x.kind != "scatter" and x.reads()]
    while True:
        made: set[int] = set()
        found: list[Kernel] = []
        for kernel in left:
            if all(given(b) or id(b.root) in made for b in kernel.reads()) and all(
                b.role == "temp" for b in kernel.writes()
            ):
                found.append(kernel)
                made |= {id(b) for b in kernel.writes()}
        chosen = {id(kernel) for kernel in found}
        others = [launch for launch in launches if id(launch) not in chosen]
        shared = {id(b.root) for launch in others for b in launch.writes()} & made
        if not shared:
            return found
        left = [k for k in found if not any(id(b) in shared for b in k.writes())]


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
    found = _made_from(steady(plan), plan.launches, plan.launches)
    chosen = {id(kernel) for kernel in found}
    rest = [launch for launch in plan.launches if id(launch) not in chosen]
    read = {id(buffer.root) for launch in rest for buffer in launch.reads()}
    made = {id(buffer): buffer for kernel in found for buffer in kernel.writes()}
    kept = [buffer for key, buffer in made.items() if key in read]
    if sum(buffer.size for buffer in kept) < FEWEST:
        return
    for kernel in found:
        kernel.group = None
    for buffer in kept:
        buffer.role, buffer.offset = "derived", plan.derived
        plan.derived += (buffer.nbytes + SPARE + ALIGN - 1) // ALIGN * ALIGN
    kept_ids = {id(buffer) for buffer in kept}
    plan.temporaries = [b for b in plan.temporaries if id(b) not in kept_ids]
    plan.launches, plan.derivations = rest, list(found)
