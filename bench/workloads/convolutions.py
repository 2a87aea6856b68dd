"""Convolutions, channels last in tabgrad and TensorFlow.js, channels first in the others.

Forward with a constant kernel, and both gradients, for which everything is fresh as in training.
Padding is "same". Cases are named by kernel, image, channels in and filters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import tabgrad as tg
from bench import onnx_file
from bench.workload import Array, Arrays, Workload, normal

# onnxruntime-web copies a graph's inputs and outputs at every call: several convolutions of the
# same image, each with a kernel of its own, make that weigh less.
SEVERAL = 4


@dataclass(frozen=True)
class Case:
    """Sizes of a convolution of one image."""

    height: int
    width: int
    channels: int
    filters: int
    span: int = 3
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    transposed: bool = False
    depthwise: bool = False

    @property
    def image(self) -> tuple[int, ...]:
        return (1, self.height, self.width, self.channels)

    @property
    def kernel(self) -> tuple[int, ...]:
        if self.depthwise:
            return (self.span, self.span, self.channels, 1)
        if self.transposed:
            return (self.span, self.span, self.filters, self.channels)
        return (self.span, self.span, self.channels // self.groups, self.filters)

    @property
    def result(self) -> tuple[int, ...]:
        if self.transposed:
            return (1, self.height * self.stride, self.width * self.stride, self.filters)
        sides = (-(-self.height // self.stride), -(-self.width // self.stride))
        return (1, *sides, self.filters)

    @property
    def flops(self) -> float:
        """Counts the padding, as is usual; small depthwise cases may so exceed the peak."""
        sides = self.image if self.transposed else self.result
        each = self.span**2 * self.filters
        each *= 1 if self.depthwise else self.channels // self.groups
        return 2.0 * sides[1] * sides[2] * each

    @property
    def name(self) -> str:
        words = [f"{self.span}x{self.span}", f"{self.height}x{self.width}x{self.channels}"]
        if not self.depthwise:
            words.append(str(self.filters))
        if self.stride > 1:
            words.append(f"stride{self.stride}")
        if self.dilation > 1:
            words.append(f"dilated{self.dilation}")
        if self.groups > 1:
            words.append(f"groups{self.groups}")
        if self.transposed:
            words.append("transposed")
        return "-".join(words)

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """In front of and behind each side of the image; for transposed ones what is cut off."""
        reach = (self.span - 1) * self.dilation + 1
        found = []
        for side in (self.height, self.width):
            outer = side * self.stride if self.transposed else side
            inner = -(-outer // self.stride)
            total = max((inner - 1) * self.stride + reach - outer, 0)
            found.append((total // 2, total - total // 2))
        return tuple(found)


CASES = [
    Case(56, 56, 64, 64),
    Case(28, 28, 128, 128),
    Case(14, 14, 256, 256),
    Case(224, 224, 3, 32, stride=2),
    Case(56, 56, 64, 256, span=1),
    Case(14, 14, 576, 96, span=1),
    Case(56, 56, 64, 128, stride=2),
    Case(28, 28, 128, 128, dilation=2),
    Case(28, 28, 128, 128, groups=4),
    Case(14, 14, 256, 128, stride=2, transposed=True),
]
# Sizes that are no multiples of anything, next to some of those.
UNEVEN = {
    CASES[0]: Case(57, 55, 63, 65),
    CASES[2]: Case(13, 15, 250, 259),
    CASES[4]: Case(57, 55, 63, 255, span=1),
    CASES[5]: Case(15, 13, 573, 97, span=1),
    CASES[6]: Case(57, 55, 63, 130, stride=2),
}
DEPTHWISE = [
    *(
        Case(side, side, channels, channels, depthwise=True)
        for side, channels in ((112, 32), (56, 144), (28, 192), (14, 384), (14, 576), (7, 960))
    ),
    *(
        Case(side, side, channels, channels, depthwise=True, stride=2)
        for side, channels in ((112, 96), (56, 144), (28, 192), (14, 576))
    ),
]
UNEVEN_DEPTHWISE = {
    DEPTHWISE[1]: Case(57, 55, 143, 143, depthwise=True),
    DEPTHWISE[7]: Case(57, 55, 143, 143, depthwise=True, stride=2),
}


def convolve(case: Case, x: Any, kernel: Any) -> tg.Tensor:
    """tabgrad's."""
    options: dict[str, Any] = {"strides": case.stride, "padding": "same"}
    if case.depthwise:
        return tg.nn.depthwise_conv(x, kernel, **options)
    if case.transposed:
        return tg.nn.conv_transpose(x, kernel, **options)
    return tg.nn.conv(x, kernel, dilation_rate=case.dilation, **options)


