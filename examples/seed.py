"""The seed program: a line through four points, on the laptop and in a page.

    python -m examples.seed
"""

from __future__ import annotations

import tabgrad as tg


def make_model() -> tg.Sequential:
    """One weight and one bias, compiled and not yet trained."""
    model = tg.Sequential([tg.Input((1,)), tg.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mean_squared_error")
    return model


def load_data() -> tuple[tg.Tensor, tg.Tensor]:
    """Four points of y = 2x - 1."""
    xs = tg.tensor([1, 2, 3, 4], shape=(4, 1), dtype="float32")
    ys = tg.tensor([1, 3, 5, 7], shape=(4, 1), dtype="float32")
    return xs, ys


def main() -> None:
    model = make_model()
    model.fit(*load_data(), epochs=100)
    print(model.predict(tg.tensor([[5.0]])))  # near 9
    tg.export(model, "site/")


if __name__ == "__main__":
    main()
