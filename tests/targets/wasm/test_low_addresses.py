"""Views read backwards out of the first buffer of a memory, whose address is smaller than they."""

from __future__ import annotations

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import ops, realize


@pytest.mark.parametrize("axis", [0, 1, (0, 1)])
@pytest.mark.parametrize("function", [ops.negative, ops.transpose, lambda x: ops.sum(x, axis=0)])
def test_a_flipped_view_of_the_first_buffer(axis, function) -> None:
    # An index that runs down from a constant must not become an address below 0 plus an offset:
    # WebAssembly adds those in more than 32 bits and traps.
    values = np.arange(90_000, dtype=np.float32).reshape(300, 300) % 17
    with realize.using(None):
        tg.set_engine("wasm")
        got = function(ops.flip(tg.tensor(values), axis)).numpy()
    expected = function(tg.tensor(np.flip(values, axis))).numpy()
    np.testing.assert_array_equal(got, expected)
