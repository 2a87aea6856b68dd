"""Images as (batch, height, width, channels), whatever layout they come in."""

from __future__ import annotations

from typing import Any

from tabgrad import dtypes
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node
from tabgrad.ops.arguments import node_of
from tabgrad.ops.convolution import channels_last
from tabgrad.tensor import Tensor


class Images:
    """One image or a batch, in either layout, seen as a batch with channels last.

    `node` is that batch; `restored` puts a result of the same kind back into the given layout.
    """

    def __init__(self, name: str, images: Any, data_format: str | None) -> None:
        node = node_of(images)
        self.last = channels_last(data_format)
        self.single = len(node.shape) == 3
        if len(node.shape) not in (3, 4):
            raise ShapeError(
                f"{name} expected an image {'(h, w, c)' if self.last else '(c, h, w)'} or a batch "
                f"of images; received {list(node.shape)}. Add the axes that are missing"
            )
        self.dtype = node.dtype
        if self.single:
            node = b.reshape(node, (1, *node.shape))
        self.node = node if self.last else b.permute(node, (0, 2, 3, 1))

    def with_pixels(self, name: str) -> Images:
        """These images; raises ShapeError where they have no pixels to read."""
        if not self.node.shape[1] or not self.node.shape[2]:
            raise ShapeError(
                f"{name} expected images with pixels; received {list(self.node.shape)} (batch, h, "
                "w, c). Leave out what is empty"
            )
        return self

    def floats(self) -> Node:
        """The batch in a floating-point type."""
        return self.node if self.dtype.is_float else b.cast(self.node, dtypes.float32)

    def restored(self, node: Node, dtype: Any = None) -> Tensor:
        """A batch with channels last in the layout of the argument, converted to `dtype` if given;
        an integer type takes the nearest whole number."""
        if dtype is not None and node.dtype is not dtype:
            if node.dtype.is_float and not dtype.is_float:
                node = b.unary("round", node)
            node = b.cast(node, dtype)
        if not self.last:
            node = b.permute(node, (0, 3, 1, 2))
        return Tensor(b.reshape(node, node.shape[1:]) if self.single else node)


def choice(name: str, what: str, value: Any, among: Any) -> Any:
    """`value`, where it is one of `among`; else ArgumentError."""
    if not isinstance(value, (str, int)) or value not in among:
        raise ArgumentError(
            f"{name} expected {what} to be one of {', '.join(map(repr, among))}; received {value!r}"
        )
    return value
