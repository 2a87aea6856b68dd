"""einsum: any equation, as a tree of pairwise contractions.

The order is the cheapest there is for few operands and greedy beyond (Smith and Gray, opt_einsum,
a Python package for optimizing contraction order, 2018). A pair becomes one `dot` whose batch, free
and contracted axes are named in place, so nothing is transposed on the way; products without a sum,
and sums over everything, become elementwise products.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tabgrad import dtypes
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import common, on_products, parts_of
from tabgrad.tensor import Tensor

EXHAUSTIVE = 7
"""Up to so many operands all orders are compared: 3**7 splits."""


class Term(NamedTuple):
    """A value with a distinct letter for each axis."""

    letters: tuple[str, ...]
    node: Node


@on_products("operands")
def einsum(subscripts: str, *operands: Any, optimize: Any = True) -> Tensor:
    """Sum of products by Einstein's convention.

    Args:
        subscripts: an equation such as "ij,jk->ik". Every letter names an axis; letters absent from
            the output are summed. A letter repeated in one operand takes its diagonal. "..." stands
            for any further axes, which broadcast from the right. Without "->" the output has the
            letters that occur once, in alphabetical order, after those of "...".
        operands: as many arrays as the equation has terms; axes of size 1 broadcast.
        optimize: False multiplies from left to right; anything else picks the order that costs
            least.

    Raises:
        ArgumentError: an equation that is none, or does not fit the number of operands.
        ShapeError: operands that do not fit the equation.

    Example:
        >>> import tabgrad as tg
        >>> tg.einsum("ij,jk->ik", tg.ones((2, 3)), tg.ones((3, 4))).shape
        (2, 4)
        >>> float(tg.einsum("ii", tg.ops.eye(3)))
        3.0
    """
    if not isinstance(subscripts, str):
        raise ArgumentError(
            'einsum expected an equation such as "ij,jk->ik" first; received '
            f"{type(subscripts).__name__}"
        )
    if not operands:
        raise ArgumentError(
            f"einsum expected operands for {subscripts!r}; received none. "
            "Give the arrays after the equation"
        )
    nodes = common("einsum", *[Tensor(*parts_of(x)) for x in operands])
    if nodes[0].dtype.kind == "b":
        nodes = [b.cast(node, dtypes.int32) for node in nodes]
    names, out = _parse(subscripts, nodes)
    sizes = _sizes(subscripts, names, nodes)
    terms = [_distinct(subscripts, n, node, sizes) for n, node in zip(names, nodes, strict=True)]
    terms = [
        _summed(term, {*out, *_letters(terms[:i] + terms[i + 1 :])}) for i, term in enumerate(terms)
    ]
    while len(terms) > 1:
        i, j = (0, 1) if optimize is False else _next_pair(terms, out, sizes)
        x, y = terms[i], terms[j]
        rest = [term for k, term in enumerate(terms) if k not in (i, j)]
        terms = [*rest, _product(x, y, out, _letters(rest), sizes)]
        if optimize is False:
            terms = terms[-1:] + rest
    letters, node = terms[0]
    # Letters of size 1 in every operand but of another size nowhere are still there.
    return Tensor(b.permute(node, [letters.index(letter) for letter in out]))


def _letters(terms: Iterable[Term]) -> set[str]:
    return {letter for term in terms for letter in term.letters}


def _parse(text: str, nodes: Sequence[Node]) -> tuple[list[list[str]], list[str]]:
    """The letters of each operand's axes and of the output; those of "..." are ".1", ".0"."""
    left, arrow, right = text.replace(" ", "").partition("->")
    parts = left.split(",")
    plain = (left + right).replace("...", "").replace(",", "")
    if "->" in right or not all(c.isalpha() for c in plain) or "," in right:
        raise ArgumentError(
            f'einsum expected letters, commas, "..." and one "->"; received the equation {text!r}'
        )
    if len(parts) != len(nodes):
        raise ArgumentError(
            f"einsum expected {len(parts)} operands for {text!r}; received {len(nodes)}. "
            "Commas separate the operands"
        )
    names, widest = [], 0
    for part, node in zip(parts, nodes, strict=True):
        head, ellipsis, tail = part.partition("...")
        extra = len(node.shape) - len(head) - len(tail)
        if extra < 0 or (extra and not ellipsis):
            least = "at least " if ellipsis else ""
            raise ShapeError(
                f"einsum expected {least}{len(head) + len(tail)} axes for {part!r} of {text!r}; "
                f"received shape {list(node.shape)}. "
                "Name each axis with a letter, or use '...' for the others"
            )
        widest = max(widest, extra)
        names.append([*head, *(f".{d}" for d in range(extra - 1, -1, -1)), *tail])
    dots = [f".{d}" for d in range(widest - 1, -1, -1)]
    if arrow:
        head, ellipsis, tail = right.partition("...")
        if dots and not ellipsis:
            raise ArgumentError(
                f'einsum expected "..." in the output of {text!r}, as its operands have such axes; '
                "sum them afterwards"
            )
        out = [*head, *(dots if ellipsis else []), *tail]
    else:
        seen = [letter for name in names for letter in name]
        out = dots + sorted({c for c in seen if c[0] != "." and seen.count(c) == 1})
    known = {letter for name in names for letter in name}
    if len(set(out)) != len(out) or not known >= set(out):
        raise ArgumentError(
            f"einsum expected distinct letters of the operands in the output; received {text!r}. "
            "Give each letter of the output once, and only letters that an operand "
            "has"
        )
    return names, out


