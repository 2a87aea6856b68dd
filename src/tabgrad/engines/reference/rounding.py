"""The reference with error bars: how far a right kernel may be from a node's exact value.

A kernel adds in another order than the reference and has other approximations of exp, log and so
on; what follows may magnify such differences (a cancellation) or make them jumps (a comparison). So
the graph under a node is evaluated several times, with the rounding that is allowed put on every
operation: the spread of the results is what is allowed. Additions, products and the like of single
elements are rounded alike everywhere, and get none unless what they are made of may differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tabgrad.engines.reference.interpret import evaluate
from tabgrad.ir.graph import Node, toposort

Array = np.ndarray[Any, np.dtype[Any]]

# Half of the samples move all elements of an operation one way, half move each element by itself.
# The rows are for operations in turn: each errs both ways, and of any two the errors add up in some
# samples and take each other away in others.
SIGNS = ((1, -1, 1, -1), (1, 1, -1, -1), (1, -1, -1, 1))
SAMPLES = 8
MARGIN = 3.0  # times the spread of the samples, which rarely hold the extreme case

# Units in the last place that an approximation may be off, with room for the reference's own.
APPROXIMATE: Mapping[str, float] = {
    **dict.fromkeys(("exp", "expm1", "log", "log1p", "sin", "cos", "tan", "erf", "atan2"), 3.0),
    **dict.fromkeys(("tanh", "sigmoid"), 5.0),
    "pow": 3.0,
    "mod": 3.0,
    "floordiv": 3.0,
}
# Units of the largest element for whatever happens inside a closed graph, which is not looked into.
CLOSED = 256.0
ROUNDED = frozenset({"add", "sub", "mul", "div", "sqrt", "cast"})
SUMS = frozenset({"reduce_sum", "window_reduce", "dot", "conv", "scatter"})


def evaluate_with_error(node: Node, known: Mapping[Node, Array]) -> tuple[Array, Array]:
    """The exact value of a node and, for each element, how far from it a kernel may be.

    Args:
        node: a node with one output.
        known: values of nodes; nothing below them is evaluated. `node` itself is, even if known.
    """
    random = np.random.default_rng(0)
    exact: dict[Node, Array] = {}
    samples: dict[Node, list[Array]] = {}
    count = 0
    for at in toposort([node], lambda n: n is not node and n in known):
        if at is not node and at in known:
            exact[at] = known[at]
            continue
        if len(at.outs) > 1:
            continue  # its projections evaluate it
        sources = at.srcs[0].srcs if at.prim.name == "proj" else at.srcs
        (value,) = evaluate([at], {src: exact[src] for src in sources})
        exact[at] = value
        found = [value] * SAMPLES
        uncertain = any(src in samples for src in sources)
        if uncertain:
            found = [
                evaluate([at], {s: samples[s][i] if s in samples else exact[s] for s in sources})[0]
                for i in range(SAMPLES)
            ]
        error = _rounding(at, [exact[src] for src in sources], value, uncertain)
        if error is not None:
            signs = [*SIGNS[count % len(SIGNS)], *random.choice((-1.0, 1.0), (4, *value.shape))]
            found = [_moved(one, error * sign) for one, sign in zip(found, signs, strict=True)]
            count += 1
        if any(one is not value for one in found):
            samples[at] = found
    value = exact[node]
    allowed = np.zeros(value.shape)
    for one in samples.get(node, []):
        allowed = np.maximum(allowed, _distance(one, value))
    return value, MARGIN * allowed


def _moved(value: Array, error: Array) -> Array:
    with np.errstate(all="ignore"):
        moved = value.astype(np.float64) + np.where(np.isfinite(value), error, 0.0)
        return moved.astype(value.dtype)


def _distance(one: Array, other: Array) -> Array:
    """How far apart elements are; infinitely where one is a number and one is not."""
    with np.errstate(all="ignore"):
        x, y = one.astype(np.float64), other.astype(np.float64)
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        apart = np.abs(x - y)
        return np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))


def differences(got: Array, value: Array, allowed: Array) -> Array:
    """How far elements are off; 0 for those that are as near as `allowed`."""
    distance = _distance(got, value)
    return np.where(distance <= allowed, 0.0, distance)


def _rounding(node: Node, sources: list[Array], value: Array, uncertain: bool) -> Array | None:
    """The rounding that a kernel may do differently in this one operation; None for none.
    `uncertain` sources may differ already, by less than any sample shows."""
    if value.dtype.kind != "f":
        return None
    info = np.finfo(value.dtype)
    unit, name = float(info.eps), node.prim.name
    with np.errstate(all="ignore"):
        if (node.srcs[0] if name == "proj" else node).prim.family == "control":
            sizes: Array = np.abs(value.astype(np.float64))
            largest = float(np.max(sizes, initial=0, where=sizes < np.inf))
            return np.zeros(sizes.shape) + unit * CLOSED * largest
        if name == "cumulative" and node.params["op"] in ("sum", "prod"):
            length: int = node.shape[node.params["axis"]]
            of_sums = node.params["op"] == "sum"
            size = _magnitude(node, sources) if of_sums else np.abs(value.astype(np.float64))
            return np.asarray(unit * length * size)
        if name in SUMS and node.params.get("op", "sum") in ("sum", "add"):
            terms = _terms(node, sources)
            # Sequential sums err by up to a unit a term; long ones are made in blocks.
            units = min(terms, 8 * math.sqrt(terms))
            return unit * units * _magnitude(node, sources)
        if name == "reduce_prod":
            terms = sources[0].size // max(value.size, 1)
            return unit * terms * np.abs(value.astype(np.float64))
        if name in APPROXIMATE:
            size = np.abs(value.astype(np.float64))
            if name in ("mod", "floordiv"):
                # They come from a rounded quotient, so what counts is the dividend.
                size = size + np.abs(sources[0].astype(np.float64))
            return unit * APPROXIMATE[name] * size + float(info.tiny)
        if uncertain and name in ROUNDED:
            return unit * np.abs(value.astype(np.float64))
    return None


def _terms(node: Node, sources: list[Array]) -> int:
    """The number of terms in the longest sum of a node."""
    name, p = node.prim.name, node.params
    if name == "window_reduce":
        return math.prod(p["window"])
    if name == "scatter":
        return 1 + sources[1].size
    if name == "dot":
        return math.prod(sources[0].shape[d] for d in p["contract"][0])
    # Of conv, one filter; of a sum, what makes one result.
    results = sources[1].shape[p["dims"][1][0]] if name == "conv" else node.size
    return int(sources[name == "conv"].size // max(results, 1))


def _magnitude(node: Node, sources: list[Array]) -> Array:
    """The same sums of the terms' magnitudes."""
    sizes = [np.abs(x) if x.dtype.kind == "f" else x for x in sources]
    (result,) = evaluate([node], dict(zip(node.srcs, sizes, strict=True)))
    return np.asarray(result.astype(np.float64))
