"""Connectionist temporal classification (Graves et al., 2006): the loss, and decoding.

Every size is fixed: paths are as long as the input and end in -1. Impossible ways have a logarithm
of NEVER instead of -inf, so that no difference of infinities arises in values or gradients.
"""

from __future__ import annotations

import math
from typing import Any

from tabgrad.dtypes import float32, int32
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.cumulative import cumulative
from tabgrad.ir.graph import Node, make
from tabgrad.ops import elementwise as e
from tabgrad.ops import manipulation as m
from tabgrad.ops import reduction as r
from tabgrad.ops.activation import log_softmax
from tabgrad.ops.arguments import common, node_of
from tabgrad.ops.control import scan
from tabgrad.ops.creation import full
from tabgrad.ops.embedding import one_hot
from tabgrad.tensor import Tensor

NEVER = -1e30
"""The logarithm of a probability that is 0."""


def _impossible(x: Tensor) -> Tensor:
    return e.less(x, NEVER / 2)


def _log_sum(*terms: Tensor) -> Tensor:
    """log of the sum of exponentials of finite terms."""
    peak = terms[0]
    for term in terms[1:]:
        peak = e.maximum(peak, term)
    peak = e.stop_gradient(peak)
    total = e.exp(terms[0] - peak)
    for term in terms[1:]:
        total = total + e.exp(term - peak)
    return e.log(total) + peak


def _inputs(name: str, x: Any) -> Tensor:
    (node,) = common(name, x, floating=True)
    if len(node.shape) != 3 or not all(node.shape[1:]):
        raise ShapeError(
            f"{name} expected scores (batch, steps, classes) with a step and a class at least; "
            f"received {list(node.shape)}. "
            "A single sequence is a batch of one, scores[None]"
        )
    return Tensor(b.cast(node, float32) if node.dtype.itemsize < 4 else node)


def _lengths(name: str, what: str, x: Any, batch: int) -> Node:
    node = b.cast(node_of(x), int32)
    if node.shape != (batch,):
        raise ShapeError(
            f"{name} expected {what} of shape [{batch}], one for each sample; received "
            f"{list(node.shape)}. "
            "Give the full length where sequences are not padded"
        )
    return node


def _class_index(name: str, index: int, classes: int) -> int:
    if not isinstance(index, int) or not -classes <= index < classes:
        raise ArgumentError(
            f"{name} expected mask_index, the class of the blank, below {classes}; received "
            f"{index!r}"
        )
    return index % classes


def _later(x: Node, by: int, fill: Node) -> Node:
    """x moved towards the end of its last axis."""
    zeros = (0,) * (len(x.shape) - 1)
    return make("pad", x, fill, low=(*zeros, by), high=(*zeros, -by), interior=(*zeros, 0))