def _sizes(text: str, names: Sequence[Sequence[str]], nodes: Sequence[Node]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, node in zip(names, nodes, strict=True):
        for letter, n in zip(name, node.shape, strict=True):
            known = sizes.setdefault(letter, n)
            if known == 1:
                sizes[letter] = n
            elif n not in (1, known):
                shown = "..." if letter[0] == "." else repr(letter)
                raise ShapeError(
                    f"einsum expected one size for {shown} in {text!r}; received {known} and {n} "
                    f"in shapes {[list(node.shape) for node in nodes]}. "
                    "Transpose the letters of one operand, or name the axes apart"
                )
    return sizes


def _distinct(text: str, name: Sequence[str], node: Node, sizes: dict[str, int]) -> Term:
    """The diagonal of repeated letters, without axes that broadcast: no letter twice, each with its
    size."""
    letters = list(name)
    for letter in sorted({c for c in letters if letters.count(c) > 1}):
        while letters.count(letter) > 1:
            i = letters.index(letter)
            j = letters.index(letter, i + 1)
            n = node.shape[i]
            if node.shape[j] != n:
                raise ShapeError(
                    f"einsum expected a square for the diagonal {letter!r} of {text!r}; received "
                    f"sizes {n} and {node.shape[j]}. "
                    "Cut the larger one first"
                )
            # Both axes seen as one, of which every (n + 1)st element is on the diagonal.
            rest = [d for d in range(len(letters)) if d not in (i, j)]
            node = b.permute(node, [*rest, i, j])
            shape = [node.shape[d] for d in range(len(rest))]
            node = b.reshape(node, (*shape, n * n))
            node = make(
                "slice",
                node,
                start=(0,) * (len(rest) + 1),
                stop=(*shape, n * n),
                step=(*[1] * len(rest), n + 1),
            )
            letters = [letters[d] for d in rest] + [letter]
    kept = [d for d, c in enumerate(letters) if node.shape[d] == sizes[c]]
    node = b.reshape(node, [node.shape[d] for d in kept])
    return Term(tuple(letters[d] for d in kept), node)


def _summed(term: Term, needed: set[str]) -> Term:
    """What nobody else has or wants is summed at once."""
    lonely = [d for d, c in enumerate(term.letters) if c not in needed]
    left = tuple(c for c in term.letters if c in needed)
    return Term(left, b.reduce("reduce_sum", term.node, lonely))


def _next_pair(terms: Sequence[Term], out: Sequence[str], sizes: dict[str, int]) -> tuple[int, int]:
    letters = [frozenset(term.letters) for term in terms]
    if len(terms) <= 2:
        return 0, 1
    if len(terms) <= EXHAUSTIVE:
        return _first_of_best(letters, frozenset(out), sizes)
    pairs = itertools.combinations(range(len(terms)), 2)

    def growth(pair: tuple[int, int]) -> tuple[float, float]:
        i, j = pair
        others = frozenset(out).union(*(x for k, x in enumerate(letters) if k not in pair))
        left = (letters[i] | letters[j]) & others
        size = _volume(left, sizes) - _volume(letters[i], sizes) - _volume(letters[j], sizes)
        return size, _volume(letters[i] | letters[j], sizes)

    return min(pairs, key=growth)


def _volume(letters: Iterable[str], sizes: dict[str, int]) -> float:
    return math.prod(sizes[c] for c in letters)


def _first_of_best(
    letters: Sequence[frozenset[str]], out: frozenset[str], sizes: dict[str, int]
) -> tuple[int, int]:
    """A pair of leaves that the cheapest tree multiplies, by dynamic programming over subsets."""
    n = len(letters)
    everyone = (1 << n) - 1
    wanted = []  # what each subset's product must keep
    for subset in range(everyone + 1):
        inside = [letters[i] for i in range(n) if subset >> i & 1]
        outside = [letters[i] for i in range(n) if not subset >> i & 1]
        wanted.append(frozenset().union(*inside) & out.union(*outside))
    cost: dict[int, tuple[float, int]] = {1 << i: (0.0, 0) for i in range(n)}
    for subset in sorted(range(1, everyone + 1), key=int.bit_count):
        if subset in cost:
            continue
        best = (math.inf, 0)
        half = (subset - 1) & subset
        while half:
            other = subset ^ half
            if half > other:
                volume = _volume(wanted[half] | wanted[other], sizes)
                best = min(best, (cost[half][0] + cost[other][0] + volume, half))
            half = (half - 1) & subset
        cost[subset] = best
    subset = everyone
    while subset.bit_count() > 2:
        half = cost[subset][1]
        subset = max(half, subset ^ half, key=int.bit_count)
    first, second = (i for i in range(n) if subset >> i & 1)
    return first, second


def _product(x: Term, y: Term, out: Sequence[str], others: set[str], sizes: dict[str, int]) -> Term:
    """The product of two terms, summed over the letters that nothing else needs."""
    needed = others | set(out)
    shared = [c for c in x.letters if c in y.letters]
    gone = [c for c in shared if c not in needed]
    batch = [c for c in shared if c in needed]
    free_x = [c for c in x.letters if c not in shared]
    free_y = [c for c in y.letters if c not in shared]
    # In the order of the output, so that nothing is left to transpose at the end.
    order = [c for c in out if c in batch] + [c for c in batch if c not in out]
    if not gone or not (free_x or free_y):
        letters = [c for c in out if c in batch or c in free_x or c in free_y]
        letters += [c for c in [*batch, *free_x, *free_y] if c not in letters]
        product = b.mul(*(_spread(term, [*letters, *gone], sizes) for term in (x, y)))
        places = range(len(letters), len(letters) + len(gone))
        return Term(tuple(letters), b.reduce("reduce_sum", product, tuple(places)))
    if [*order, *free_x, *free_y] != list(out) and [*order, *free_y, *free_x] == list(out):
        x, y, free_x, free_y = y, x, free_y, free_x
    node = make(
        "dot",
        x.node,
        y.node,
        contract=(tuple(map(x.letters.index, gone)), tuple(map(y.letters.index, gone))),
        batch=(tuple(map(x.letters.index, order)), tuple(map(y.letters.index, order))),
    )
    return Term((*order, *free_x, *free_y), node)


def _spread(term: Term, letters: Sequence[str], sizes: dict[str, int]) -> Node:
    """A term's value broadcast to axes in the order of `letters`."""
    have = [c for c in letters if c in term.letters]
    node = b.permute(term.node, [term.letters.index(c) for c in have])
    return b.broadcast(node, [sizes[c] for c in letters], [letters.index(c) for c in have])
