"""PyTorch's version of each kind of workload, on the CPU. Imported only where it is installed.

Each function takes the workload's arrays as tensors and its parameters and gives what does it once.
Images are handed over as PyTorch wants them, channels first in shape and channels last in memory,
which its CPU kernels run faster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional as F

Tensors = Mapping[str, Any]
Operation = Callable[[], Any]


def _first(x: Any) -> Any:
    """Channels first; in memory they stay last."""
    return x.permute(0, 3, 1, 2)


def _last(x: Any) -> Any:
    return x.permute(0, 2, 3, 1)


def _product(given: Tensors, parameters: Tensors) -> Operation:
    a, b = given["a"], given["b"]
    turned = parameters["turned"]
    a = a.transpose(-1, -2) if "a" in turned else a
    b = b.transpose(-1, -2) if "b" in turned else b
    return lambda: a @ b


def _kernel(kernel: Any, parameters: Tensors) -> Any:
    """(height, width, in, out) as (out, in, height, width); depthwise ones have 1 channel in."""
    order = (2, 3, 0, 1) if parameters["depthwise"] else (3, 2, 0, 1)
    return kernel.permute(*order).contiguous()


def _convolve(x: Any, kernel: Any, parameters: Tensors) -> Any:
    stride, dilation = parameters["stride"], parameters["dilation"]
    (top, bottom), (left, right) = parameters["pads"]
    groups = parameters["channels"] if parameters["depthwise"] else parameters["groups"]
    if parameters["transposed"]:
        y = F.conv_transpose2d(x, kernel, stride=stride)
        rows = parameters["height"] * stride
        columns = parameters["width"] * stride
        return y[:, :, top : top + rows, left : left + columns]
    if (top, left) != (bottom, right):
        x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
    return F.conv2d(x, kernel, stride=stride, padding=(top, left), dilation=dilation, groups=groups)


def _convolution(given: Tensors, parameters: Tensors) -> Operation:
    x, kernel = _first(given["x"]), _kernel(given["kernel"], parameters)
    return lambda: _last(_convolve(x, kernel, parameters))


def _by_input(given: Tensors, parameters: Tensors) -> Operation:
    dy, kernel = _first(given["dy"]), _kernel(given["kernel"], parameters)
    x = _first(torch.zeros(parameters["image"])).requires_grad_()
    y = _convolve(x, kernel, parameters)
    return lambda: _last(torch.autograd.grad(y, x, dy, retain_graph=True)[0])


def _by_kernel(given: Tensors, parameters: Tensors) -> Operation:
    dy, x = _first(given["dy"]), _first(given["x"])
    kernel = _kernel(torch.zeros(parameters["kernel"]), parameters).requires_grad_()
    y = _convolve(x, kernel, parameters)
    back = (2, 3, 0, 1) if parameters["depthwise"] else (2, 3, 1, 0)
    return lambda: torch.autograd.grad(y, kernel, dy, retain_graph=True)[0].permute(*back)


def _chain(given: Tensors, parameters: Tensors) -> Operation:
    x = given["x"]
    return lambda: torch.relu(x * 1.5 + 0.25) * torch.sigmoid(x)


def _layer_norm(given: Tensors, parameters: Tensors) -> Operation:
    x = given["x"]
    return lambda: F.layer_norm(x, x.shape[-1:], eps=parameters["epsilon"])


def _small_products(given: Tensors, parameters: Tensors) -> Operation:
    weights = list(given["w"].unbind(0))

    def once() -> Any:
        x = given["x"]
        for w in weights:
            x = x @ w
        return x

    return once


def _adds(given: Tensors, parameters: Tensors) -> Operation:
    def once() -> Any:
        x = given["x"]
        for _ in range(parameters["steps"]):
            x = x + given["one"]
        return x

    return once


def _training(
    given: Tensors, make: Callable[[dict[str, Any]], tuple[list[Any], Callable[[Any], Any]]], x: Any
) -> Operation:
    """A step of Adam; `make` gives the trained tensors and the logits as a function of x."""
    weights = {name: value.clone() for name, value in given.items() if "/" in name}
    trained, logits = make(weights)
    optimizer = torch.optim.Adam(trained, lr=0.001, eps=1e-7)
    y = given["y"].long()

    def once() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(logits(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return once


def _dense(w: Mapping[str, Any], name: str, x: Any) -> Any:
    return torch.addmm(w[f"{name}/bias"], x, w[f"{name}/kernel"])


def _leaves(w: dict[str, Any]) -> list[Any]:
    for name in w:
        w[name] = w[name].requires_grad_()
    return list(w.values())


def _mlp(given: Tensors, parameters: Tensors) -> Operation:
    def make(w: dict[str, Any]) -> tuple[list[Any], Callable[[Any], Any]]:
        return _leaves(w), lambda x: _dense(w, "output", F.relu(_dense(w, "hidden", x)))

    return _training(given, make, given["x"])


def _cnn(given: Tensors, parameters: Tensors) -> Operation:
    def make(w: dict[str, Any]) -> tuple[list[Any], Callable[[Any], Any]]:
        for name in ("conv1/kernel", "conv2/kernel"):
            w[name] = w[name].permute(3, 2, 0, 1).contiguous()
        # The rows of this one are (height, width, channels) of the last image.
        channels, units = w["conv2/kernel"].shape[0], w["hidden/kernel"].shape[1]
        rows = w["hidden/kernel"].reshape(-1, channels, units).transpose(0, 1)
        w["hidden/kernel"] = rows.reshape(-1, units).contiguous()

        def logits(x: Any) -> Any:
            for name in ("conv1", "conv2"):
                x = F.relu(F.conv2d(x, w[f"{name}/kernel"], w[f"{name}/bias"]))
            x = F.max_pool2d(x, 2).flatten(1)
            return _dense(w, "output", F.relu(_dense(w, "hidden", x)))

        return _leaves(w), logits

    return _training(given, make, _first(given["x"]).contiguous())


def _lstm(given: Tensors, parameters: Tensors) -> Operation:
    def make(w: dict[str, Any]) -> tuple[list[Any], Callable[[Any], Any]]:
        features, units = w["lstm/kernel"].shape[0], w["lstm/recurrent_kernel"].shape[0]
        cell = torch.nn.LSTM(features, units, batch_first=True)
        with torch.no_grad():  # the same order of gates, the other way round in memory
            cell.weight_ih_l0.copy_(w.pop("lstm/kernel").T)
            cell.weight_hh_l0.copy_(w.pop("lstm/recurrent_kernel").T)
            cell.bias_ih_l0.copy_(w.pop("lstm/bias"))
            cell.bias_hh_l0.zero_()
        # One bias is enough, and what the others have.
        cell.bias_hh_l0.requires_grad_(False)
        own = [each for each in cell.parameters() if each.requires_grad]
        return [*own, *_leaves(w)], lambda x: _dense(w, "output", cell(x)[0][:, -1])

    return _training(given, make, given["x"])


def _mobilenet(given: Tensors, parameters: Tensors) -> Operation:
    kernels = {}
    for name, value in given.items():
        if name.endswith("/kernel") and value.ndim == 4:
            order = (2, 3, 0, 1) if "depthwise" in name else (3, 2, 0, 1)
            kernel = value.permute(*order).contiguous(memory_format=torch.channels_last)
            kernels[name.removesuffix("/kernel")] = kernel
    halving = ("block_1", "block_3", "block_6", "block_13")

    def convolution(x: Any, name: str, stride: int = 1) -> Any:
        kernel = kernels[name]
        depthwise = "depthwise" in name
        if stride == 2:  # a pixel more behind than in front
            x = F.pad(x, (0, 1, 0, 1))
        padding = 0 if stride == 2 or kernel.shape[-1] == 1 else 1
        groups = kernel.shape[0] if depthwise else 1
        return F.conv2d(x, kernel, given[f"{name}/bias"], stride, padding, groups=groups)

    def once() -> Any:
        x = F.relu6(convolution(_first(given["x"]), "Conv1", 2))
        for i in range(17):
            block = f"block_{i}" if i else "expanded_conv"
            y = F.relu6(convolution(x, f"{block}_expand")) if i else x
            y = F.relu6(convolution(y, f"{block}_depthwise", 2 if block in halving else 1))
            y = convolution(y, f"{block}_project")
            x = x + y if y.shape == x.shape else y
        x = F.relu6(convolution(x, "Conv_1")).mean((2, 3))
        return torch.softmax(_dense(given, "predictions", x), -1)

    return once


def _minilm(given: Tensors, parameters: Tensors) -> Operation:
    heads, epsilon = parameters["heads"], parameters["epsilon"]

    def norm(x: Any, name: str) -> Any:
        return F.layer_norm(x, x.shape[-1:], given[f"{name}/gamma"], given[f"{name}/beta"], epsilon)

    def once() -> Any:
        ids, mask = given["ids"][0], given["mask"][0]
        seen = mask.bool().reshape(1, 1, 1, -1)
        length = ids.shape[0]
        x = given["embeddings/word"][ids] + given["embeddings/position"][:length]
        x = norm(x + given["embeddings/kind"][0], "embeddings/norm")
        for i in range(parameters["layers"]):
            layer = f"layer{i}"
            query, key, value = (
                _dense(given, f"{layer}/{part}", x).reshape(1, length, heads, -1).transpose(1, 2)
                for part in ("query", "key", "value")
            )
            mixed = F.scaled_dot_product_attention(query, key, value, seen)
            mixed = mixed.transpose(1, 2).reshape(length, -1)
            x = norm(x + _dense(given, f"{layer}/attention", mixed), f"{layer}/attention_norm")
            inner = F.gelu(_dense(given, f"{layer}/inner", x))
            x = norm(x + _dense(given, f"{layer}/output", inner), f"{layer}/output_norm")
        there = mask.float()[:, None]
        return F.normalize((x * there).sum(0, keepdim=True) / there.sum(), dim=-1)

    return once


KINDS: Mapping[str, Callable[[Tensors, Tensors], Operation]] = {
    "product": _product,
    "convolution": _convolution,
    "convolution_by_input": _by_input,
    "convolution_by_kernel": _by_kernel,
    "chain": _chain,
    "softmax": lambda given, _: lambda: torch.softmax(given["x"], -1),
    "layer_norm": _layer_norm,
    "sum": lambda given, _: lambda: given["x"].sum(),
    "transpose": lambda given, _: lambda: given["x"].T.contiguous(),
    "sort": lambda given, _: lambda: given["x"].sort().values,
    "normal": lambda _, parameters: lambda: torch.randn(parameters["count"]),
    "small_products": _small_products,
    "adds": _adds,
    "mlp": _mlp,
    "cnn": _cnn,
    "lstm": _lstm,
    "mobilenet": _mobilenet,
    "minilm": _minilm,
}
