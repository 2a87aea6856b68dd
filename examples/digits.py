"""A classifier of real handwritten digits: scikit-learn's 1,797 images of 8 by 8 pixels.

    python -m examples.digits

It reads at least 98 of 100 digits it has not seen right. The page it writes lets the visitor draw
digits, and train the network from scratch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tabgrad as tg

SEED = 0
EPOCHS = 20
BATCH_SIZE = 32


def make_model() -> tg.Sequential:
    """A small convolutional network, compiled and not yet trained; the same weights every time."""
    tg.random.seed(SEED)
    model = tg.Sequential(
        [
            tg.Input((8, 8, 1)),
            tg.layers.Conv2D(16, 3, padding="same", activation="relu"),
            tg.layers.MaxPooling2D(),
            tg.layers.Conv2D(32, 3, padding="same", activation="relu"),
            tg.layers.Flatten(),
            tg.layers.Dropout(0.4),
            tg.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        optimizer=tg.optimizers.Adam(learning_rate=0.003),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def load_data() -> tuple[Any, Any, Any, Any]:
    """Images for training, images held out (a fifth), labels for training, labels held out.

    NumPy arrays: images (rows, 8, 8, 1) float32 from 0 to 1, labels (rows,) int32.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.images[..., None] / 16).astype("float32")
    labels = digits.target.astype("int32")
    split: list[Any] = train_test_split(images, labels, test_size=0.2, random_state=42)
    return split[0], split[1], split[2], split[3]


def export(model: tg.Sequential, folder: str | Path) -> None:
    """Writes the page on which digits are drawn, with the images to train on from scratch."""
    images, held_out_images, labels, held_out_labels = load_data()
    # What the page begins with when it trains from scratch is drawn here: the same weights as in
    # make_model, so that the same training gives the same network.
    tg.random.seed(SEED)
    tg.export(
        model,
        folder,
        title="Handwritten digits",
        data=(images, labels, held_out_images, held_out_labels),
        task={
            "kind": "digits",
            "labels": [str(digit) for digit in range(10)],
            "height": 8,
            "width": 8,
            "scale": 1.0,  # of a black pixel
        },
    )


def main() -> None:
    model = make_model()
    images, held_out_images, labels, held_out_labels = load_data()
    model.fit(images, labels, batch_size=BATCH_SIZE, epochs=EPOCHS)
    print(model.evaluate(held_out_images, held_out_labels, return_dict=True))
    export(model, "site/")


if __name__ == "__main__":
    main()
