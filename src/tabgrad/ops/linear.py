"""Products of matrices and tensors: matmul, dot, tensordot, einsum. All are the primitive `dot`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad import dtypes
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import broadcast_shapes, common, on_products, parts_of
from tabgrad.tensor import Tensor


def _pair(name: str, x1: Any, x2: Any) -> tuple[Node, Node]:
    x, y = common(name, x1, x2)
    if x.dtype.kind == "b":
        x, y = b.cast(x, dtypes.int32), b.cast(y, dtypes.int32)
    return x, y


@on_products("x1", "x2")
def matmul(x1: Any, x2: Any) -> Tensor:
    """Matrix product of the last two axes, broadcasting the others; 1-d operands are vectors.

    Raises:
        ShapeError: inner sizes that differ, with both shapes.

    Example:
        >>> import tabgrad as tg
        >>> tg.matmul(tg.ones((2, 3)), tg.ones((3, 4))).shape
        (2, 4)
    """
    x, y = _pair("matmul", x1, x2)
    if not x.shape or not y.shape:
        raise ShapeError(
            f"matmul expected at least one axis in each operand; received {list(x.shape)} and "
            f"{list(y.shape)}"
        )
    k_x, k_y = len(x.shape) - 1, max(len(y.shape) - 2, 0)
    if x.shape[k_x] != y.shape[k_y]:
        raise ShapeError(
            f"matmul expected equal inner sizes; received {list(x.shape)} and {list(y.shape)}"
        )
    lead_x, lead_y = x.shape[:-2], y.shape[:-2]
    if not lead_y:  # every row of x meets one matrix: no batch at all
        return Tensor(make("dot", x, y, contract=((k_x,), (k_y,)), batch=((), ())))
    batch = broadcast_shapes("matmul", lead_x, lead_y)
    n = len(batch)
    x = b.broadcast(x, batch + x.shape[len(lead_x) :], _tail_dims(lead_x, n, x))
    y = b.broadcast(y, batch + y.shape[len(lead_y) :], _tail_dims(lead_y, n, y))
    both = tuple(range(n))
    k = ((len(x.shape) - 1,), (len(y.shape) - 2,))
    return Tensor(make("dot", x, y, contract=k, batch=(both, both)))


def _tail_dims(lead: Sequence[int], n: int, node: Node) -> list[int]:
    core = len(node.shape) - len(lead)
    return [*range(n - len(lead), n), *range(n, n + core)]


@on_products("x1", "x2")
def dot(x1: Any, x2: Any) -> Tensor:
    """NumPy's dot: the last axis of x1 with the second last of x2, no broadcasting."""
    x, y = _pair("dot", x1, x2)
    if not x.shape or not y.shape:
        from tabgrad.ops.elementwise import multiply

        return multiply(Tensor(x), Tensor(y))
    k_y = max(len(y.shape) - 2, 0)
    if x.shape[-1] != y.shape[k_y]:
        raise ShapeError(
            f"dot expected equal inner sizes; received {list(x.shape)} and {list(y.shape)}"
        )
    return Tensor(make("dot", x, y, contract=((len(x.shape) - 1,), (k_y,)), batch=((), ())))


def vecdot(x1: Any, x2: Any, axis: int = -1) -> Tensor:
    """Sum of products along one axis, broadcasting the others; complex x1 is conjugated."""
    from tabgrad.ops.complex_numbers import conj
    from tabgrad.ops.elementwise import multiply
    from tabgrad.ops.reduction import sum as sum_

    return sum_(multiply(conj(x1), x2), axis)


@on_products("x1", "x2")
def outer(x1: Any, x2: Any) -> Tensor:
    """All products of the elements of two vectors (flattened)."""
    x, y = _pair("outer", x1, x2)
    x, y = b.reshape(x, (x.size,)), b.reshape(y, (y.size,))
    return Tensor(make("dot", x, y, contract=((), ()), batch=((), ())))


@on_products("x1", "x2")
def tensordot(x1: Any, x2: Any, axes: int | Sequence[Sequence[int]] = 2) -> Tensor:
    """Sum over pairs of axes: the last n of x1 with the first n of x2, or two lists of axes."""
    x, y = _pair("tensordot", x1, x2)
    if isinstance(axes, int):
        rank = len(x.shape)
        mine, theirs = tuple(range(rank - axes, rank)), tuple(range(axes))
    else:
        mine = tuple(a % len(x.shape) for a in axes[0])
        theirs = tuple(a % len(y.shape) for a in axes[1])
    return Tensor(make("dot", x, y, contract=(mine, theirs), batch=((), ())))


