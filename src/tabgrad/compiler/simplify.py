"""Simplification: a graph to an equal, smaller graph. `RULES` lists what is done to each primitive;
the rules themselves are in `compiler/rules/`, small functions that take and return a node.

Rules are float-safe: results stay the same to the bit, including NaN, infinities and the sign of
zero, so x*0 is not 0, x+0 is not x (it turns -0 into 0) and x != x tests for NaN.
The exception are sums, which lose axes and become one: in which order a reduction adds, and whether
it starts from 0 (which turns a lone -0 into 0), is not part of the graph.

Removed on the way is what only earlier stages need: `tag` and `stop` (gradients), `size` and
`broadcast_like` (rows, see rows.py). Nothing here looks at more than a node and its sources, but
for `keep_activations` at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

from tabgrad.compiler.rules import arithmetic, choice, folds, movement
from tabgrad.compiler.rules.joining import join_equals
from tabgrad.compiler.rules.matching import constant, is_a
from tabgrad.ir import build as b
from tabgrad.ir.graph import Graph, Node, layer_scope, make, remake, toposort
from tabgrad.ir.pruning import pruned

Rule = Callable[[Node], Node | None]

# A pass meets sources before users, so nearly everything happens in the first; later ones see what
# rules have put between a node and its sources.
MAX_PASSES = 6
MAX_RULES_PER_NODE = 32


def simplify(roots: Sequence[Node]) -> list[Node]:
    """Equal nodes of a smaller graph.

    Example:
        >>> from tabgrad import dtypes
        >>> x = b.input((2,), dtypes.float32)
        >>> simplify([b.neg(b.neg(b.mul(b.like(x, 1), x)))]) == [x]
        True
    """
    now = pruned(join_equals(roots))
    bodies: dict[int, tuple[Graph, Graph]] = {}
    for _ in range(MAX_PASSES):
        before, now = now, _one_pass(now, bodies)
        if all(map(lambda old, new: old is new, before, now)):
            break
    return keep_activations(now)


def _one_pass(roots: Sequence[Node], bodies: dict[int, tuple[Graph, Graph]]) -> list[Node]:
    order = toposort(roots)
    uses = Counter([id(src) for node in order for src in node.srcs])
    uses.update([id(root) for root in roots])
    new: dict[int, Node] = {}
    for old in order:
        node, layer = remake(old, [new[id(src)] for src in old.srcs]), old.origin.layer
        with layer_scope(layer) if layer else nullcontext():
            for _ in range(MAX_RULES_PER_NODE):
                better = _apply(node, uses, bodies)
                if better is None or better is node:
                    break
                node = better
        new[id(old)] = node
    return [new[id(root)] for root in roots]


def _apply(
    node: Node, uses: Mapping[int, int], bodies: dict[int, tuple[Graph, Graph]]
) -> Node | None:
    name = node.prim.name
    for rule in RULES.get(name, ()):
        found = rule(node)
        if found is not None:
            return found
    if name in ("scan", "while", "cond"):
        return _simplify_bodies(node, bodies)
    if node.prim.family == "elementwise" and len(node.outs) == 1:
        for rule in ELEMENTWISE_RULES:
            found = rule(node)
            if found is not None:
                return found
    # These look through their source; were it needed by others too, it would be computed twice.
    if name in SOLE_USE_RULES and uses.get(id(node.srcs[0])) == 1:
        return SOLE_USE_RULES[name](node)
    return None


def _simplify_bodies(node: Node, bodies: dict[int, tuple[Graph, Graph]]) -> Node:
    new: dict[str, Graph] = {}
    for key, body in node.params.items():
        if not isinstance(body, Graph):
            continue
        # Keyed by identity, and holding the body so that its id stays its own.
        if id(body) not in bodies:
            simple = Graph(body.inputs, simplify(body.outputs))
            bodies[id(body)] = (body, simple)
            bodies[id(simple)] = (simple, simple)
        new[key] = bodies[id(body)][1]
    if all(graph is node.params[key] for key, graph in new.items()):
        return node
    return make(node.prim.name, *node.srcs, **{**node.params, **new})


ELEMENTWISE_RULES: tuple[Rule, ...] = (
    arithmetic.compute_nothing,
    arithmetic.fold_constants,
    arithmetic.sink_broadcast,
    arithmetic.sink_reshape,
)

_REDUCE: tuple[Rule, ...] = (
    folds.reduce_nothing,
    folds.reduce_single,
    folds.reduce_reshaped,
    folds.reduce_repeated,
)

RULES: Mapping[str, tuple[Rule, ...]] = {
    "custom": (arithmetic.given_gradient,),
    "proj": (arithmetic.given_gradient, choice.known_branch),
    "cond": (choice.known_branch,),
    "tag": (arithmetic.itself,),
    "stop": (arithmetic.itself,),
    "neg": (arithmetic.double_negation,),
    "not": (arithmetic.double_negation, choice.negate_comparison),
    "abs": (arithmetic.absolute,),
    "floor": (arithmetic.round_whole,),
    "ceil": (arithmetic.round_whole,),
    "round": (arithmetic.round_whole,),
    "trunc": (arithmetic.round_whole,),
    "add": (
        arithmetic.constant_last,
        arithmetic.add_nothing,
        arithmetic.add_negated,
        arithmetic.join_constants,
        movement.add_side_by_side,
    ),
    "sub": (arithmetic.subtract_nothing, arithmetic.subtract_itself, arithmetic.subtract_negated),
    "mul": (
        arithmetic.constant_last,
        arithmetic.multiply_by_one,
        arithmetic.multiply_by_zero,
        arithmetic.multiply_by_minus_one,
        arithmetic.multiply_negated,
        arithmetic.join_constants,
    ),
    "div": (arithmetic.divide_by_power_of_two,),
    "floordiv": (arithmetic.divide_integer,),
    "mod": (arithmetic.divide_integer,),
    "pow": (arithmetic.easy_power,),
    "max": (arithmetic.constant_last, arithmetic.same_twice, arithmetic.extremum_limit),
    "min": (arithmetic.constant_last, arithmetic.same_twice, arithmetic.extremum_limit),
    "and": (arithmetic.constant_last, arithmetic.same_twice, arithmetic.bits_constant),
    "or": (arithmetic.constant_last, arithmetic.same_twice, arithmetic.bits_constant),
    "xor": (arithmetic.constant_last, arithmetic.bits_constant),
    "shl": (arithmetic.shift_by_nothing,),
    "shr": (arithmetic.shift_by_nothing,),
    "eq": (arithmetic.constant_last, choice.compare_itself, choice.compare_bool),
    "ne": (arithmetic.constant_last, choice.compare_itself, choice.compare_bool),
    "lt": (choice.compare_itself, choice.compare_unsigned),
    "le": (choice.compare_itself, choice.compare_unsigned),
    "select": (
        choice.select_known,
        choice.select_negated,
        choice.select_bool,
        choice.select_nested,
    ),
    "cast": (choice.cast_to_same, choice.cast_twice),
    "bitcast": (choice.cast_to_same, choice.bitcast_twice),
    "reshape": (
        movement.unmoved,
        movement.move_constant,
        movement.reshape_twice,
        movement.reshape_broadcast,
    ),
    "permute": (
        movement.unmoved,
        movement.move_constant,
        movement.permute_twice,
        movement.permute_ones,
        movement.permute_broadcast,
    ),
    "broadcast": (movement.unmoved, movement.broadcast_twice, movement.broadcast_squeezed),
    "broadcast_like": (movement.broadcast_like_other,),
    "pad": (
        movement.pad_nothing,
        movement.pad_constant,
        movement.pad_that_cuts,
        movement.pad_twice,
    ),
    "slice": (
        movement.unmoved,
        movement.move_constant,
        movement.slice_twice,
        movement.slice_broadcast,
    ),
    "flip": (
        movement.unmoved,
        movement.move_constant,
        movement.flip_twice,
        movement.flip_broadcast,
    ),
    "concatenate": (movement.concatenate_less,),
    "size": (folds.known_size,),
    "reduce_sum": _REDUCE,
    "reduce_prod": _REDUCE,
    "reduce_max": _REDUCE,
    "reduce_min": _REDUCE,
    "argmax": (folds.argument_of_single,),
    "argmin": (folds.argument_of_single,),
    "window_reduce": (folds.window_of_one,),
    "gather": (folds.gather_constant,),
    "dynamic_slice": (folds.slice_at_constant,),
    "dynamic_update_slice": (folds.update_everything,),
}

SOLE_USE_RULES: Mapping[str, Rule] = {
    "permute": folds.transposed_dot,
    "reduce_sum": folds.reduce_twice,
    "reduce_prod": folds.reduce_twice,
    "reduce_max": folds.reduce_twice,
    "reduce_min": folds.reduce_twice,
}


def keep_activations(roots: Sequence[Node]) -> list[Node]:
    """Ask the result of a limiting function, not its argument, which side of the limit it is on.

    Take relu, y = select(z <= 0, 0, z), whose gradient asks z <= 0 again. That is y <= 0:

        z      z <= 0   y    y <= 0
        z > 0  False    z    False
        ±0     True     0    True
        z < 0  True     0    True      (the zero of y may be -0, which is <= 0 as well)
        NaN    False    NaN  False

    Only y then has to be kept for the backward pass, and the next layer keeps y anyway. With any
    number c for 0 the same table holds for

        select(z <= c, c, z)   z <= c is y <= c
        select(c <= z, c, z)   c <= z is c <= y    (the upper limit of relu6)
        select(c < z, z, c)    c < z is c < y, and NaN becomes c, where both are False
        select(z < c, z, c)    z < c is y < c, likewise

    It does not hold for leaky relu: z * slope may round to -0, which 0 <= y calls positive.
    The comparison's other users cannot be below y, which has no sources but these, so no cycle
    comes about.
    """
    order = toposort(roots)
    limited: dict[int, Node] = {}  # comparison -> the limiting select
    for node in order:
        if is_a(node, "select") and _limits(node):
            limited[id(node.srcs[0])] = node
    if not limited:
        return list(roots)

    # Every node stands for itself until a user of a comparison is met.
    new: dict[int, Node] = {}

    def replaced(src: Node, user: Node) -> Node:
        limiting = limited.get(id(src))
        if limiting is None or limiting is user:
            return new[id(src)]
        _, x, y = limiting.srcs
        z = y if constant(x) is not None else x
        now = b.select(new[id(src)], *(new[id(z)] if v is z else v for v in (x, y)))
        left, right = src.srcs
        with layer_scope(user.origin.layer):
            return make(src.prim.name, *(now if s is z else s for s in (left, right)))

    for node in order:
        new[id(node)] = remake(node, [replaced(src, node) for src in node.srcs])
    return [new[id(root)] for root in roots]


def _limits(node: Node) -> bool:
    cond, x, y = node.srcs
    if not is_a(cond, "le", "lt"):
        return False
    limit, z = (x, y) if is_a(cond, "le") else (y, x)
    c = constant(limit)
    if c is None or c != c:
        return False
    left, right = cond.srcs
    other = right if left is z else left if right is z else None
    return other is not None and other is not z and constant(other) == c
