"""Evaluating a graph: nodes in topological order, one rule each. No compilation, no engine buffers.

NumPy is imported at the first evaluation, because the package itself must import without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from tabgrad.errors import NotSupportedError, TabgradError
from tabgrad.ir.graph import Node, toposort

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]
    Value = Array | tuple[Array, ...]

Rule = Callable[..., Any]

BOUND = frozenset({"input", "value", "rows"})
"""Primitives without a rule: their arrays are given to `evaluate`."""


def numpy() -> Any:
    """The NumPy module, or an error that says how to get it."""
    try:
        import numpy as np
    except ImportError:
        raise NotSupportedError(
            "the reference engine needs NumPy; install it with: python -m pip install numpy"
        ) from None
    return np


@cache
def _rules() -> dict[str, Rule]:
    numpy()
    from tabgrad.engines.reference import contract, control, elementwise, movement, order, reduce

    return {
        **elementwise.RULES,
        **movement.RULES,
        **reduce.RULES,
        **contract.RULES,
        **order.RULES,
        **control.RULES,
        "proj": _proj,
        "custom": _custom,
    }


def rule_names() -> frozenset[str]:
    """Names of the primitives that can be evaluated, with those whose arrays are given."""
    return BOUND | _rules().keys()


def _proj(params: Any, out: Any, value: Value) -> Array:
    return value[params["index"]] if isinstance(value, tuple) else value


def _custom(params: Any, out: Any, *values: Array) -> tuple[Array, ...]:
    return values[: params["n_out"]]


def evaluate(outputs: Sequence[Node], leaves: Mapping[Node, Array]) -> list[Array]:
    """The values of `outputs`, given the arrays of `input`, `value` and `rows` nodes.

    Args:
        outputs: nodes with one output each (read a node with several through `proj`).
        leaves: node to array of the node's shape and dtype. Any node may be given, and nothing
            below a given node is evaluated; so a part of a graph can be run on its own.

    Returns:
        one array per output, never an alias of an array in `leaves`.

    Raises:
        TabgradError: a leaf is needed and not given, or has another shape or dtype than its node.
        NotSupportedError: NumPy is not installed.

    Example:
        >>> import numpy as np
        >>> from tabgrad import dtypes
        >>> from tabgrad.ir.graph import make
        >>> x = make("input", index=0, shape=(2,), dtype=dtypes.float32)
        >>> evaluate([make("neg", x)], {x: np.float32([1, 2])})
        [array([-1., -2.], dtype=float32)]
    """
    np, rules = numpy(), _rules()
    values: dict[Node, Value] = {}
    order = toposort(outputs, stop=leaves.__contains__)
    # How many readers are left: a value is forgotten after its last, so memory stays the graph's
    # width and not its length.
    readers = Counter(src for node in order if node not in leaves for src in node.srcs)
    readers.update(outputs)
    with np.errstate(all="ignore"):
        for node in order:
            if node in leaves:
                values[node] = _checked(node, (np.asarray(leaves[node]),))[0]
                continue
            rule = rules.get(node.prim.name)
            if rule is None:
                raise TabgradError(f"the reference was given no array for the leaf {node!r}")
            result = rule(node.params, node.outs, *[values[src] for src in node.srcs])
            results = result if isinstance(result, tuple) else (result,)
            arrays = _checked(node, tuple(map(np.asarray, results)))
            # The only output of a node is read directly, also that of a scan.
            values[node] = arrays if len(arrays) > 1 else arrays[0]
            for src in node.srcs:
                readers[src] -= 1
                if not readers[src]:
                    values.pop(src, None)
    return [np.array(_only(node, values[node])) for node in outputs]


def _checked(node: Node, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    got = [(array.shape, array.dtype.name) for array in arrays]
    expected = [(aval.shape, aval.dtype.name) for aval in node.outs]
    if got != expected:
        raise TabgradError(f"{node!r} must have shape and dtype {expected}, received {got}")
    return arrays


def _only(node: Node, value: Value) -> Array:
    if isinstance(value, tuple):
        raise TabgradError(f"{node!r} has {len(value)} outputs; evaluate its proj nodes")
    return value
