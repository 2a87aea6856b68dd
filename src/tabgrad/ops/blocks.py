"""Blocks of images laid out as channels or as samples, and back: no value changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import node_of
from tabgrad.ops.convolution import channels_last
from tabgrad.ops.patches import padded
from tabgrad.tensor import Tensor


def _blocks(name: str, x: Any, block_size: int, data_format: str) -> tuple[Node, bool]:
    node = node_of(x)
    if len(node.shape) != 4:
        raise ShapeError(
            f"{name} expected (batch, height, width, channels), or channels first; received "
            f"{list(node.shape)}. "
            "A single image is a batch of one, x[None]"
        )
    if not isinstance(block_size, int) or block_size < 1:
        raise ArgumentError(f"{name} expected a positive int block_size; received {block_size!r}")
    return node, channels_last(data_format)


def depth_to_space(x: Any, block_size: int, data_format: str = "channels_last") -> Tensor:
    """Channels laid out as blocks of pixels (pixel shuffle, Shi et al., 2016).

    Args:
        x: (batch, height, width, channels), or channels first.
        block_size: height and width of a block.
        data_format: "channels_last" or "channels_first".

    Returns:
        (batch, height * block, width * block, channels / block**2), or channels first, of the
        dtype of x.

    Raises:
        ShapeError: channels that are not a multiple of block_size**2.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.reshape(tg.arange(4.0), (1, 1, 1, 4))
        >>> tg.nn.depth_to_space(x, 2).shape
        (1, 2, 2, 1)
    """
    node, last = _blocks("depth_to_space", x, block_size, data_format)
    k = block_size
    n, (h, w, c) = node.shape[0], _space(node.shape, last)
    if c % (k * k):
        raise ShapeError(
            f"depth_to_space expected channels divisible by {k} * {k}; received {list(node.shape)}."
            " Choose a block size whose square divides the channels"
        )
    depth = c // (k * k)
    if last:
        node = b.permute(b.reshape(node, (n, h, w, k, k, depth)), (0, 1, 3, 2, 4, 5))
        return Tensor(b.reshape(node, (n, h * k, w * k, depth)))
    node = b.permute(b.reshape(node, (n, depth, k, k, h, w)), (0, 1, 4, 2, 5, 3))
    return Tensor(b.reshape(node, (n, depth, h * k, w * k)))


def space_to_depth(x: Any, block_size: int, data_format: str = "channels_last") -> Tensor:
    """Blocks of pixels laid out as channels: the inverse of `depth_to_space`.

    Args:
        x: (batch, height, width, channels), or channels first.
        block_size: height and width of a block.
        data_format: "channels_last" or "channels_first".

    Returns:
        (batch, height / block, width / block, channels * block**2), or channels first, of the
        dtype of x.

    Raises:
        ShapeError: a height or width that is not a multiple of block_size.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.space_to_depth(tg.ones((1, 4, 6, 3)), 2).shape
        (1, 2, 3, 12)
    """
    node, last = _blocks("space_to_depth", x, block_size, data_format)
    k = block_size
    n, (h, w, c) = node.shape[0], _space(node.shape, last)
    if h % k or w % k:
        raise ShapeError(
            f"space_to_depth expected a height and width divisible by {k}; received "
            f"{list(node.shape)}. "
            "Pad the image with tg.ops.pad, or choose another block size"
        )
    high, wide = h // k, w // k
    if last:
        node = b.permute(b.reshape(node, (n, high, k, wide, k, c)), (0, 1, 3, 2, 4, 5))
        return Tensor(b.reshape(node, (n, high, wide, c * k * k)))
    node = b.permute(b.reshape(node, (n, c, high, k, wide, k)), (0, 1, 3, 5, 2, 4))
    return Tensor(b.reshape(node, (n, c * k * k, high, wide)))


def _space(shape: Sequence[int], last: bool) -> tuple[int, int, int]:
    """Height, width and channels."""
    return (shape[1], shape[2], shape[3]) if last else (shape[2], shape[3], shape[1])


def _block_shape(
    name: str, x: Any, block_shape: Sequence[int], edges: Sequence[Sequence[int]], what: str
) -> tuple[Node, tuple[int, ...], list[tuple[int, int]]]:
    node, blocks = node_of(x), tuple(block_shape)
    pairs = [(int(lo), int(hi)) for lo, hi in edges]
    if (
        len(node.shape) <= len(blocks)
        or len(pairs) != len(blocks)
        or any(not isinstance(k, int) or k < 1 for k in blocks)
        or any(min(pair) < 0 for pair in pairs)
    ):
        raise ArgumentError(
            f"{name} expected a positive block size and a pair of {what} for each of the axes "
            f"after the batch that are cut; received block_shape {block_shape!r} and {what} "
            f"{edges!r} for shape {list(node.shape)}"
        )
    return node, blocks, pairs


def space_to_batch(x: Any, block_shape: Sequence[int], paddings: Sequence[Sequence[int]]) -> Tensor:
    """Blocks of the axes after the batch moved into the batch (`tf.space_to_batch`): each place of
    a block becomes a sample of its own.

    Args:
        x: (batch, *space, ...).
        block_shape: the size of a block on each spatial axis.
        paddings: zeros (before, after) on each spatial axis.

    Returns:
        (batch * block size, *(padded space / block), ...).

    Raises:
        ShapeError: a padded size that is not a multiple of its block.
        ArgumentError: blocks and paddings that do not fit together.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.reshape(tg.arange(4.0), (1, 4, 1))
        >>> tg.nn.space_to_batch(x, [2], [(0, 0)]).tolist()
        [[[0.0], [2.0]], [[1.0], [3.0]]]
    """
    node, blocks, pairs = _block_shape("space_to_batch", x, block_shape, paddings, "paddings")
    n = len(blocks)
    node = padded(node, 1, pairs, 0)
    batch, space, rest = node.shape[0], node.shape[1 : n + 1], node.shape[n + 1 :]
    if any(size % k for size, k in zip(space, blocks, strict=True)):
        raise ShapeError(
            f"space_to_batch expected padded sizes divisible by the blocks {list(blocks)}; "
            f"received {list(space)}. "
            "Choose paddings that fill the last blocks"
        )
    parted = [v for size, k in zip(space, blocks, strict=True) for v in (size // k, k)]
    node = b.reshape(node, (batch, *parted, *rest))
    outer, inner = range(1, 2 * n, 2), range(2, 2 * n + 1, 2)
    node = b.permute(node, (*inner, 0, *outer, *range(2 * n + 1, len(node.shape))))
    total = batch * math.prod(blocks)
    return Tensor(b.reshape(node, (total, *parted[::2], *rest)))


def batch_to_space(x: Any, block_shape: Sequence[int], crops: Sequence[Sequence[int]]) -> Tensor:
    """Samples put back as blocks of the axes after the batch (`tf.batch_to_space`): the inverse of
    `space_to_batch`.

    Args:
        x: (batch * block size, *space, ...).
        block_shape: the size of a block on each spatial axis.
        crops: how much is cut away (before, after) on each spatial axis.

    Returns:
        (batch, *(space * block - crops), ...), of the dtype of x.

    Raises:
        ShapeError: a batch that is not a multiple of the block size, or crops that leave nothing.
        ArgumentError: blocks and crops that do not fit together.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([[[0.0], [2.0]], [[1.0], [3.0]]])
        >>> tg.nn.batch_to_space(x, [2], [(1, 0)]).tolist()
        [[[1.0], [2.0], [3.0]]]
    """
    node, blocks, pairs = _block_shape("batch_to_space", x, block_shape, crops, "crops")
    n, area = len(blocks), math.prod(blocks)
    space, rest = node.shape[1 : n + 1], node.shape[n + 1 :]
    whole = [size * k for size, k in zip(space, blocks, strict=True)]
    if node.shape[0] % area or any(
        lo + hi > size for (lo, hi), size in zip(pairs, whole, strict=True)
    ):
        raise ShapeError(
            f"batch_to_space expected a batch divisible by {area} and crops within {whole}; "
            f"received shape {list(node.shape)} and crops {pairs}. "
            "Give the block shape and crops that undo space_to_batch"
        )
    batch = node.shape[0] // area
    node = b.reshape(node, (*blocks, batch, *space, *rest))
    pairs_of_axes = [d for i in range(n) for d in (n + 1 + i, i)]
    node = b.permute(node, (n, *pairs_of_axes, *range(2 * n + 1, len(node.shape))))
    node = b.reshape(node, (batch, *whole, *rest))
    if not any(lo or hi for lo, hi in pairs):
        return Tensor(node)
    start = (0, *(lo for lo, _ in pairs), *(0,) * len(rest))
    stop = (batch, *(size - hi for (_, hi), size in zip(pairs, whole, strict=True)), *rest)
    return Tensor(make("slice", node, start=start, stop=stop, step=(1,) * len(start)))
