"""Scaled dot-product attention (Vaswani et al., 2017), with grouped query heads
(Ainslie et al., 2023).

Two products around a softmax: the scale, the bias and the masks are the first product's epilogue.
"""

from __future__ import annotations

import math
from typing import Any

from tabgrad.dtypes import bool_, float32, int32
from tabgrad.errors import ArgumentError, DtypeError, NotSupportedError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops import elementwise as e
from tabgrad.ops.activation import softmax
from tabgrad.ops.arguments import common, node_of
from tabgrad.tensor import Tensor

NAME = "dot_product_attention"
# Far below any score, but finite, so that a row that sees nothing has equal weights and no NaN.
MASKED = {4: -0.7 * 3.4028235e38, 8: -0.7 * 1.797e308}


def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Tensor:
    """softmax(scale * query @ key + bias) @ value for each head.

    Args:
        query: (batch, targets, heads, depth).
        key: (batch, sources, key heads, depth); heads are a multiple of the key heads, and so many
            neighbouring query heads share one.
        value: (batch, sources, key heads, value depth).
        bias: added to the scores, broadcasts to (batch, heads, targets, sources), or None.
        mask: bools of such a shape, False where a source must not be seen, or None.
        scale: factor of the scores; None is 1 / sqrt(depth).
        is_causal: target i sees the sources 0 .. i only.
        flash_attention: None or False. There is no separate kernel to ask for.
        attn_logits_soft_cap: scores become score / (1 + |score| / cap), or None.

    Returns:
        (batch, targets, heads, value depth) in the dtype of the arguments; the softmax is in
        float32 at least. A target that sees nothing gets the mean of all values.

    Raises:
        ShapeError: axes, heads or depths that do not fit.
        DtypeError: a mask that is not bool.
        NotSupportedError: flash_attention=True.
        ArgumentError: a soft cap that is not above 0.

    Example:
        >>> import tabgrad as tg
        >>> q, kv = tg.ones((2, 5, 4, 8)), tg.ones((2, 7, 2, 8))
        >>> tg.nn.dot_product_attention(q, kv, kv, is_causal=True).shape
        (2, 5, 4, 8)
    """
    if flash_attention:
        raise NotSupportedError(
            f"{NAME} expected flash_attention None or False; received {flash_attention!r}. Leave "
            "it out: the compiler fuses attention by itself"
        )
    q, k, v = common(NAME, query, key, value, floating=True)
    _check(q, k, v)
    if attn_logits_soft_cap is not None and attn_logits_soft_cap <= 0:
        raise ArgumentError(
            f"{NAME} expected a soft cap above 0 or None; received {attn_logits_soft_cap}. "
            "Leave it out for scores without a cap"
        )
    batch, targets, heads, depth = q.shape
    sources, shared = k.shape[1:3]
    # Scores are (batch, key heads, group, targets, sources).
    grid = (batch, shared, heads // shared, targets, sources)
    parted = b.reshape(q, (batch, targets, shared, heads // shared, depth))
    dots = make("dot", parted, k, batch=((0, 2), (0, 2)), contract=((4,), (3,)))
    dots = b.permute(dots, (0, 1, 3, 2, 4))
    if dots.dtype.itemsize < 4:
        dots = b.cast(dots, float32)
    scores = Tensor(dots) * (1 / math.sqrt(max(depth, 1)) if scale is None else scale)
    if bias is not None:
        scores = scores + Tensor(_grouped("a bias", b.cast(node_of(bias), dots.dtype), grid))
    if attn_logits_soft_cap is not None:
        scores = scores / (e.abs(scores) * (1.0 / attn_logits_soft_cap) + 1.0)
    seen = _seen(mask, is_causal, grid)
    if seen is not None:
        scores = e.where(Tensor(seen), scores, MASKED[dots.dtype.itemsize])
    weights = b.cast(softmax(scores).node, v.dtype)
    mixed = make("dot", weights, v, batch=((0, 1), (0, 2)), contract=((4,), (1,)))
    placed = b.permute(mixed, (0, 3, 1, 2, 4))
    return Tensor(b.reshape(placed, (batch, targets, heads, v.shape[3])))


def _check(q: Node, k: Node, v: Node) -> None:
    """Complain about shapes that do not fit together."""
    if any(len(node.shape) != 4 for node in (q, k, v)):
        raise ShapeError(
            f"{NAME} expected query, key and value (batch, length, heads, depth); received "
            f"{list(q.shape)}, {list(k.shape)} and {list(v.shape)}. "
            "Insert an axis of one head with x[:, :, None]"
        )
    batch, _, heads, depth = q.shape
    shared = k.shape[2]
    if k.shape[0] != batch or k.shape[3] != depth or v.shape[:3] != k.shape[:3]:
        raise ShapeError(
            f"{NAME} expected one batch, keys of the query's depth, and as many values as keys; "
            f"received query {list(q.shape)}, key {list(k.shape)} and value {list(v.shape)}. "
            "Project one of them to the sizes of the others"
        )
    if not shared or heads % shared:
        raise ShapeError(
            f"{NAME} expected a number of query heads divisible by that of key heads; received "
            f"{heads} and {shared}. "
            "Repeat the key heads, or leave some query heads out"
        )


def _seen(mask: Any, is_causal: bool, grid: tuple[int, ...]) -> Node | None:
    """Which sources each target sees, spread over the scores; None for all."""
    seen = None
    if mask is not None:
        given = node_of(mask)
        if given.dtype is not bool_:
            raise DtypeError(
                f"{NAME} expected a mask of bools, True where a source is seen; received "
                f"{given.dtype.name}. What is to be added to the scores is a bias"
            )
        seen = _grouped("a mask", given, grid)
    if is_causal:
        target, source = b.iota(grid, 3, int32), b.iota(grid, 4, int32)
        before = make("le", source, target)
        seen = before if seen is None else make("and", seen, before)
    return seen


def _grouped(what: str, node: Node, grid: tuple[int, ...]) -> Node:
    """Something that broadcasts to (batch, heads, targets, sources), spread over the scores."""
    batch, shared, group, targets, sources = grid
    wanted = (batch, shared * group, targets, sources)
    shape = (1,) * (4 - len(node.shape)) + node.shape
    if len(shape) != 4 or any(n not in (1, w) for n, w in zip(shape, wanted, strict=True)):
        raise ShapeError(
            f"{NAME} expected {what} that broadcasts to (batch, heads, targets, sources) = "
            f"{list(wanted)}; received {list(node.shape)}. Give axes it lacks the size 1"
        )
    heads = (shared, group) if shape[1] > 1 else (1, 1)
    return b.broadcast(b.reshape(node, (shape[0], *heads, *shape[2:])), grid, range(5))