def ctc_loss(
    target: Any, output: Any, target_length: Any, output_length: Any, mask_index: int = 0
) -> Tensor:
    """-log of the probability that a sequence of classes, with repetitions merged and blanks then
    left out, is the target.

    Args:
        target: classes (batch, labels); what lies beyond a target's length does not matter.
        output: scores before the softmax, (batch, steps, classes).
        target_length: number of labels of each sample, (batch,).
        output_length: number of steps of each sample, (batch,).
        mask_index: the class that is the blank.

    Returns:
        (batch,); infinite, with a gradient of 0, where a target is too long for its steps.

    Raises:
        ShapeError: arguments that do not fit together.
        ArgumentError: a blank that is no class.

    Example:
        >>> import tabgrad as tg
        >>> scores = tg.zeros((1, 2, 3))
        >>> round(float(tg.nn.ctc_loss([[1]], scores, [1], [2])[0]), 4)  # 3 of 9 sequences
        1.0986
    """
    name = "ctc_loss"
    scores = _inputs(name, output)
    batch, steps, classes = scores.shape
    labels = b.cast(node_of(target), int32)
    if len(labels.shape) != 2 or labels.shape[0] != batch:
        raise ShapeError(
            f"{name} expected targets (batch, labels) for output {list(scores.shape)}; received "
            f"{list(labels.shape)}. "
            "Pad the targets to one length and give target_length"
        )
    blank = _class_index(name, mask_index, classes)
    length = _lengths(name, "target_length", target_length, batch)
    alive = _lengths(name, "output_length", output_length, batch)
    path, skips = _path(labels, blank)
    # Never below NEVER, so that a score of -inf times 0 of the code is not NaN.
    logs = e.maximum(log_softmax(scores), NEVER)
    emitted = make(
        "dot",
        logs.node,
        one_hot(Tensor(path), classes, dtype=scores.dtype).node,
        batch=((0,), (0,)),
        contract=((2,), (2,)),
    )
    state = b.iota(path.shape, 1, int32)
    start = b.select(
        b.eq(state, b.like(state, 0)),
        b.full(state.shape, 0, scores.dtype),
        b.full(state.shape, NEVER, scores.dtype),
    )
    step = b.iota((steps, batch, 1), 0, int32)
    running = b.lt(step, b.broadcast(alive, step.shape, (1,)))
    never = b.const(NEVER, scores.dtype)

    def advance(alpha: Tensor, now: tuple[Tensor, Tensor]) -> tuple[Tensor, None]:
        log, runs = now
        one = Tensor(_later(alpha.node, 1, never))
        two = e.where(skips, Tensor(_later(alpha.node, 2, never)), NEVER)
        return e.where(runs, log + _log_sum(alpha, one, two), alpha), None

    walked = (Tensor(b.permute(emitted, (1, 0, 2))), Tensor(running))
    alpha, _ = scan(advance, Tensor(start), walked)
    last = b.broadcast(b.mul(length, b.like(length, 2)), state.shape, (0,))
    before = b.sub(last, b.like(last, 1))

    def at(place: Node) -> Tensor:
        return r.max(e.where(Tensor(b.eq(state, place)), alpha, NEVER), -1)

    likely = _log_sum(at(last), at(before))
    return e.where(_impossible(likely), math.inf, -likely)


def _path(labels: Node, blank: int) -> tuple[Node, Tensor]:
    """The classes that a path of labels goes through, and where it may come from two before.

    These are a blank, the first label, a blank, ..., the last label, a blank. Two labels may follow
    each other without a blank unless they are equal.
    """
    fill = b.const(blank, int32)
    if labels.shape[1]:
        path = make("pad", labels, fill, low=(0, 1), high=(0, 1), interior=(0, 1))
    else:
        path = b.full((labels.shape[0], 1), blank, int32)
    other = make("ne", path, _later(path, 2, fill))
    odd = make("ne", make("mod", b.iota(path.shape, 1, int32), b.like(path, 2)), b.like(path, 0))
    return path, Tensor(make("and", other, odd))


def ctc_decode(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int = 0,
) -> tuple[Tensor, Tensor]:
    """The most likely classes of each sequence, blanks left out.

    Args:
        inputs: scores (batch, steps, classes); "beam_search" takes their softmax.
        sequence_lengths: number of steps of each sample, (batch,).
        strategy: "greedy" takes the best class of each step, "beam_search" keeps the `beam_width`
            likeliest prefixes (Hannun et al., 2014).
        beam_width: number of prefixes kept.
        top_paths: number of paths returned by "beam_search".
        merge_repeated: "greedy" makes one of equal neighbours; "beam_search" always does.
        mask_index: the class that is the blank.

    Returns:
        Paths (paths, batch, steps) of int32, ending in -1. With "greedy" there is one path, and
        minus the sum of the scores taken, (batch, 1); with "beam_search" the logarithms of the
        probabilities, (batch, paths), the likeliest first.

    Raises:
        ShapeError: arguments that do not fit together.
        ArgumentError: an unknown strategy, a blank that is no class, or more paths than the beam
            holds.

    Example:
        >>> import tabgrad as tg
        >>> scores = tg.tensor([[[0.0, 5.0, 0.0], [0.0, 4.0, 0.0], [9.0, 0.0, 0.0]]])
        >>> paths, score = tg.nn.ctc_decode(scores, [3])
        >>> paths.tolist(), score.tolist()
        ([[[1, -1, -1]]], [[-18.0]])
    """
    name = "ctc_decode"
    scores = _inputs(name, inputs)
    batch, _, classes = scores.shape
    length = _lengths(name, "sequence_lengths", sequence_lengths, batch)
    blank = _class_index(name, mask_index, classes)
    if strategy == "greedy":
        return _greedy(scores, length, blank, merge_repeated)
    if strategy != "beam_search":
        raise ArgumentError(
            f"{name} expected strategy 'greedy' or 'beam_search'; received {strategy!r}"
        )
    if not 1 <= top_paths <= beam_width:
        raise ArgumentError(
            f"{name} expected 1 <= top_paths <= beam_width; received {top_paths} and {beam_width}"
        )
    return _Beam(scores, length, blank, beam_width).search(top_paths)