# What NumPy says, in float64: a convolution is a sum over the kernel's places.


def _places(case: Case) -> list[tuple[int, int, slice, slice]]:
    """For each place in the kernel the pixels of the padded image that it meets."""
    sides = case.image if case.transposed else case.result
    return [
        (
            *(i, j),
            slice(i * case.dilation, i * case.dilation + sides[1] * case.stride, case.stride),
            slice(j * case.dilation, j * case.dilation + sides[2] * case.stride, case.stride),
        )
        for i in range(case.span)
        for j in range(case.span)
    ]


def _padded(case: Case, x: Array) -> Array:
    """With zeros around, enough for every place of the kernel."""
    reach = (case.span - 1) * case.dilation + case.stride
    widths = [(before, after + reach) for before, after in case.pads]
    return np.pad(x, [(0, 0), *widths, (0, 0)])


def _cut(case: Case, x: Array, like: tuple[int, ...]) -> Array:
    (top, _), (left, _) = case.pads
    return x[:, top : top + like[1], left : left + like[2]]


def forward(case: Case, arrays: Arrays, repeats: int = 1) -> Array:
    x, kernel = (arrays[name].astype(np.float64) for name in ("x", "kernel"))
    if case.transposed:
        out = _padded(case, np.zeros(case.result))
        for i, j, rows, columns in _places(case):
            out[:, rows, columns] += x @ kernel[i, j].T
        return _cut(case, out, case.result)
    x = _padded(case, x)
    out = np.zeros(case.result)
    for i, j, rows, columns in _places(case):
        seen = x[:, rows, columns]
        if case.depthwise:
            out += seen * kernel[i, j, :, 0]
        else:
            parts = zip(np.split(seen, case.groups, -1), np.split(kernel[i, j], case.groups, -1))
            out += np.concatenate([part @ k for part, k in parts], -1)
    return out


def input_gradient(case: Case, arrays: Arrays, repeats: int = 1) -> Array:
    dy, kernel = (arrays[name].astype(np.float64) for name in ("dy", "kernel"))
    if case.transposed:
        dy = _padded(case, dy)
        out = np.zeros(case.image)
        for i, j, rows, columns in _places(case):
            out += dy[:, rows, columns] @ kernel[i, j]
        return out
    out = _padded(case, np.zeros(case.image))
    for i, j, rows, columns in _places(case):
        if case.depthwise:
            out[:, rows, columns] += dy * kernel[i, j, :, 0]
        else:
            parts = zip(np.split(dy, case.groups, -1), np.split(kernel[i, j], case.groups, -1))
            out[:, rows, columns] += np.concatenate([part @ k.T for part, k in parts], -1)
    return _cut(case, out, case.image)


def kernel_gradient(case: Case, arrays: Arrays, repeats: int = 1) -> Array:
    x, dy = (arrays[name].astype(np.float64) for name in ("x", "dy"))
    outer, inner = (_padded(case, dy), x) if case.transposed else (_padded(case, x), dy)
    out = np.zeros(case.kernel)
    for i, j, rows, columns in _places(case):
        seen = outer[:, rows, columns]
        if case.depthwise:
            out[i, j, :, 0] = (seen * inner).sum((0, 1, 2))
        else:
            parts = zip(np.split(seen, case.groups, -1), np.split(inner, case.groups, -1))
            found = [np.tensordot(p, q, ((0, 1, 2), (0, 1, 2))) for p, q in parts]
            out[i, j] = np.concatenate(found, -1)
    return out


def _arrays(case: Case, names: tuple[str, ...]) -> Arrays:
    scale = (case.span**2 * case.kernel[2]) ** -0.5
    makers = {
        "x": lambda: normal(1, *case.image),
        "kernel": lambda: normal(2, *case.kernel, scale=scale),
        "dy": lambda: normal(3, *case.result),
    }
    return {name: makers[name]() for name in names}


def _forward_functions(case: Case, arrays: Arrays) -> Mapping[str, Any]:
    kernel = tg.tensor(arrays["kernel"])
    return _called(lambda x: convolve(case, x, kernel), arrays["x"])


def _input_functions(case: Case, arrays: Arrays) -> Mapping[str, Any]:
    def main(dy: tg.Tensor, kernel: tg.Tensor) -> Any:
        _, back = tg.vjp(lambda x: convolve(case, x, kernel), tg.zeros(case.image))
        return back(dy)

    return _called(main, arrays["dy"], arrays["kernel"])


def _kernel_functions(case: Case, arrays: Arrays) -> Mapping[str, Any]:
    def main(dy: tg.Tensor, x: tg.Tensor) -> Any:
        _, back = tg.vjp(lambda kernel: convolve(case, x, kernel), tg.zeros(case.kernel))
        return back(dy)

    return _called(main, arrays["dy"], arrays["x"])


