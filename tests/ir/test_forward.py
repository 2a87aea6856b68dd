"""Forward mode of every primitive: the transpose of its gradient against central differences."""

import numpy as np
import pytest

from tabgrad import dtypes
from tabgrad.engines.reference import evaluate
from tabgrad.errors import ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.forward import tangents
from tabgrad.ir.graph import Graph, make, toposort
from tests.ir.running import inputs
from tests.ir.test_gradients import CASES, distinct


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.name} {c.label}".strip())
def test_tangent(case):
    at = case.arrays()
    xs = inputs(*at)
    outs, given = case.build(xs)
    directions = [distinct(x.shape, 70 + i, -1.0, 1.0) for i, x in enumerate(xs)]
    moving = inputs(*directions)
    found = tangents(outs, dict(zip(xs, moving, strict=True)))
    known = given | dict(zip(moving, directions, strict=True))

    def values(step):
        moved = [x + step * d for x, d in zip(at, directions, strict=True)]
        return evaluate(outs, known | dict(zip(xs, moved, strict=True)))

    h = 1e-4
    steps = [values(s * h) for s in (1, -1, 2, -2)]
    for i, (out, tangent) in enumerate(zip(outs, found, strict=True)):
        if not out.dtype.is_float:
            assert tangent is None
            continue
        near, far = steps[0][i] - steps[1][i], steps[2][i] - steps[3][i]
        expected = (8 * near - far) / (12 * h)
        got = evaluate([tangent], known | dict(zip(xs, at, strict=True)))[0]
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


def test_no_tangent_where_nothing_moves():
    x, y = b.input((2,), dtypes.float32), b.input((2,), dtypes.float32)
    t = b.input((2,), dtypes.float32)
    assert tangents([b.neg(y), make("sign", x), make("stop", x), x], {x: t}) == [
        None,
        None,
        None,
        t,
    ]


def test_a_tangent_of_another_shape_is_refused():
    x = b.input((2,), dtypes.float32)
    with pytest.raises(ShapeError, match=r"\[2\].*\[3\]"):
        tangents([x], {x: b.input((3,), dtypes.float32)})


def test_of_a_custom_gradient_is_its_transpose():
    x, g = b.input((), dtypes.float64), b.input((), dtypes.float64)
    back = Graph([g, x], [b.mul(g, b.mul(x, x))])
    y = b.input((), dtypes.float64)
    node = make("custom", make("exp", y), y, back=back, n_out=1, n_x=1)
    t = b.input((), dtypes.float64)
    (found,) = tangents([node], {y: t})
    assert evaluate([found], {y: np.float64(3), t: np.float64(2)}) == [18]


def test_a_long_chain_is_linear_work():
    x, t = b.input((), dtypes.float32), b.input((), dtypes.float32)
    y = x
    for _ in range(3000):
        y = make("sin", y)
    (found,) = tangents([y], {x: t})
    assert len(toposort([found])) < 20_000
