"""MobileNetV2 1.0 (Sandler et al., 2018), inference: 224 x 224 x 3 images to 1000 probabilities.

Weights have Keras's names and layouts, batch norms apart; `folded` has them in the convolutions'
kernels and biases, as a converter leaves them. All sizes of images that Keras takes work.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import tabgrad as tg
from bench.models.variables import Params, compiled, variables

SIZE, CLASSES, EPSILON = 224, 1000, 1e-3
# Expansion, channels out, blocks, stride of the first of them.
STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip
FIRST, LAST = 32, 1280


class Conv(NamedTuple):
    """One convolution with its batch norm."""

    name: str
    norm: str
    span: int
    stride: int
    channels: int
    filters: int
    depthwise: bool = False
    active: bool = True  # whether relu6 follows
    begins: bool = False  # the first of a block, whose input a residual may add
    adds: bool = False  # the last of a block with a residual


def convolutions() -> Iterator[Conv]:
    """All of them in order."""
    yield Conv("Conv1", "bn_Conv1", 3, 2, 3, FIRST)
    channels, index = FIRST, 0
    for expansion, filters, blocks, first_stride in STAGES:
        for i in range(blocks):
            block = f"block_{index}" if index else "expanded_conv"
            stride = 1 if i else first_stride
            wide = channels * expansion
            expands = expansion > 1
            if expands:
                yield Conv(
                    f"{block}_expand", f"{block}_expand_BN", 1, 1, channels, wide, begins=True
                )
            yield Conv(
                f"{block}_depthwise", f"{block}_depthwise_BN", 3, stride, wide, wide,
                depthwise=True, begins=not expands,
            )  # fmt: skip
            yield Conv(
                f"{block}_project", f"{block}_project_BN", 1, 1, wide, filters,
                active=False, adds=stride == 1 and channels == filters,
            )  # fmt: skip
            channels, index = filters, index + 1
    yield Conv("Conv_1", "Conv_1_bn", 1, 1, channels, LAST)


def flops(size: int = SIZE) -> int:
    """Two for each multiplication and addition of the convolutions and the dense layer."""
    total = LAST * CLASSES
    for conv in convolutions():
        size = -(-size // conv.stride)
        total += size**2 * conv.span**2 * conv.filters * (1 if conv.depthwise else conv.channels)
    return 2 * total


FLOPS = flops()


def weights(seed: int = 0) -> dict[str, Any]:
    """Kernels that keep the variance of what passes through them, batch norms that change it a
    little, so that folding them is real work."""
    random = np.random.default_rng(seed)
    made: dict[str, Any] = {}
    for conv in convolutions():
        shape = (conv.span, conv.span, conv.channels, 1 if conv.depthwise else conv.filters)
        fan_in = conv.span**2 * (1 if conv.depthwise else conv.channels)
        kernel = random.standard_normal(shape) * np.sqrt((2.0 if conv.active else 1.0) / fan_in)
        made[f"{conv.name}/kernel"] = kernel.astype(np.float32)
        for name, values in (
            ("gamma", random.uniform(0.8, 1.2, conv.filters)),
            ("beta", random.normal(0.0, 0.1, conv.filters)),
            ("moving_mean", random.normal(0.0, 0.1, conv.filters)),
            ("moving_variance", random.uniform(0.5, 1.5, conv.filters)),
        ):
            made[f"{conv.norm}/{name}"] = values.astype(np.float32)
    kernel = random.standard_normal((LAST, CLASSES)) * np.sqrt(2.0 / LAST)
    made["predictions/kernel"] = kernel.astype(np.float32)
    made["predictions/bias"] = random.normal(0.0, 0.1, CLASSES).astype(np.float32)
    return made


def folded(weights: Params) -> dict[str, Any]:
    """The same network without batch norms: a kernel and a bias for each convolution."""
    made = {}
    for conv in convolutions():
        gamma, beta, mean, variance = (
            np.asarray(weights[f"{conv.norm}/{name}"], np.float64)
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        factor = gamma / np.sqrt(variance + EPSILON)
        along = factor[:, None] if conv.depthwise else factor
        made[f"{conv.name}/kernel"] = (weights[f"{conv.name}/kernel"] * along).astype(np.float32)
        made[f"{conv.name}/bias"] = (beta - mean * factor).astype(np.float32)
    return made | {name: weights[name] for name in ("predictions/kernel", "predictions/bias")}


def inputs(seed: int = 0, size: int = SIZE) -> dict[str, Any]:
    """One image x, channels last."""
    random = np.random.default_rng(seed + 1)
    return {"x": random.uniform(-1.0, 1.0, (1, size, size, 3)).astype(np.float32)}


def forward(params: Params, x: Any) -> tg.Tensor:
    """Probabilities, (batch, 1000), by weights as they are or `folded`."""
    kept = x
    for conv in convolutions():
        if conv.begins:
            kept = x
        convolve = tg.nn.depthwise_conv if conv.depthwise else tg.nn.conv
        x = convolve(x, params[f"{conv.name}/kernel"], strides=conv.stride, padding="same")
        if f"{conv.name}/bias" in params:
            x = x + params[f"{conv.name}/bias"]
        else:
            x = _batch_norm(params, conv.norm, x)
        if conv.active:
            x = tg.relu6(x)
        if conv.adds:
            x = x + kept
    x = tg.nn.global_average_pool(x)
    return tg.softmax(tg.matmul(x, params["predictions/kernel"]) + params["predictions/bias"])


def _batch_norm(params: Params, name: str, x: Any) -> tg.Tensor:
    return tg.nn.batch_normalization(
        x,
        params[f"{name}/moving_mean"],
        params[f"{name}/moving_variance"],
        axis=-1,
        offset=params[f"{name}/beta"],
        scale=params[f"{name}/gamma"],
        epsilon=EPSILON,
    )


def functions(weights: Params, size: int = SIZE) -> dict[str, Any]:
    """`predict`, compiled, for `tg.export`, with the batch norms folded."""
    params = variables(folded(weights), trainable=False)

    def predict(x: Any) -> tg.Tensor:
        return forward(params, x)

    return {"predict": compiled(predict, inputs(size=size)["x"])}


def onnx_model(weights: Params, size: int = SIZE) -> bytes:
    """The same network as an ONNX file, from x, channels first, to y; batch norms folded."""
    from onnx import TensorProto, helper, numpy_helper

    params = folded(weights)
    arrays: dict[str, Any] = {"low": np.float32(0.0), "high": np.float32(6.0)}
    nodes = []
    x = kept = "x"
    side = size
    for conv in convolutions():
        if conv.begins:
            kept = x
        # (h, w, in, out) and (h, w, channels, 1) to (out, in per group, h, w).
        kernel = params[f"{conv.name}/kernel"]
        order = (2, 3, 0, 1) if conv.depthwise else (3, 2, 0, 1)
        arrays[f"{conv.name}/kernel"] = np.ascontiguousarray(kernel.transpose(order))
        arrays[f"{conv.name}/bias"] = params[f"{conv.name}/bias"]
        out = -(-side // conv.stride)
        padding = max((out - 1) * conv.stride + conv.span - side, 0)
        before, after, side = padding // 2, padding - padding // 2, out
        nodes.append(
            helper.make_node(
                "Conv",
                [x, f"{conv.name}/kernel", f"{conv.name}/bias"],
                [conv.name],
                kernel_shape=[conv.span] * 2,
                strides=[conv.stride] * 2,
                pads=[before, before, after, after],
                group=conv.channels if conv.depthwise else 1,
            )
        )
        x = conv.name
        if conv.active:
            nodes.append(helper.make_node("Clip", [x, "low", "high"], [f"{x}/relu6"]))
            x = f"{x}/relu6"
        if conv.adds:
            nodes.append(helper.make_node("Add", [x, kept], [f"{x}/sum"]))
            x = f"{x}/sum"
    for name in ("predictions/kernel", "predictions/bias"):
        arrays[name] = params[name]
    nodes += [
        helper.make_node("GlobalAveragePool", [x], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "predictions/kernel", "predictions/bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "mobilenet",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def onnx_feeds(given: Params) -> dict[str, Any]:
    """`inputs()` as the ONNX file takes them: channels first."""
    return {"x": np.ascontiguousarray(given["x"].transpose(0, 3, 1, 2))}