def _called(main: Callable[..., Any], *examples: Array) -> Mapping[str, Any]:
    compiled = tg.compile(main)
    compiled(*(tg.tensor(example) for example in examples))
    return {"main": compiled}


def _graph(case: Case, arrays: Arrays, repeats: int) -> bytes:
    """The image convolved with several kernels; all of the first result is given out, and one
    number of each of the others."""
    graph = onnx_file.Graph()
    x = graph.input("x", np.ascontiguousarray(arrays["x"].transpose(0, 3, 1, 2)))
    order = (3, 2, 0, 1) if not case.depthwise else (2, 3, 0, 1)
    kernel = np.ascontiguousarray(arrays["kernel"].transpose(order))
    (top, bottom), (left, right) = case.pads
    options: dict[str, Any] = {
        "strides": [case.stride] * 2,
        "dilations": [case.dilation] * 2,
        "group": case.channels if case.depthwise else case.groups,
        "pads": [top, left, bottom, right],
    }
    op = "ConvTranspose" if case.transposed else "Conv"
    _, height, width, filters = case.result
    place = [graph.constant(f"place{n}", np.full(4, n, np.int64)) for n in (0, 1)]
    corners = []
    for i in range(repeats):
        # Another kernel each time, or the graph would be found to do the same thing twice.
        own = graph.constant("", kernel * np.float32(1 + i / 8))
        result = graph.node(op, [x, own], **options)
        if i == 0:
            graph.output(result, (1, filters, height, width))
        else:
            corners.append(graph.node("Slice", [result, *place]))
    if corners:
        graph.output(graph.node("Concat", corners, axis=0), (len(corners), 1, 1, 1), "corners")
    return graph.encode()


# The part of the forward rate that gradients are to reach, and of a listed case's rate that the
# cases next to it are.
GRADIENTS, NEXT_TO = 0.7, 0.6
NO_GRADIENTS = {"ort": "its inference package has no gradients"}


def _forward(case: Case, prefix: str, group: str, target: float, **options: Any) -> Workload:
    return Workload(
        name=f"{prefix}/{case.name}",
        kind="convolution",
        group=group,
        wanted={"best": target},
        arrays=partial(_arrays, case, ("x", "kernel")),
        functions=partial(_forward_functions, case),
        constants=frozenset({"kernel"}),
        parameters={**vars(case), "pads": case.pads, "images": True},
        flops=case.flops,
        repeats=SEVERAL,
        expected=partial(forward, case),
        graph=partial(_graph, case),
        **options,
    )


def _gradients(case: Case, prefix: str, group: str) -> list[Workload]:
    shared: dict[str, Any] = {"group": group, "flops": case.flops, "cannot": NO_GRADIENTS}
    like = f"{prefix}/{case.name}"
    shapes = {"image": case.image, "kernel": case.kernel}
    parameters = {**vars(case), **shapes, "pads": case.pads, "images": True}
    return [
        Workload(
            name=f"{like}/by-input",
            kind="convolution_by_input",
            arrays=partial(_arrays, case, ("dy", "kernel")),
            functions=partial(_input_functions, case),
            parameters=parameters,
            expected=partial(input_gradient, case),
            beside=((like, GRADIENTS),),
            **shared,
        ),
        Workload(
            name=f"{like}/by-kernel",
            kind="convolution_by_kernel",
            arrays=partial(_arrays, case, ("dy", "x")),
            functions=partial(_kernel_functions, case),
            parameters=parameters,
            expected=partial(kernel_gradient, case),
            beside=((like, GRADIENTS),),
            **shared,
        ),
    ]


WORKLOADS = [
    *(_forward(case, "conv", "convolution", 1.6) for case in CASES),
    *(
        _forward(case, "conv", "convolution", 1.6, beside=((f"conv/{listed.name}", NEXT_TO),))
        for listed, case in UNEVEN.items()
    ),
    *(each for case in CASES for each in _gradients(case, "conv", "convolution, gradients")),
    *(_forward(case, "depthwise", "depthwise convolution", 3.0) for case in DEPTHWISE),
    *(
        _forward(
            *(case, "depthwise", "depthwise convolution", 3.0),
            beside=((f"depthwise/{listed.name}", NEXT_TO),),
        )
        for listed, case in UNEVEN_DEPTHWISE.items()
    ),
    *(
        each
        for case in (DEPTHWISE[1], DEPTHWISE[7])
        for each in _gradients(case, "depthwise", "depthwise convolution, gradients")
    ),
]
