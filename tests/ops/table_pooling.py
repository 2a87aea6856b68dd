"""The op table: pooling, adaptive and of whole images too, windows as columns, morphology.

Keras on JAX is the oracle where it has the function, a loop over windows where it has not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.building import keras_oracle
from tests.ops.comparing import VIEWS, Array, Case, integers, random
from tests.ops.table_convolution import FIRST, _as_first


def windows(
    fold: Callable[..., Any],
    size: Sequence[int],
    steps: Sequence[int],
    pads: Sequence[tuple[int, int]],
    holes: Sequence[int],
) -> Callable[[Array], Array]:
    """fold(elements inside, their places) of each window of (batch, *space, channels) images."""

    def walk(x: Array) -> Array:
        space = x.shape[1:-1]
        outs = [
            (n + lo + hi - (k - 1) * d - 1) // s + 1
            for n, k, s, (lo, hi), d in zip(space, size, steps, pads, holes, strict=True)
        ]
        found: list[Array] = []
        for at in itertools.product(*map(range, outs)):
            lines = [
                [v for v in (o * s - lo + t * d for t in range(k)) if 0 <= v < n]
                for n, o, k, s, (lo, _), d in zip(space, at, size, steps, pads, holes, strict=True)
            ]
            inside = list(itertools.product(*lines))
            values = np.stack([x[(slice(None), *place)] for place in inside], 1)
            flat = np.ravel_multi_index(np.transpose(inside), space)
            found.append(fold(values, flat))
        return np.stack(found, 1).reshape(len(x), *outs, x.shape[-1])

    return walk


def pooling() -> Iterator[Case]:
    for op, ulp in (("max_pool", None), ("average_pool", 8.0)):
        for label, shape, options in (
            ("2", (2, 8, 8, 3), {"pool_size": 2}), ("rest", (1, 7, 9, 2), {"pool_size": 2}),
            ("3 by 2", (1, 7, 8, 5), {"pool_size": (3, 2)}),
            ("overlap", (1, 7, 8, 2), {"pool_size": 3, "strides": 2}),
            ("strides 1", (1, 5, 6, 3), {"pool_size": 2, "strides": 1}),
            ("same", (2, 7, 5, 3), {"pool_size": 2, "padding": "same"}),
            ("same overlap", (1, 6, 7, 4), {"pool_size": 3, "strides": 2, "padding": "same"}),
            ("gaps", (1, 7, 7, 2), {"pool_size": 1, "strides": 3}),
            ("channels first", (2, 3, 6, 6),
             {"pool_size": 2, "padding": "same", "data_format": "channels_first"}),
            ("1d", (2, 9, 3), {"pool_size": 3}), ("whole", (2, 4, 4, 3), {"pool_size": 4}),
            ("3d", (1, 4, 4, 4, 2), {"pool_size": 2}),
        ):  # fmt: skip
            for view in VIEWS:
                call = lambda x, o=options, op=op: getattr(tg.ops, op)(x, **o)  # noqa: E731
                yield Case(
                    op,
                    f"{label} {view}",
                    call,
                    keras_oracle(op, **{"strides": options["pool_size"]} | options),
                    (random(shape),),
                    ulp,
                    None if ulp is None else lambda x: 3.0,
                    view=view,
                    slow=view != "as given" and label != "rest",
                )
    x = np.float32(integers((1, 4, 4, 1)))
    x[0, 1, 1, 0] = np.nan
    yield Case(
        "max_pool",
        "nan",
        lambda x: tg.ops.max_pool(x, 2),
        lambda x: x.reshape(1, 2, 2, 2, 2, 1).max(axis=(2, 4)),
        (x,),
    )
    yield Case(
        "max_pool",
        "integers",
        lambda x: tg.ops.max_pool(x, 2, padding="same"),
        lambda x: (
            np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=-100)
            .reshape(1, 3, 2, 3, 2, 2)
            .max(axis=(2, 4))
        ),
        (integers((1, 5, 5, 2), dtype="int8"),),
    )


def other_pooling() -> Iterator[Case]:
    image = random((2, 7, 8, 3))

    def mean(values: Array, at: Any) -> Array:
        return values.mean(1)

    def largest(values: Array, at: Any) -> Array:
        return values.max(1)

    def place(values: Array, at: Array) -> Array:
        return np.asarray(at)[values.argmax(1)]

    plans: tuple[tuple[str, dict[str, Any], tuple[Any, ...]], ...] = (
        ("holes", {"pool_size": 2, "dilation_rate": 3, "strides": 1},
         ((2, 2), (1, 1), ((0, 0), (0, 0)), (3, 3))),
        ("padding", {"pool_size": 3, "strides": 2, "padding": 2},
         ((3, 3), (2, 2), ((2, 2), (2, 2)), (1, 1))),
        ("pairs", {"pool_size": (2, 3), "strides": (1, 2), "padding": ((1, 0), (0, 2))},
         ((2, 3), (1, 2), ((1, 0), (0, 2)), (1, 1))),
        ("holes and padding", {"pool_size": 3, "strides": 1, "padding": 2, "dilation_rate": (2, 1)},
         ((3, 3), (1, 1), ((2, 2), (2, 2)), (2, 1))),
        ("same, holes", {"pool_size": 2, "strides": 1, "padding": "same", "dilation_rate": 2},
         ((2, 2), (1, 1), ((1, 1), (1, 1)), (2, 2))),
    )  # fmt: skip
    for label, options, plan in plans:
        yield Case(
            "max_pool", label, lambda x, o=options: tg.ops.max_pool(x, **o),
            windows(largest, *plan), (image,),
        )  # fmt: skip
        yield Case(
            "average_pool", label, lambda x, o=options: tg.ops.average_pool(x, **o),
            windows(mean, *plan), (image,), 8, lambda x: 3.0,
        )  # fmt: skip
        # Whole numbers, so that maxima repeat: the first of them counts.
        few = np.float32(integers((2, 7, 8, 3), low=-2, high=3))
        yield Case(
            "nn.max_pool_with_argmax", label,
            lambda x, o=options: tg.nn.max_pool_with_argmax(x, **o),
            lambda x, p=plan: [
                windows(largest, *p)(x),
                (windows(place, *p)(x) * 3 + np.arange(3)).astype(np.int32),
            ],
            (few,),
        )  # fmt: skip
    yield Case(
        "nn.max_pool_with_argmax", "through the batch",
        lambda x: tg.nn.max_pool_with_argmax(x, 2, include_batch_in_index=True)[1],
        lambda x: (
            windows(place, (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1))(x) * 3
            + np.arange(3) + np.arange(2).reshape(2, 1, 1, 1) * 168
        ).astype(np.int32),
        (image,),
    )  # fmt: skip
    yield Case(
        "nn.max_pool_with_argmax", "channels first",
        lambda x: tg.nn.max_pool_with_argmax(x, 2, data_format=FIRST)[1],
        lambda x: _as_first(
            windows(place, (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1))(np.moveaxis(x, 1, -1))
            + 56 * np.arange(3)
        ).astype(np.int32),
        (_as_first(image),),
    )  # fmt: skip
    for name, fold in (("global_max_pool", np.max), ("global_average_pool", np.mean)):
        ulp = None if fold is np.max else 16
        for label, options, x, axes in (
            ("", {}, image, (1, 2)),
            ("kept", {"keepdims": True}, image, (1, 2)),
            ("channels first", {"data_format": FIRST}, _as_first(image), (2, 3)),
            ("1d", {}, image[0], (1,)),
            ("3d", {}, image.reshape(2, 7, 2, 4, 3), (1, 2, 3)),
        ):
            yield Case(
                f"nn.{name}", label, lambda x, n=name, o=options: getattr(tg.nn, n)(x, **o),
                lambda x, f=fold, a=axes, o=options: f(x, a, keepdims=o.get("keepdims", False)),
                (x,), ulp, None if ulp is None else lambda x: 3.0,
            )  # fmt: skip

    def parts(x: Array, sizes: Any, fold: Callable[..., Any], first: int = 1) -> Array:
        n = x.ndim - 2
        for i, out in enumerate((sizes,) * n if isinstance(sizes, int) else sizes):
            axis, length = first + i, x.shape[first + i]
            ends = [(j * length // out, -(-(j + 1) * length // out)) for j in range(out)]
            x = np.stack([fold(x.take(range(*e), axis), axis) for e in ends], axis)
        return x

    for name, fold in (("adaptive_max_pool", np.max), ("adaptive_average_pool", np.mean)):
        ulp = None if fold is np.max else 16
        for label, x, sizes in (
            ("halves", image[:, :, :, 0], 2),
            ("uneven", image, (3, 5)),
            ("one", image, 1),
            ("more", image[0], 11),
            ("3d", image.reshape(2, 7, 4, 2, 3), (2, 3, 2)),
        ):
            yield Case(
                name, label, lambda x, n=name, s=sizes: getattr(tg.ops, n)(x, s),
                lambda x, s=sizes, f=fold: parts(x, s, f), (x,), ulp,
                None if ulp is None else lambda x: 3.0,
            )  # fmt: skip
        yield Case(
            name, "channels first", lambda x, n=name: getattr(tg.ops, n)(x, (3, 5), FIRST),
            lambda x, f=fold: parts(x, (3, 5), f, 2), (_as_first(image),), ulp,
            None if ulp is None else lambda x: 3.0,
        )  # fmt: skip


def unfolded(x: Array, stride: int) -> Array:
    """The windows of 2 by 2 of (batch, channels, h, w) as columns."""
    found = np.lib.stride_tricks.sliding_window_view(x, (2, 2), (2, 3))[:, :, ::stride, ::stride]
    count = found.shape[2] * found.shape[3]
    return found.transpose(0, 1, 4, 5, 2, 3).reshape(x.shape[0], x.shape[1] * 4, count)


def folded_back(x: Array) -> Array:
    """Columns of windows of 2 by 2 of an image of 4 by 5, summed where they overlap."""
    found = np.zeros((x.shape[0], x.shape[1] // 4, 4, 5), x.dtype)
    windows_of = x.reshape(x.shape[0], x.shape[1] // 4, 2, 2, 3, 4)
    for i, j in itertools.product(range(2), range(2)):
        found[:, :, i : i + 3, j : j + 4] += windows_of[:, :, i, j]
    return found


def columns() -> Iterator[Case]:
    image = random((2, 3, 6, 7))
    for label, options in (
        ("2", {"kernel_size": 2}),
        ("strides", {"kernel_size": (2, 3), "stride": 2}),
        ("padding", {"kernel_size": 3, "padding": (1, 2)}),
        ("holes", {"kernel_size": 2, "dilation": (2, 3), "stride": (1, 2), "padding": 1}),
    ):
        for view in VIEWS:
            yield Case(
                "unfold", f"{label} {view}", lambda x, o=options: tg.ops.unfold(x, **o),
                keras_oracle("unfold", **options), (image,), view=view, slow=view != "as given",
            )  # fmt: skip
        folded = keras_oracle("unfold", **options)(image)
        yield Case(
            "fold", label, lambda x, o=options: tg.ops.fold(x, (6, 7), **o),
            keras_oracle("fold", output_size=(6, 7), **options), (np.round(folded * 8) / 8,),
        )  # fmt: skip
    for stride in (1, 2):
        yield Case(
            "unfold", f"by NumPy {stride}", lambda x, s=stride: tg.ops.unfold(x, 2, stride=s),
            lambda x, s=stride: unfolded(x, s), (image,),
        )  # fmt: skip
    yield Case(
        "fold", "by NumPy", lambda x: tg.ops.fold(x, (4, 5), 2), folded_back,
        (np.float32(integers((2, 12, 12), 1)),),
    )  # fmt: skip
    for op, shape in (("depth_to_space", (2, 3, 2, 12)), ("space_to_depth", (2, 6, 4, 3))):
        for layout in ("channels_last", FIRST):
            x = random(shape) if layout == "channels_last" else _as_first(random(shape))
            for view in VIEWS:
                yield Case(
                    op, f"{layout} {view}",
                    lambda x, op=op, f=layout: getattr(tg.ops, op)(x, 2, f),
                    keras_oracle(op, block_size=2, data_format=layout), (x,), view=view,
                    slow=view == "sliced",
                )  # fmt: skip


def batches() -> Iterator[Case]:
    def cut(x: Array, blocks: Sequence[int], pads: Any) -> Array:
        """Each place of a block as a sample: the first place of all samples comes first."""
        x = np.pad(x, [(0, 0), *pads, *((0, 0),) * (x.ndim - 1 - len(blocks))])
        places = itertools.product(*map(range, blocks))
        steps = [slice(None, None, k) for k in blocks]
        shifts = [[slice(v, None) for v in place] for place in places]
        return np.concatenate([x[(slice(None), *s)][(slice(None), *steps)] for s in shifts])

    def joined(x: Array, blocks: Sequence[int], pads: Any) -> Array:
        """Each sample at its place of the blocks."""
        batch, space = x.shape[0] // math.prod(blocks), x.shape[1 : 1 + len(blocks)]
        rest = x.shape[1 + len(blocks) :]
        whole = np.zeros((batch, *(n * k for n, k in zip(space, blocks, strict=True)), *rest))
        for i, place in enumerate(itertools.product(*map(range, blocks))):
            at = tuple(slice(v, None, k) for v, k in zip(place, blocks, strict=True))
            whole[(slice(None), *at)] = x[i * batch : (i + 1) * batch]
        inside = tuple(
            slice(lo, n * k - hi) for (lo, hi), n, k in zip(pads, space, blocks, strict=True)
        )
        return whole[(slice(None), *inside)].astype(x.dtype)

    image = random((2, 4, 6, 3))
    for label, blocks, pads in (
        ("plain", (2, 3), ((0, 0), (0, 0))),
        ("edges", (2, 3), ((1, 3), (2, 1))),
        ("one axis", (4,), ((0, 0),)),
    ):
        cropped = cut(image, blocks, pads)
        for view in VIEWS:
            yield Case(
                "nn.space_to_batch", f"{label} {view}",
                lambda x, k=blocks, p=pads: tg.nn.space_to_batch(x, k, p),
                lambda x, k=blocks, p=pads: cut(x, k, p), (image,), view=view,
                slow=view != "as given",
            )  # fmt: skip
            yield Case(
                "nn.batch_to_space", f"{label} {view}",
                lambda x, k=blocks, p=pads: tg.nn.batch_to_space(x, k, p),
                lambda x, k=blocks, p=pads: joined(x, k, p), (cropped,), view=view,
                slow=view != "as given",
            )  # fmt: skip


def morphology() -> Iterator[Case]:
    image, kernel = random((2, 6, 7, 3)), random((3, 2, 3), 1)

    def dilated(
        x: Array, w: Array, steps: Any = (1, 1), same: bool = False, holes: Any = (1, 1)
    ) -> Array:
        spans = [(k - 1) * d + 1 for k, d in zip(w.shape, holes, strict=False)]
        pads = [(0, 0)] * 2
        if same:
            for i, (n, s, span) in enumerate(zip(x.shape[1:3], steps, spans, strict=True)):
                total = max((-(-n // s) - 1) * s + span - n, 0)
                pads[i] = (total // 2, total - total // 2)
        x = np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=-np.inf)
        outs = [(n - span) // s + 1 for n, span, s in zip(x.shape[1:3], spans, steps, strict=True)]
        result = np.full((len(x), *outs, x.shape[-1]), -np.inf)
        for i, j in np.ndindex(*w.shape[:2]):
            part = x[:, i * holes[0] :, j * holes[1] :][:, :: steps[0], :: steps[1]]
            result = np.maximum(result, part[:, : outs[0], : outs[1]] + w[i, j])
        return result

    for label, options, plan in (
        ("plain", {}, {}),
        ("same", {"padding": "same"}, {"same": True}),
        ("strides", {"padding": "same", "strides": 2}, {"same": True, "steps": (2, 2)}),
        ("holes", {"dilation_rate": (2, 3)}, {"holes": (2, 3)}),
    ):
        for view in VIEWS:
            yield Case(
                "nn.dilation2d", f"{label} {view}",
                lambda x, w, o=options: tg.nn.dilation2d(x, w, **o),
                lambda x, w, p=plan: dilated(x, w, **p), (image, kernel), 0.5, view=view,
                slow=view != "as given",
            )  # fmt: skip
        yield Case(
            "nn.erosion2d", label, lambda x, w, o=options: tg.nn.erosion2d(x, w, **o),
            lambda x, w, p=plan: -dilated(-x, w[::-1, ::-1], **p), (image, kernel), 0.5,
        )  # fmt: skip
    yield Case(
        "nn.dilation2d", "channels first",
        lambda x, w: tg.nn.dilation2d(x, w, padding="same", data_format=FIRST),
        lambda x, w: np.moveaxis(dilated(np.moveaxis(x, 1, -1), w, same=True), -1, 1),
        (_as_first(image), kernel), 0.5,
    )  # fmt: skip


CASES = [*pooling(), *other_pooling(), *columns(), *batches(), *morphology()]
