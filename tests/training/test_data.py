"""Arrays for training: the order of rows, batches, splits, shapes and labels."""

from __future__ import annotations

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.data import arrays
from tabgrad.errors import ArgumentError, ShapeError

MASK = 0xFFFFFFFF


def _threefry(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, int]:
    """Threefry-2x32 with 20 rounds, written down from Salmon et al. (2011)."""
    ks = [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    x, y = (counter[0] + ks[0]) & MASK, (counter[1] + ks[1]) & MASK
    rotations = ((13, 15, 26, 6), (17, 29, 16, 24))
    for group in range(5):
        for r in rotations[group % 2]:
            x = (x + y) & MASK
            y = ((y << r | y >> (32 - r)) & MASK) ^ x
        x = (x + ks[(group + 1) % 3]) & MASK
        y = (y + ks[(group + 2) % 3] + group + 1) & MASK
    return x, y


def test_the_oracle() -> None:
    # The known answer of the Random123 distribution.
    assert _threefry((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3)) == (0xC4923A9C, 0x483DF7A0)


@pytest.mark.parametrize(
    ("seed", "epoch", "rows"), [(0, 0, 10), (7, 3, 33), (2**31, 1, 5), (1, 0, 1)]
)
def test_order(seed: int, epoch: int, rows: int) -> None:
    bits = [_threefry((seed, epoch), (0, i))[0] for i in range(rows)]
    assert arrays.order(seed, epoch, rows) == sorted(range(rows), key=lambda i: bits[i])


def test_orders_differ_and_share_a_program() -> None:
    orders = {tuple(arrays.order(s, e, 20)) for s in range(3) for e in range(3)}
    assert len(orders) == 9
    assert all(sorted(order) == list(range(20)) for order in orders)


def test_batches() -> None:
    assert [list(b) for b in arrays.batches(5, 2)] == [[0, 1], [2, 3], [4]]
    assert [list(b) for b in arrays.batches(3, 8, [2, 0, 1])] == [[2, 0, 1]]


def test_split_is_that_of_keras() -> None:
    x, y = tg.ops.arange(10), tg.ops.arange(10)
    (train, _), (held, _) = arrays.split(x, y, 0.25)
    assert train.tolist() == list(range(7))
    assert held.tolist() == [7, 8, 9]
    for fraction in (0.0, 1.0, -1, 2):
        with pytest.raises(ArgumentError, match="between 0 and 1"):
            arrays.split(x, y, fraction)
    with pytest.raises(ArgumentError, match="leaves 0 to train on and 2"):
        arrays.split(x[:2], y[:2], 0.9)


def test_upload() -> None:
    assert arrays.upload(np.arange(3.0), "x").dtype == "float32"
    assert arrays.upload([[1, 2], [3, 4]], "x", tg.float32).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ShapeError, match="at least one row in x"):
        arrays.upload(np.zeros((0, 3)), "x")
    with pytest.raises(ShapeError, match="expected y to have rows"):
        arrays.upload(3.0, "y")


def test_rows_are_fitted_as_keras_does() -> None:
    assert arrays.fit_rows(tg.ops.ones((4,)), (1,)).shape == (4, 1)
    assert arrays.fit_rows(tg.ops.ones((4, 8, 8)), (8, 8, 1)).shape == (4, 8, 8, 1)
    assert arrays.fit_rows(tg.ops.ones((4, 3, 1)), (3,)).shape == (4, 3)
    with pytest.raises(ShapeError, match=r"expected x of shape \(rows, 3\); received \(4, 2\)"):
        arrays.fit_rows(tg.ops.ones((4, 2)), (3,))


def test_labels() -> None:
    arrays.check_labels(tg.tensor([0, 9]), 10)
    for labels in ([-1, 3], [0, 10]):
        with pytest.raises(ArgumentError, match=r"from 0 to 9.*received labels from"):
            arrays.check_labels(tg.tensor(labels), 10)
    with pytest.raises(ArgumentError, match=r"from 0 to 1 .*received labels from -1 to 1"):
        arrays.check_probabilities(tg.tensor([-1.0, 1.0]))


def test_a_batch_is_gathered_by_the_engine() -> None:
    x = tg.tensor(np.arange(12).reshape(4, 3), dtype="float32")
    y = tg.tensor([0, 1, 2, 3])
    data = arrays.Resident([x, y])

    def both(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        return x[:, 0] * 10 + tg.ops.cast(y, "float32")

    bound = tg.compile(both).bind(*data.like_batch(3))
    data.fill(bound.inputs, [3, 0, 3])
    bound.run()
    raw = bound.engine.read(bound.outputs[0].handle, 12)
    assert np.frombuffer(raw, np.float32).tolist() == [93, 0, 93]