@on_products("operands")
def einsum(subscripts: str, *operands: Any) -> Tensor:
    """Sum of products by Einstein's convention, operands taken from left to right.

    Every letter names an axis; letters absent from the output are summed. "..." stands for leading
    axes that broadcast.

    Raises:
        ArgumentError: an equation that does not fit the operands.

    Example:
        >>> import tabgrad as tg
        >>> tg.einsum("ij,jk->ik", tg.ones((2, 3)), tg.ones((3, 4))).shape
        (2, 4)
    """
    nodes = common("einsum", *[Tensor(*parts_of(x)) for x in operands])
    terms, out = _parse(subscripts, nodes)
    letters, node = terms[0], nodes[0]
    for i in range(1, len(nodes)):
        later = set(out).union(*terms[i + 1 :]) if i + 1 < len(terms) else set(out)
        letters, node = _contract(letters, node, terms[i], nodes[i], later)
    letters, node = _diagonals(letters, node)
    drop = [d for d, letter in enumerate(letters) if letter not in out]
    node = b.reduce("reduce_sum", node, drop)
    letters = [letter for letter in letters if letter in out]
    return Tensor(b.permute(node, [letters.index(letter) for letter in out]))


def _parse(subscripts: str, nodes: Sequence[Node]) -> tuple[list[list[str]], list[str]]:
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if len(parts) != len(nodes):
        raise ArgumentError(
            f"einsum expected {len(parts)} operands for {subscripts!r}; received {len(nodes)}"
        )
    extra = [
        len(node.shape) - len(p.replace("...", "")) for p, node in zip(parts, nodes, strict=True)
    ]
    widest = max([n for p, n in zip(parts, extra, strict=True) if "..." in p], default=0)
    dots = [f".{i}" for i in range(widest)]
    terms = []
    for p, node, n in zip(parts, nodes, extra, strict=True):
        head, ellipsis, tail = p.partition("...")
        if n < 0 or (n and not ellipsis):
            raise ArgumentError(
                f"einsum term {p!r} of {subscripts!r} does not fit shape {list(node.shape)}"
            )
        terms.append([*head, *dots[widest - n :][: n if ellipsis else 0], *tail])
    sizes: dict[str, int] = {}
    for term, node in zip(terms, nodes, strict=True):
        for letter, n in zip(term, node.shape, strict=True):
            if sizes.setdefault(letter, n) != n:
                raise ShapeError(
                    f"einsum {subscripts!r}: axis {letter!r} has sizes {sizes[letter]} and {n}"
                )
    if arrow:
        head, ellipsis, tail = right.partition("...")
        out = [*head, *(dots if ellipsis else []), *tail]
    else:
        seen = [letter for term in terms for letter in term]
        out = dots + sorted({c for c in seen if not c.startswith(".") and seen.count(c) == 1})
    unknown = [letter for letter in out if letter not in sizes]
    if unknown or len(set(out)) != len(out):
        raise ArgumentError(
            f"einsum output of {subscripts!r} must name distinct axes of its inputs"
        )
    return terms, out


def _diagonals(letters: Sequence[str], node: Node) -> tuple[list[str], Node]:
    """Axes with the same letter reduced to their diagonal."""
    letters = list(letters)
    for letter in sorted({c for c in letters if letters.count(c) > 1}):
        while letters.count(letter) > 1:
            i = letters.index(letter)
            j = letters.index(letter, i + 1)
            same = b.eq(b.iota(node.shape, i, dtypes.int32), b.iota(node.shape, j, dtypes.int32))
            node = b.reduce("reduce_sum", b.select(same, node, b.like(node, 0)), (j,))
            del letters[j]
    return letters, node


def _contract(
    x_letters: Sequence[str], x: Node, y_letters: Sequence[str], y: Node, later: set[str]
) -> tuple[list[str], Node]:
    x_names, x = _diagonals(x_letters, x)
    y_names, y = _diagonals(y_letters, y)
    # What only one operand has and nobody needs later is summed before it is multiplied.
    for names, other in ((x_names, y_names), (y_names, x_names)):
        lonely = [d for d, c in enumerate(names) if c not in other and c not in later]
        if lonely:
            if names is x_names:
                x = b.reduce("reduce_sum", x, lonely)
            else:
                y = b.reduce("reduce_sum", y, lonely)
            for d in reversed(lonely):
                del names[d]
    shared = [c for c in x_names if c in y_names]
    batch = [c for c in shared if c in later]
    gone = [c for c in shared if c not in later]
    result = make(
        "dot",
        x,
        y,
        contract=(tuple(map(x_names.index, gone)), tuple(map(y_names.index, gone))),
        batch=(tuple(map(x_names.index, batch)), tuple(map(y_names.index, batch))),
    )
    free = [c for c in x_names if c not in shared] + [c for c in y_names if c not in shared]
    return [*batch, *free], result
