"""Rules of the control primitives: their closed graphs are evaluated again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tabgrad.engines.reference.interpret import evaluate
from tabgrad.ir.graph import Graph

Array = np.ndarray[Any, np.dtype[Any]]


def _call(graph: Graph, values: Sequence[Array]) -> list[Array]:
    return evaluate(graph.outputs, dict(zip(graph.inputs, values, strict=True)))


def _scan(params: Any, out: Any, *values: Array) -> tuple[Array, ...]:
    n_const, n_carry, length = params["n_const"], params["n_carry"], params["length"]
    consts, carry = values[:n_const], list(values[n_const : n_const + n_carry])
    xs = values[n_const + n_carry :]
    ys = [np.zeros(aval.shape, aval.dtype.name) for aval in out[n_carry:]]
    steps = range(length)
    for step in reversed(steps) if params["reverse"] else steps:
        results = _call(params["body"], [*consts, *carry, *(x[step] for x in xs)])
        carry = results[:n_carry]
        for stack, y in zip(ys, results[n_carry:], strict=True):
            stack[step] = y
    return (*carry, *ys)


def _while(params: Any, out: Any, *values: Array) -> tuple[Array, ...]:
    n_const = params["n_const"]
    consts, carry = values[:n_const], list(values[n_const:])
    while _call(params["test"], [*consts, *carry])[0]:
        carry = _call(params["body"], [*consts, *carry])
    return tuple(carry)


def _cond(params: Any, out: Any, index: Array, *operands: Array) -> tuple[Array, ...]:
    last = params["branches"] - 1
    return tuple(_call(params[f"branch{min(max(int(index), 0), last)}"], operands))


RULES: dict[str, Callable[..., Any]] = {"scan": _scan, "while": _while, "cond": _cond}
