"""The model that `model.verify()` is tried on, on this machine and in exported pages."""

from __future__ import annotations

import tabgrad as tg

LAYERS = ["conv", "norm", "pool", "flat", "drop", "dense"]


def network() -> tg.Sequential:
    """A layer of each kind, named as in `LAYERS`; always with the same weights."""
    tg.random.seed(0)
    return tg.Sequential(
        [
            tg.Input((8, 8, 1)),
            tg.layers.Conv2D(6, 3, padding="same", activation="relu", name="conv"),
            tg.layers.BatchNormalization(name="norm"),
            tg.layers.MaxPooling2D(name="pool"),
            tg.layers.Flatten(name="flat"),
            tg.layers.Dropout(0.4, name="drop"),
            tg.layers.Dense(10, activation="softmax", name="dense"),
        ],
        name="network",
    )
