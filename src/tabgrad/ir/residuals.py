"""What the turns of a loop keep for the walk back, beside the carries that entered them.

The body of a gradient splits in two: what is known when the loop walks forwards, and what depends
on cotangents. Known values that are costly to compute are kept, a slice a turn, as long as that is
little memory; the rest is computed again from the carry. It is the partial evaluation by which
reverse mode becomes linear (Radul et al., "You Only Linearize Once", 2023), with a price on it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from tabgrad.ir.closing import depending
from tabgrad.ir.graph import Node, toposort

# Which values cost more than the way to memory and back: those of folds and loops, and functions
# that take a dozen operations.
FOLDS = frozenset({"contract", "reduce", "window", "cumulative", "order", "control"})
FUNCTIONS = frozenset(
    """exp log expm1 log1p tanh sigmoid sin cos tan erf pow atan2 threefry""".split()
)
MOST_BYTES = 64 << 20  # of all turns together
MOST_TIMES = 8  # as much as a turn is given: its carry and its slices


def kept_values(
    results: Sequence[Node], given: Sequence[Node], late: Sequence[Node], length: int
) -> list[Node]:
    """Which values of a forward turn to keep for the results of a backward one.

    `given` are the inputs of the forward turn that differ from turn to turn, `late` those that the
    walk back alone has (cotangents). If all costly values are too many, those of folds and loops
    are tried; if these are, nothing is kept. A checkpoint's values, which are computed again behind
    barriers on purpose, depend on cotangents and are not among them.

    Example:
        >>> from tabgrad import dtypes
        >>> from tabgrad.ir import build as b
        >>> x, g = b.input((2,), dtypes.float32), b.input((2,), dtypes.float32)
        >>> [node.prim.name for node in kept_values([b.mul(g, b.unary("exp", x))], [x], [g], 9)]
        ['exp']
    """
    order = toposort(results)
    unknown = depending(results, late)
    varying = depending(results, given)
    ends = [src for node in order if id(node) in unknown for src in node.srcs]
    frontier = [
        node for node in [*ends, *results] if id(node) in varying and id(node) not in unknown
    ]
    limit = min(MOST_BYTES, MOST_TIMES * length * sum(node.nbytes for node in given))
    for functions in (FUNCTIONS, frozenset[str]()):
        kept = _costly(frontier, varying, functions)
        if length * sum(node.nbytes for node in kept) <= limit:
            return kept
    return []


def _costly(frontier: Sequence[Node], varying: set[int], functions: Collection[str]) -> list[Node]:
    """The last costly values on all ways to the frontier, each replaced by what is made of it alone
    as long as that is no larger: a comparison instead of the product it asks."""

    def is_costly(node: Node) -> bool:
        return _is_costly(node, functions)

    ends = set(map(id, frontier))
    needed, users = _needed(frontier, varying, is_costly)
    chosen = set()
    for node in filter(is_costly, needed):
        while id(node) not in ends and len(users[id(node)]) == 1:
            (user,) = users[id(node)]
            if user.nbytes > node.nbytes or len(user.outs) > 1:
                break
            node = user
        chosen.add(id(node))
    # Some may be needed for nothing but others that are kept now.
    needed, _ = _needed(frontier, varying, lambda node: id(node) in chosen)
    return [node for node in needed if id(node) in chosen]


def _needed(
    frontier: Sequence[Node], varying: set[int], stop: Callable[[Node], bool]
) -> tuple[list[Node], dict[int, list[Node]]]:
    """The nodes under the frontier, down to those that stop, and their users among these."""
    needed: dict[int, Node] = {}
    users: dict[int, list[Node]] = {}
    stack = list(frontier)
    while stack:
        node = stack.pop()
        if id(node) in needed:
            continue
        needed[id(node)] = node
        if stop(node):
            continue
        for src in dict.fromkeys(_sources(node)):
            if id(src) in varying:
                users.setdefault(id(src), []).append(node)
                stack.append(src)
    return list(needed.values()), users


def _sources(node: Node) -> Sequence[Node]:
    """What a value is computed from; one with a gradient of its own is among the first sources."""
    if node.prim.name == "proj" and node.srcs[0].prim.name == "custom":
        return (node.srcs[0].srcs[node.params["index"]],)
    return node.srcs[:1] if node.prim.name == "custom" else node.srcs


def _is_costly(node: Node, functions: Collection[str]) -> bool:
    source = node.srcs[0] if node.prim.name == "proj" else node
    name = source.prim.name
    if name == "pow" and source.srcs[1].prim.name in ("const", "broadcast"):
        return False  # mostly a square
    return name != "custom" and (source.prim.family in FOLDS or name in functions)
