"""The op table: dot_product_attention, against the formula in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import special

import tabgrad as tg
from tests.ops.comparing import VIEWS, Array, Case, random


def attention(
    q: Array,
    k: Array,
    v: Array,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    cap: float | None = None,
) -> Array:
    """softmax(scale q k + bias) v, each key head repeated for its query heads."""
    k, v = (np.repeat(x, q.shape[2] // x.shape[2], axis=2) for x in (k, v))
    scores = np.einsum("btnh,bsnh->bnts", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if bias is not None:
        scores = scores + bias
    if cap is not None:
        scores = scores / (1 + np.abs(scores) / cap)
    seen = np.ones(scores.shape, bool)
    if mask is not None:
        seen &= mask
    if is_causal:
        seen &= np.tri(*scores.shape[-2:], dtype=bool)
    scores = np.where(seen, scores, -1e30)
    return np.einsum("bnts,bsnh->btnh", special.softmax(scores, -1), v)


def cases() -> Iterator[Case]:
    call = tg.ops.dot_product_attention
    q, k, v = random((2, 5, 4, 8)), random((2, 7, 4, 8), 1), random((2, 7, 4, 6), 2)
    loose: dict[str, Any] = {"ulp": 32, "scale": lambda *xs: 3.0}
    for view in VIEWS:
        yield Case("dot_product_attention", view, call, attention, (q, k, v), view=view, **loose)
    mask = np.random.default_rng(3).random((2, 4, 5, 7)) < 0.6
    for label, shape in (
        ("all", (2, 4, 5, 7)),
        ("heads", (1, 4, 1, 1)),
        ("sources", (7,)),
        ("targets", (5, 7)),
        ("batch", (2, 1, 1, 7)),
    ):
        part = mask[tuple(slice(0, n) for n in (1,) * (4 - len(shape)) + shape)].reshape(shape)
        yield Case(
            "dot_product_attention",
            f"mask of {label}",
            lambda *xs: call(*xs[:3], mask=xs[3]),
            lambda *xs: attention(*xs[:3], mask=xs[3]),
            (q, k, v, part),
            **loose,
        )
        yield Case(
            "dot_product_attention",
            f"bias of {label}",
            lambda *xs: call(*xs[:3], bias=xs[3]),
            lambda *xs: attention(*xs[:3], bias=xs[3]),
            (q, k, v, random(shape, 5)),
            **loose,
        )
    few = k[:, :, :2], v[:, :, :2]
    for label, options in (
        ("causal", {"is_causal": True}),
        ("scale", {"scale": 0.1}),
        ("grouped", {}),
        ("one key head", {"is_causal": True}),
    ):
        keys = {"grouped": few, "one key head": (k[:, :, :1], v[:, :, :1])}.get(label, (k, v))
        yield Case(
            "dot_product_attention",
            label,
            lambda *xs, o=options: call(*xs, **o),
            lambda *xs, o=options: attention(*xs, **o),
            (q, *keys),
            **loose,
        )
    yield Case(
        "dot_product_attention",
        "grouped, with everything",
        lambda *xs: call(*xs[:3], xs[3], xs[4], 0.3, True, attn_logits_soft_cap=2.0),
        lambda *xs: attention(*xs[:3], xs[3], xs[4], 0.3, True, 2.0),
        (q, *few, random((2, 4, 5, 7), 5), mask),
        **loose,
    )
    for targets, sources in ((1, 1), (1, 17), (16, 16), (33, 8)):
        yield Case(
            "dot_product_attention",
            f"{targets} of {sources}",
            call,
            attention,
            (random((1, targets, 2, 4)), random((1, sources, 2, 4), 1), random((1, sources, 2, 4))),
            slow=targets > 1,
            **loose,
        )


CASES = list(cases())
