"""One step of recurrent networks, as functions: an LSTM cell, and cells stacked on each other.

A whole sequence is `tg.ops.scan` of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import common
from tabgrad.ops.linear import matmul
from tabgrad.ops.manipulation import concatenate, split
from tabgrad.tensor import Tensor

Cell = Callable[[Any, Any, Any], Sequence[Tensor]]


def basic_lstm_cell(
    forget_bias: Any, kernel: Any, bias: Any, data: Any, c: Any, h: Any
) -> tuple[Tensor, Tensor]:
    """One step of long short-term memory (Hochreiter and Schmidhuber, 1997; the forget gate of
    Gers et al., 2000), with the arguments of `tf.basicLSTMCell`.

    Args:
        forget_bias: added to the forget gate before its sigmoid.
        kernel: (inputs + units, 4 * units): of the input gate, the candidate, the forget gate and
            the output gate, in this order.
        bias: (4 * units,).
        data: (batch, inputs).
        c, h: the previous cell state and output, (batch, units).

    Returns:
        The new cell state and output, (batch, units) each, of the promoted float dtype.

    Raises:
        ShapeError: arguments that do not fit together.

    Example:
        >>> import tabgrad as tg
        >>> kernel, state = tg.zeros((5, 8)), tg.ones((1, 2))
        >>> c, h = tg.nn.basic_lstm_cell(0.0, kernel, tg.zeros(8), tg.ones((1, 3)), state, state)
        >>> c.tolist()
        [[0.5, 0.5]]
    """
    nodes = common("basic_lstm_cell", kernel, bias, data, c, h, floating=True)
    weights, shift, x, cell, out = map(Tensor, nodes)
    units = cell.shape[-1] if cell.shape else 0
    if (
        len(x.shape) != 2
        or cell.shape != (x.shape[0], units)
        or out.shape != cell.shape
        or weights.shape != (x.shape[1] + units, 4 * units)
        or shift.shape != (4 * units,)
    ):
        raise ShapeError(
            "basic_lstm_cell expected data (batch, inputs), c and h (batch, units), a kernel "
            "(inputs + units, 4 * units) and a bias (4 * units,); received "
            f"{list(x.shape)}, {list(cell.shape)}, {list(out.shape)}, {list(weights.shape)} and "
            f"{list(shift.shape)}"
        )
    gates = matmul(concatenate([x, out], axis=1), weights) + shift
    enter, candidate, forget, leave = split(gates, 4, axis=1)
    kept = cell * e.sigmoid(forget + forget_bias)
    new = kept + e.sigmoid(enter) * e.tanh(candidate)
    return new, e.tanh(new) * e.sigmoid(leave)


def multi_rnn_cell(
    cells: Sequence[Cell], data: Any, c: Sequence[Any], h: Sequence[Any]
) -> tuple[list[Tensor], list[Tensor]]:
    """One step of cells stacked on each other, each fed with the output of the one below
    (`tf.multiRNNCell`).

    Args:
        cells: functions (data, c, h) to (new c, new h), such as `basic_lstm_cell` with its first
            three arguments given by `functools.partial`.
        data: what the first cell is fed with.
        c, h: the previous cell state and output of each.

    Returns:
        The new cell states and outputs, a list each.

    Raises:
        ArgumentError: states for another number of cells.

    Example:
        >>> import tabgrad as tg
        >>> cell, state = lambda data, c, h: (c + 1, data * 2), [tg.zeros(1), tg.zeros(1)]
        >>> c, h = tg.nn.multi_rnn_cell([cell, cell], tg.ones(1), state, state)
        >>> [x.tolist() for x in h]
        [[2.0], [4.0]]
    """
    if not len(cells) == len(c) == len(h):
        raise ArgumentError(
            f"multi_rnn_cell expected a c and an h for each of {len(cells)} cells; received "
            f"{len(c)} and {len(h)}"
        )
    states, outputs = [], []
    for cell, old, before in zip(cells, c, h, strict=True):
        new, data = cell(data, old, before)
        states.append(new)
        outputs.append(data)
    return states, outputs
