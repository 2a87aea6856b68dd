"""The op table: connectionist temporal classification, against a sum over all alignments."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import special

import tabgrad as tg
from tests.ops.comparing import Array, Case, random


def likelihoods(scores: Array, blank: int) -> dict[tuple[int, ...], float]:
    """The logarithm of the probability of every sequence of labels, by all paths."""
    logs = special.log_softmax(scores.astype(np.float64), -1)
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        labels = tuple(k for k, _ in itertools.groupby(path) if k != blank)
        likely = sum(logs[step, k] for step, k in enumerate(path))
        found[labels] = np.logaddexp(found.get(labels, -np.inf), likely)
    return found


def loss(target: Array, scores: Array, sizes: Array, steps: Array, blank: int) -> Array:
    return np.array(
        [
            -likelihoods(x[:n], blank).get(tuple(y[:size].tolist()), -np.inf)
            for y, x, size, n in zip(target, scores, sizes, steps, strict=True)
        ]
    )


def best(scores: Array, steps: Array, blank: int, count: int) -> list[Array]:
    paths = np.full((count, *scores.shape[:2]), -1, np.float64)
    logs = np.zeros((len(scores), count))
    for i, (x, n) in enumerate(zip(scores, steps, strict=True)):
        ranked = sorted(likelihoods(x[:n], blank).items(), key=lambda item: -item[1])
        for j, (labels, likely) in enumerate(ranked[:count]):
            paths[j, i, : len(labels)], logs[i, j] = labels, likely
    return [paths, logs]


def greedy(scores: Array, steps: Array, blank: int, merge: bool) -> list[Array]:
    paths = np.full((1, *scores.shape[:2]), -1, np.float64)
    for i, (x, n) in enumerate(zip(scores, steps, strict=True)):
        path = x[:n].argmax(-1)
        merged = [k for k, _ in itertools.groupby(path)] if merge else path
        labels = [k for k in merged if k != blank]
        paths[0, i, : len(labels)] = labels
    totals = [[-x[:n].max(-1).sum()] for x, n in zip(scores, steps, strict=True)]
    return [paths, np.array(totals)]


def cases() -> Iterator[Case]:
    scores = random((5, 6, 4))
    steps, sizes = np.int32([6, 5, 4, 6, 2]), np.int32([3, 2, 1, 3, 0])
    target = np.int32([[1, 2, 3], [1, 1, 0], [2, 0, 0], [3, 3, 1], [0, 0, 0]])
    for blank in (0, -1):
        labels = target if blank == 0 else target[:, ::-1] % 3
        sums = sizes if blank == 0 else np.int32([1, 2, 3, 1, 0])
        yield Case(
            "ctc_loss",
            f"blank {blank}",
            lambda *xs, k=blank: tg.ops.ctc_loss(*xs, mask_index=k),
            lambda y, x, s, n, k=blank: loss(y, x, s, n, k % 4),
            (labels, scores, sums, steps),
            32,
        )
    impossible = np.float32([[[0, 1, -np.inf], [1, 0, -np.inf]]] * 2)
    for label, y, x, lengths, taken in (
        ("too long", [[1, 1], [1, 2]], random((2, 2, 3)), [2, 2], [2, 2]),
        ("a class that cannot be", [[1], [2]], impossible, [1, 1], [2, 2]),
        ("no labels", np.zeros((2, 0)), random((2, 3, 3)), [0, 0], [3, 1]),
    ):
        yield Case(
            "ctc_loss",
            label,
            tg.ops.ctc_loss,
            lambda y, x, s, n: loss(y, x, s, n, 0),
            (np.int32(y), x, np.int32(lengths), np.int32(taken)),
            16,
        )
    for blank, merge in ((0, True), (2, True), (3, False)):
        options: dict[str, Any] = {"mask_index": blank, "merge_repeated": merge}

        def call(x: Any, n: Any, o: dict[str, Any] = options) -> list[Any]:
            paths, total = tg.ops.ctc_decode(x, n, **o)
            return [tg.cast(paths, "float32"), total]

        yield Case(
            "ctc_decode",
            f"greedy {sorted(options.items())}",
            call,
            lambda x, n, k=blank, m=merge: greedy(x, n, k, m),
            (np.round(scores), steps),
            16,
        )
    for blank in (0, 2):

        def search(x: Any, n: Any, k: int = blank) -> list[Any]:
            paths, logs = tg.ops.ctc_decode(
                x, n, "beam_search", beam_width=60, top_paths=3, mask_index=k
            )
            return [tg.cast(paths, "float32"), logs]

        # A beam as wide as there are prefixes finds the true best.
        yield Case(
            "ctc_decode",
            f"beam search, blank {blank}",
            search,
            lambda x, n, k=blank: best(x, n, k, 3),
            (random((3, 5, 3), 7), np.int32([5, 4, 3])),
            64,
        )


CASES = list(cases())