def _greedy(
    scores: Tensor, length: Node, blank: int, merge_repeated: bool
) -> tuple[Tensor, Tensor]:
    batch, steps, _ = scores.shape
    grid = (batch, steps)
    runs = Tensor(b.lt(b.iota(grid, 1, int32), b.broadcast(length, grid, (0,))))
    best = e.where(runs, r.argmax(scores, -1), blank)
    total = -r.sum(e.where(runs, r.max(scores, -1), 0.0), 1, True)
    kept = e.not_equal(best, blank)
    if merge_repeated:
        # The class before the first step is none.
        kept = e.logical_and(kept, Tensor(make("ne", best.node, _later(best.node, 1, _none()))))
    # Each class that stays goes to the number of those before it.
    place = cumulative(b.cast(kept.node, int32), 1, "sum")
    target = b.select(kept.node, b.sub(place, b.like(place, 1)), b.like(place, -1))
    cube = (batch, steps, steps)
    hit = b.eq(b.broadcast(target, cube, (0, 1)), b.iota(cube, 2, int32))
    found = b.select(hit, b.broadcast(best.node, cube, (0, 1)), b.full(cube, -1, int32))
    paths = Tensor(b.reduce("reduce_max", found, (1,)))
    return m.expand_dims(paths, 0), total


def _none() -> Node:
    return b.const(-1, int32)


