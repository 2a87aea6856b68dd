"""What neural-network functions refuse, and how they say it: expected, received, what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.errors import (
    ArgumentError,
    DtypeError,
    NotSupportedError,
    ShapeError,
    TabgradError,
)

ones = tg.ops.ones

REFUSED: dict[str, tuple[Callable[[], Any], type[TabgradError], str]] = {
    "odd glu": (lambda: tg.nn.glu(ones((2, 3))), ShapeError, r"even size.*\[2, 3\]"),
    "slopes of prelu": (
        lambda: tg.nn.prelu(ones((2, 3)), ones((4, 2, 3))), ShapeError, r"\[2, 3\].*\[4, 2, 3\]"
    ),
    "sparse codes": (
        lambda: tg.nn.one_hot([1], 3, sparse=True), NotSupportedError, "sparse=False.*True"
    ),
    "no classes": (lambda: tg.nn.multi_hot([1]), ArgumentError, "num_classes.*None"),
    "ids of floats": (
        lambda: tg.nn.embedding_lookup(ones((3, 2)), ones((2,))), DtypeError, "integer.*float32"
    ),
    "an empty table": (
        lambda: tg.nn.embedding_lookup(ones((0, 2)), [1]), ShapeError, r"at least one row.*\[0, 2\]"
    ),
    "conv channels": (
        lambda: tg.nn.conv(ones((1, 5, 5, 3)), ones((2, 2, 2, 4))), ShapeError,
        r"divisible by the kernel's 2.*3 channels",
    ),
    "conv filters": (
        lambda: tg.nn.conv(ones((1, 5, 5, 4)), ones((2, 2, 2, 3))), ShapeError, "3 filters"
    ),
    "conv rank": (
        lambda: tg.nn.conv(ones((5, 3)), ones((2, 3))), ShapeError, r"same rank.*\[5, 3\]"
    ),
    "conv too large": (
        lambda: tg.nn.conv(ones((1, 2, 2, 1)), ones((3, 3, 1, 1))), ShapeError, "does not fit"
    ),
    "conv padding": (
        lambda: tg.nn.conv(ones((1, 5, 5, 1)), ones((3, 3, 1, 1)), padding="full"), ArgumentError,
        "'valid', 'same' or 'causal'.*'full'",
    ),
    "causal images": (
        lambda: tg.nn.conv(ones((1, 5, 5, 1)), ones((3, 3, 1, 1)), padding="causal"), ArgumentError,
        "one spatial axis.*'causal'",
    ),
    "conv format": (
        lambda: tg.nn.conv(ones((1, 5, 5, 1)), ones((3, 3, 1, 1)), data_format="NHWC"),
        ArgumentError, "'channels_last' or 'channels_first'.*'NHWC'",
    ),
    "conv strides": (
        lambda: tg.nn.conv(ones((1, 5, 5, 1)), ones((3, 3, 1, 1)), strides=0), ArgumentError,
        "strides.*positive.*0",
    ),
    "depthwise channels": (
        lambda: tg.nn.depthwise_conv(ones((1, 5, 5, 3)), ones((2, 2, 4, 1))), ShapeError,
        r"as many channels.*\[1, 5, 5, 3\].*\[2, 2, 4, 1\]",
    ),
    "transposed channels": (
        lambda: tg.nn.conv_transpose(ones((1, 5, 5, 3)), ones((2, 2, 3, 4))), ShapeError,
        "as many channels",
    ),
    "pool rank": (lambda: tg.nn.max_pool(ones((5, 3)), 2), ShapeError, r"channels.*\[5, 3\]"),
    "pool of padding": (
        lambda: tg.nn.average_pool(ones((1, 5, 5, 1)), 2, padding=2), ArgumentError,
        "no window is all padding.*2",
    ),
    "pool padding": (
        lambda: tg.nn.max_pool(ones((1, 5, 5, 1)), 2, padding=((1, 0),)), ArgumentError, "2 pairs"
    ),
    "adaptive size": (
        lambda: tg.nn.adaptive_max_pool(ones((1, 5, 5, 1)), 0), ArgumentError, "output_size.*0"
    ),
    "columns": (
        lambda: tg.nn.fold(ones((1, 4, 3)), 3, 2), ShapeError, r"channels \* 4, 4.*\[1, 4, 3\]"
    ),
    "unfolded rank": (lambda: tg.nn.unfold(ones((4, 4)), 2), ShapeError, r"\[4, 4\]"),
    "blocks": (
        lambda: tg.nn.space_to_depth(ones((1, 3, 4, 1)), 2), ShapeError, r"divisible by 2.*\[1, 3"
    ),
    "depth": (lambda: tg.nn.depth_to_space(ones((1, 2, 2, 3)), 2), ShapeError, "channels div"),
    "structure": (
        lambda: tg.nn.dilation2d(ones((1, 4, 4, 2)), ones((2, 2, 3))), ShapeError, "as many chan"
    ),
    "batch statistics": (
        lambda: tg.nn.batch_normalization(ones((2, 3)), ones((2,)), ones((3,)), -1), ShapeError,
        r"a mean of shape \[3\].*\[2\]",
    ),
    "layer parameters": (
        lambda: tg.nn.layer_normalization(ones((2, 3)), ones((2,))), ShapeError, r"a gamma.*\[3\]"
    ),
    "groups": (
        lambda: tg.nn.group_normalization(ones((2, 6)), 4), ArgumentError, "divides 6 channels.*4"
    ),
    "order": (lambda: tg.nn.normalize(ones((2,)), order=0), ArgumentError, "order.*at least 1.*0"),
    "attention rank": (
        lambda: tg.nn.dot_product_attention(ones((2, 3, 4)), ones((2, 3, 4)), ones((2, 3, 4))),
        ShapeError, r"\(batch, length, heads, depth\).*\[2, 3, 4\]",
    ),
    "attention heads": (
        lambda: tg.nn.dot_product_attention(ones((1, 2, 3, 4)), *[ones((1, 2, 2, 4))] * 2),
        ShapeError, "divisible.*3 and 2",
    ),
    "attention mask": (
        lambda: tg.nn.dot_product_attention(*[ones((1, 2, 3, 4))] * 3, mask=ones((2, 2))),
        DtypeError, "bools.*float32",
    ),
    "attention bias": (
        lambda: tg.nn.dot_product_attention(*[ones((1, 2, 3, 4))] * 3, bias=ones((2, 3))),
        ShapeError, r"a bias.*\[1, 3, 2, 2\].*\[2, 3\]",
    ),
    "flash": (
        lambda: tg.nn.dot_product_attention(*[ones((1, 2, 3, 4))] * 3, flash_attention=True),
        NotSupportedError, "flash_attention None or False.*True",
    ),
    "labels": (
        lambda: tg.nn.binary_crossentropy(ones((3,)), ones((3, 1))), ShapeError, r"\[3\].*\[3, 1\]"
    ),
    "classes": (
        lambda: tg.nn.sparse_categorical_crossentropy(np.int32([[1, 2]]), ones((2, 3))), ShapeError,
        r"shaped \[2\].*\[1, 2\]",
    ),
    "weights": (
        lambda: tg.nn.huber_loss(ones((3,)), ones((3,)), ones((2, 3))), ShapeError, r"\[2, 3\]"
    ),
    "reduction": (
        lambda: tg.nn.log_loss(ones((3,)), ones((3,)), reduction="average"), ArgumentError,
        "sum_by_nonzero_weights.*'average'",
    ),
    "ctc lengths": (
        lambda: tg.nn.ctc_loss([[1]], ones((1, 2, 3)), [1, 1], [2]), ShapeError,
        r"target_length of shape \[1\].*\[2\]",
    ),
    "ctc blank": (
        lambda: tg.nn.ctc_loss([[1]], ones((1, 2, 3)), [1], [2], mask_index=3), ArgumentError,
        "below 3.*3",
    ),
    "ctc strategy": (
        lambda: tg.nn.ctc_decode(ones((1, 2, 3)), [2], "best"), ArgumentError, "'greedy'.*'best'"
    ),
    "lstm kernel": (
        lambda: tg.nn.basic_lstm_cell(
            1.0, ones((4, 8)), ones((8,)), ones((2, 3)), ones((2, 2)), ones((2, 2))
        ),
        ShapeError, r"inputs \+ units.*\[4, 8\]",
    ),
    "states of cells": (
        lambda: tg.nn.multi_rnn_cell([lambda x, c, h: (c, h)], ones((1,)), [], []), ArgumentError,
        "each of 1 cells.*0 and 0",
    ),
    "ctc paths": (
        lambda: tg.nn.ctc_decode(ones((1, 2, 3)), [2], "beam_search", 2, 3), ArgumentError, "3 and"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=f"(?s){message}"):
        call()


def test_names_of_keras_ops_that_neural_networks_use() -> None:
    """Every function of keras.ops.nn is in tg.ops, with its arguments in Keras's order."""
    import inspect

    from tests.keras_oracle import keras

    lacking, different = [], []
    for name in sorted(vars(keras.ops.nn)):
        theirs = getattr(keras.ops.nn, name)
        if name.startswith("_") or not callable(theirs) or inspect.isclass(theirs):
            continue
        if not hasattr(tg.ops, name):
            lacking.append(name)
            continue
        mine = list(inspect.signature(getattr(tg.ops, name)).parameters)
        wanted = [p for p in inspect.signature(theirs).parameters if p not in ("args", "kwargs")]
        if mine[: len(wanted)] != wanted:
            different.append((name, mine, wanted))
    assert not different
    assert not lacking


def test_activations_by_name() -> None:
    """Every activation of Keras is known by its name; `get` and `serialize` are inverse."""
    from tests.keras_oracle import keras

    names = {n for n in vars(keras.activations) if not n.startswith("_")}
    assert names - set(tg.activations.__all__) == {"deserialize"}
    for name in sorted(names - {"deserialize", "get", "serialize", "threshold"}):
        function = tg.activations.get(name)
        assert function is getattr(tg.activations, name)
        assert tg.activations.get(tg.activations.serialize(function)) is function
        width = 2 if name == "glu" else 4
        assert tg.layers.Dense(4, activation=name)(ones((3, 2))).shape == (3, width)
