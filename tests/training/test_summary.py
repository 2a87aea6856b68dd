"""model.summary(): the table, counts and sizes, for built and unbuilt models."""

from __future__ import annotations

import tabgrad as tg
from tabgrad import summary
from tests.keras_oracle import keras


def test_a_compiled_model() -> None:
    model = tg.Sequential([
        tg.Input((8, 8, 1)),
        tg.layers.Conv2D(4, 3, activation="relu"),
        tg.layers.BatchNormalization(),
        tg.layers.MaxPooling2D(),
        tg.layers.Flatten(),
        tg.layers.Dense(10),
    ])  # fmt: skip
    model.compile("adam", "mse")
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    text = "\n".join(lines)
    for part in (
        'Model: "sequential"',
        "conv2d (Conv2D)",
        "(None, 6, 6, 4)",
        "max_pooling2d (MaxPooling2D)",
        "(None, 36)",
        "Total params: 426 (1.66 kB)",
        "Trainable params: 418",
        "Non-trainable params: 8 (32 B)",
        "Optimizer params: 838",
        "Predicting a row: ",
        "Training on 32 rows: ",
        "FLOPs, ",
        " at peak",
    ):
        assert part in text, f"{part!r} is missing in\n{text}"
    rows = [line for line in text.splitlines() if "(None" in line]
    assert [int(row.split()[-1].replace(",", "")) for row in rows] == [40, 16, 0, 0, 370]


def test_counts_are_those_of_keras() -> None:
    for k in (tg, keras):
        model = k.Sequential([k.Input((5,)), k.layers.Dense(7), k.layers.BatchNormalization()])
        counts = [layer.count_params() for layer in model.layers]
        assert counts == [42, 28]
        assert model.count_params() == 70


def test_an_unbuilt_model() -> None:
    model = tg.Sequential([tg.layers.Dense(3)])
    text = summary.text(model)
    assert "unbuilt" in text
    assert "start it with tg.Input(shape)" in text


def test_numbers() -> None:
    assert [summary.count(n) for n in (0, 999, 1500, 2.5e6, 3e9, 4e15)] == [
        "0 ", "999 ", "1.50 k", "2.50 M", "3.00 G", "4000.00 T",
    ]  # fmt: skip
    assert [summary.size(n) for n in (8, 2048, 3 << 20, 5 << 30)] == [
        "8 B", "2.00 kB", "3.00 MB", "5.00 GB",
    ]  # fmt: skip
