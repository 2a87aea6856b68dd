"""MiniLM-L6 (Wang et al., 2020), inference: 128 token numbers to the embedding of a sentence.

A BERT encoder (Devlin et al., 2019) of 6 layers with 12 heads, then what sentence-transformers'
all-MiniLM-L6-v2 does: the mean over the tokens that are there, scaled to length 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tabgrad as tg
from bench.models.variables import Params, compiled, variables

LAYERS, HIDDEN, HEADS, INNER = 6, 384, 12, 1536
LENGTH, VOCABULARY, POSITIONS, KINDS = 128, 30522, 512, 2
DEPTH, EPSILON = HIDDEN // HEADS, 1e-12
# Tokens that `inputs` leaves out at the end, so that the mask matters.
MISSING = 16


def flops(length: int = LENGTH) -> int:
    """Two for each multiplication and addition of the matrix products."""
    layer = length * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * INNER) + 2 * length * length * HIDDEN
    return 2 * LAYERS * layer


FLOPS = flops()


def weights(seed: int = 0) -> dict[str, Any]:
    """Matrices (in, out) that keep the variance of what passes through them, and small biases."""
    random = np.random.default_rng(seed)
    made: dict[str, Any] = {}

    def normal(name: str, *shape: int, scale: float) -> None:
        made[name] = random.standard_normal(shape, np.float32) * np.float32(scale)

    def norm(name: str) -> None:
        made[f"{name}/gamma"] = random.uniform(0.8, 1.2, HIDDEN).astype(np.float32)
        normal(f"{name}/beta", HIDDEN, scale=0.1)

    def dense(name: str, n: int, m: int, gain: float = 1.0) -> None:
        normal(f"{name}/kernel", n, m, scale=math.sqrt(gain / n))
        normal(f"{name}/bias", m, scale=0.1)

    normal("embeddings/word", VOCABULARY, HIDDEN, scale=0.1)
    normal("embeddings/position", POSITIONS, HIDDEN, scale=0.05)
    normal("embeddings/kind", KINDS, HIDDEN, scale=0.05)
    norm("embeddings/norm")
    for i in range(LAYERS):
        for part in ("query", "key", "value", "attention"):
            dense(f"layer{i}/{part}", HIDDEN, HIDDEN)
        norm(f"layer{i}/attention_norm")
        dense(f"layer{i}/inner", HIDDEN, INNER)
        dense(f"layer{i}/output", INNER, HIDDEN, gain=2.0)
        norm(f"layer{i}/output_norm")
    return made


def inputs(seed: int = 0, length: int = LENGTH) -> dict[str, Any]:
    """One sentence: token numbers `ids`, and `mask`, 1 where there is a token and 0 behind."""
    random = np.random.default_rng(seed + 1)
    mask = np.ones((1, length), np.int32)
    mask[:, length - min(MISSING, length // 2) :] = 0
    ids = random.integers(1000, VOCABULARY, (1, length)).astype(np.int32)
    return {"ids": ids * mask, "mask": mask}


def forward(params: Params, ids: Any, mask: Any) -> tg.Tensor:
    """Embeddings of length 1, (batch, 384)."""
    batch, length = ids.shape

    def dense(name: str, x: Any) -> Any:
        return tg.matmul(x, params[f"{name}/kernel"]) + params[f"{name}/bias"]

    def norm(name: str, x: Any) -> Any:
        gamma, beta = params[f"{name}/gamma"], params[f"{name}/beta"]
        return tg.nn.layer_normalization(x, gamma, beta, epsilon=EPSILON)

    def heads(name: str, x: Any) -> Any:
        return tg.reshape(dense(name, x), (batch, length, HEADS, DEPTH))

    present = tg.cast(mask, "bool")
    seen = tg.reshape(present, (batch, 1, 1, length))
    x = tg.nn.embedding_lookup(params["embeddings/word"], ids)
    x = x + params["embeddings/position"][:length] + params["embeddings/kind"][0]
    x = norm("embeddings/norm", x)
    for i in range(LAYERS):
        layer = f"layer{i}"
        query, key, value = (heads(f"{layer}/{part}", x) for part in ("query", "key", "value"))
        mixed = tg.nn.dot_product_attention(query, key, value, mask=seen)
        mixed = tg.reshape(mixed, (batch, length, HIDDEN))
        x = norm(f"{layer}/attention_norm", x + dense(f"{layer}/attention", mixed))
        inner = tg.gelu(dense(f"{layer}/inner", x), approximate=False)
        x = norm(f"{layer}/output_norm", x + dense(f"{layer}/output", inner))
    there = tg.expand_dims(tg.cast(mask, "float32"), -1)
    mean = tg.sum(x * there, axis=1) / tg.maximum(tg.sum(there, axis=1), 1e-9)
    return tg.nn.l2_normalize(mean, axis=-1)


def functions(weights: Params, length: int = LENGTH) -> dict[str, Any]:
    """`embed`, compiled, for `tg.export`."""
    params = variables(weights, trainable=False)

    def embed(ids: Any, mask: Any) -> tg.Tensor:
        return forward(params, ids, mask)

    example = inputs(length=length)
    return {"embed": compiled(embed, example["ids"], example["mask"])}


def onnx_model(weights: Params, length: int = LENGTH) -> bytes:
    """The same network as an ONNX file, from ids and mask (int32) to y."""
    return _OnnxFile(weights, length).model()


def onnx_feeds(given: Params) -> dict[str, Any]:
    """`inputs()` as the ONNX file takes them."""
    return {name: given[name] for name in ("ids", "mask")}


class _OnnxFile:
    """Nodes and arrays of the file, as they are added."""

    def __init__(self, weights: Params, length: int) -> None:
        self.weights = weights
        self.length = length
        self.nodes: list[Any] = []
        self.arrays: dict[str, Any] = {}
        self._count = 0

    def add(self, kind: str, *sources: Any, **attributes: Any) -> str:
        """One more node; the name of its result. Arrays among its sources are stored."""
        from onnx import helper

        self._count += 1
        out = f"{kind}_{self._count}"
        names: list[str] = []
        for source in sources:
            if not isinstance(source, str):
                source, array = f"array_{self._count}_{len(names)}", source
                self.arrays[source] = array
            names.append(source)
        self.nodes.append(helper.make_node(kind, names, [out], **attributes))
        return out

    def dense(self, name: str, x: str) -> str:
        product = self.add("MatMul", x, self.weights[f"{name}/kernel"])
        return self.add("Add", product, self.weights[f"{name}/bias"])

    def norm(self, name: str, x: str) -> str:
        gamma, beta = self.weights[f"{name}/gamma"], self.weights[f"{name}/beta"]
        return self.add("LayerNormalization", x, gamma, beta, axis=-1, epsilon=EPSILON)

    def heads(self, name: str, x: str, order: tuple[int, ...]) -> str:
        shape = np.array([1, self.length, HEADS, DEPTH], np.int64)
        return self.add("Transpose", self.add("Reshape", self.dense(name, x), shape), perm=order)

    def attention(self, layer: str, x: str, bias: str) -> str:
        query = self.heads(f"{layer}/query", x, (0, 2, 1, 3))
        key = self.heads(f"{layer}/key", x, (0, 2, 3, 1))
        value = self.heads(f"{layer}/value", x, (0, 2, 1, 3))
        scores = self.add(
            "Div", self.add("MatMul", query, key), np.array(math.sqrt(DEPTH), np.float32)
        )
        shares = self.add("Softmax", self.add("Add", scores, bias), axis=-1)
        mixed = self.add("Transpose", self.add("MatMul", shares, value), perm=(0, 2, 1, 3))
        return self.add("Reshape", mixed, np.array([1, self.length, HIDDEN], np.int64))

    def gelu(self, x: str) -> str:
        scaled = self.add("Div", x, np.array(math.sqrt(2.0), np.float32))
        shifted = self.add("Add", self.add("Erf", scaled), np.array(1.0, np.float32))
        return self.add("Mul", self.add("Mul", x, shifted), np.array(0.5, np.float32))

    def model(self) -> bytes:
        from onnx import TensorProto, helper, numpy_helper

        there = self.add("Cast", "mask", to=TensorProto.FLOAT)
        missing = self.add("Sub", np.array(1.0, np.float32), there)
        missing = self.add("Unsqueeze", missing, np.array([1, 2], np.int64))
        bias = self.add("Mul", missing, np.array(-1e9, np.float32))
        x = self.add("Gather", self.weights["embeddings/word"], "ids", axis=0)
        # Position and kind of the tokens are the same in every call.
        fixed = self.weights["embeddings/position"][: self.length]
        x = self.add("Add", x, (fixed + self.weights["embeddings/kind"][0])[None])
        x = self.norm("embeddings/norm", x)
        for i in range(LAYERS):
            layer = f"layer{i}"
            mixed = self.dense(f"{layer}/attention", self.attention(layer, x, bias))
            x = self.norm(f"{layer}/attention_norm", self.add("Add", x, mixed))
            inner = self.gelu(self.dense(f"{layer}/inner", x))
            outer = self.dense(f"{layer}/output", inner)
            x = self.norm(f"{layer}/output_norm", self.add("Add", x, outer))
        there = self.add("Unsqueeze", there, np.array([2], np.int64))
        tokens = np.array([1], np.int64)
        total = self.add("ReduceSum", self.add("Mul", x, there), tokens, keepdims=0)
        count = self.add("ReduceSum", there, tokens, keepdims=0)
        count = self.add("Max", count, np.array(1e-9, np.float32))
        mean = self.add("Div", total, count)
        # As tg.nn.l2_normalize: the square of the length is 1e-12 at least.
        square = self.add(
            "ReduceSum", self.add("Mul", mean, mean), np.array([1], np.int64), keepdims=1
        )
        length = self.add("Sqrt", self.add("Max", square, np.array(1e-12, np.float32)))
        self.nodes.append(helper.make_node("Div", [mean, length], ["y"]))
        graph = helper.make_graph(
            self.nodes,
            "minilm",
            [
                helper.make_tensor_value_info(name, TensorProto.INT32, [1, self.length])
                for name in ("ids", "mask")
            ],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, HIDDEN])],
            [numpy_helper.from_array(np.asarray(v), name) for name, v in self.arrays.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        return bytes(model.SerializeToString())