class _Beam:
    """Prefix beam search: for each prefix the logarithms of the probabilities of having read it and
    ended in a blank, or in its last class."""

    def __init__(self, scores: Tensor, length: Node, blank: int, width: int) -> None:
        self.logs = e.maximum(log_softmax(scores), NEVER)
        self.batch, self.steps, self.classes = scores.shape
        self.length, self.blank, self.width = length, blank, width

    def search(self, top_paths: int) -> tuple[Tensor, Tensor]:
        """The best paths and their logarithms."""
        grid = (self.batch, self.width)
        first = Tensor(b.eq(b.iota(grid, 1, int32), b.full(grid, 0, int32)))
        never = full(grid, NEVER, self.logs.dtype)
        start = (
            full((*grid, self.steps), -1, int32),
            full(grid, 0, int32),
            full(grid, -1, int32),
            e.where(first, 0.0, never),
            never,
        )
        step = b.iota((self.steps, self.batch, 1), 0, int32)
        runs = Tensor(b.lt(step, b.broadcast(self.length, step.shape, (1,))))
        final, _ = scan(self._advance, start, (m.transpose(self.logs, (1, 0, 2)), runs))
        paths, _, _, in_blank, in_class = final
        total, order = self._best(_log_sum(in_blank, in_class), top_paths)
        chosen = self._pick(paths, order)
        total = e.where(_impossible(total), -math.inf, total)
        return m.transpose(chosen, (1, 0, 2)), total

    def _best(self, total: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k largest of each row and their places; of equal ones the first."""
        falling = make("sort", b.neg(total.node), b.iota(total.shape, 1, int32))
        keys, places = Tensor(b.neg(b.proj(falling, 0))), Tensor(b.proj(falling, 1))
        return keys[:, :k], places[:, :k]

    def _pick(self, x: Tensor, order: Tensor) -> Tensor:
        """x[batch, order[batch, i], ...] by comparison, so that samples do not mix."""
        n, k = x.shape[1], order.shape[1]
        grid = (self.batch, k, n, *x.shape[2:])
        hit = b.eq(b.broadcast(order.node, grid, (0, 1)), b.iota(grid, 2, int32))
        values = b.broadcast(x.node, grid, (0, *range(2, len(grid))))
        if x.dtype.is_float:
            return Tensor(b.reduce("reduce_sum", b.select(hit, values, b.like(values, 0)), (2,)))
        lowest = b.full(grid, -1, x.dtype)
        return Tensor(b.reduce("reduce_max", b.select(hit, values, lowest), (2,)))

    def _advance(self, carry: Any, now: Any) -> tuple[Any, None]:
        """One step: each prefix stays or grows by a class; the likeliest are kept."""
        paths, sizes, lasts, in_blank, _ = carry
        logs, runs = now
        batch, width, classes = self.batch, self.width, self.classes
        stay_blank, stay_class, grown = self._scored(carry, logs)
        flat = m.reshape(grown, (batch, width * classes))
        options = m.concatenate([_log_sum(stay_blank, stay_class), flat], 1)
        _, order = self._best(e.maximum(options, NEVER), width)
        stays = e.less(order, width)
        parent = e.where(stays, order, e.floor_divide(order - width, classes))
        added = e.mod(order - width, classes)
        old_sizes = self._pick(sizes, parent)
        none = full((batch, width), NEVER, in_blank.dtype)
        wide = (batch, width, self.steps)
        here = e.logical_and(
            e.equal(Tensor(b.iota(wide, 2, int32)), m.expand_dims(old_sizes, 2)),
            m.expand_dims(e.logical_not(stays), 2),
        )
        new = (
            e.where(here, m.expand_dims(added, 2), self._pick(paths, parent)),
            e.where(stays, old_sizes, old_sizes + 1),
            e.where(stays, self._pick(lasts, parent), added),
            e.where(stays, self._pick(stay_blank, parent), none),
            e.where(stays, self._pick(stay_class, parent), self._pick(flat, order - width)),
        )
        return tuple(
            e.where(m.reshape(runs, (batch, *(1,) * (len(x.shape) - 1))), x, y)
            for x, y in zip(new, carry, strict=True)
        ), None

    def _scored(self, carry: Any, logs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The logarithms of staying and ending in a blank, of staying and ending in the last class,
        and of growing by each class."""
        paths, sizes, lasts, in_blank, in_class = carry
        total = _log_sum(in_blank, in_class)
        grid = (self.batch, self.width, self.classes)
        kind = Tensor(b.iota(grid, 2, int32))
        log = m.expand_dims(logs, 1)
        repeats = e.equal(kind, m.expand_dims(lasts, 2))
        # A prefix stays when a blank follows, or its last class again.
        stay_blank = total + logs[:, self.blank : self.blank + 1]
        again = r.sum(e.where(repeats, m.broadcast_to(log, grid), 0.0), 2)
        stay_class = e.where(e.less(lasts, 0), NEVER, in_class + again)
        # It grows by any class; by its last class only after a blank.
        grown = e.where(repeats, m.expand_dims(in_blank, 2), m.expand_dims(total, 2)) + log
        grown = e.where(e.equal(kind, self.blank), NEVER, grown)
        # A grown prefix that is in the beam already adds to that one.
        square = (self.batch, self.width, self.width, self.classes)
        hit = e.logical_and(
            m.expand_dims(self._children(paths, sizes, total), 3),
            e.equal(
                Tensor(b.iota(square, 3, int32)), Tensor(b.broadcast(lasts.node, square, (0, 2)))
            ),
        )
        spread = Tensor(b.broadcast(grown.node, square, (0, 1, 3)))
        joined = r.max(r.max(e.where(hit, spread, NEVER), 3), 1)
        return stay_blank, _log_sum(stay_class, joined), e.where(r.any(hit, 2), NEVER, grown)

    def _children(self, paths: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
        """Whether prefix w, grown by a class, is prefix v: (batch, w, v)."""
        pairs = (self.batch, self.width, self.width, self.steps)
        one = Tensor(b.broadcast(paths.node, pairs, (0, 1, 3)))
        two = Tensor(b.broadcast(paths.node, pairs, (0, 2, 3)))
        within = e.less(
            Tensor(b.iota(pairs, 3, int32)), Tensor(b.broadcast(sizes.node, pairs, (0, 1)))
        )
        same = r.all(e.logical_or(e.equal(one, two), e.logical_not(within)), 3)
        longer = e.equal(m.expand_dims(sizes, 1), m.expand_dims(sizes, 2) + 1)
        # What is impossible fills the beam and may repeat a prefix; only the true one is a child.
        true = m.expand_dims(e.logical_not(_impossible(total)), 1)
        return e.logical_and(e.logical_and(same, longer), true)
