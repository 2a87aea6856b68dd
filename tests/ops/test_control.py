"""Loops and branches as users write them: gradients against JAX, nesting, closures, errors.

Values in all sizes are in table_control.py; the primitives by themselves in tests/ir.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tabgrad as tg
from tabgrad import config, ops
from tabgrad.errors import ArgumentError, CaptureError, NotSupportedError, ShapeError
from tests.ops.engines import chosen


@pytest.fixture(params=["wasm", pytest.param("reference", marks=pytest.mark.slow)], autouse=True)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    with chosen(request.param):
        yield request.param


def close(got: Any, expected: Any, rtol: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=rtol, atol=1e-6)


X = np.float32([0.5, -1.25, 2.0])
W = np.float32([[0.2, -0.4, 0.1], [0.3, 0.5, -0.2], [-0.6, 0.1, 0.4]])


def loops(o: Any, tanh: Callable[[Any], Any]) -> dict[str, Callable[..., Any]]:
    """Functions of (x, w) with a scalar result, for the control flow of one library."""
    return {
        "scan": lambda x, w: o.scan(lambda c, _: (tanh(c @ w), c * c), x, None, length=4)[1].sum(),
        "scan backwards": lambda x, w: (
            o.scan(lambda c, r: (tanh(c + r) * x, c), x, w, reverse=True)[0].sum()
        ),
        "scan in scan": lambda x, w: o.scan(
            lambda c, r: (o.scan(lambda d, s: (d * s + r.sum(), d), c, r)[0], r * c),
            x.sum(), w,
        )[1].sum(),
        "fori_loop": lambda x, w: o.fori_loop(0, 3, lambda i, v: tanh(v @ w) + v * i, x).sum(),
        "map": lambda x, w: (o.map(lambda row: tanh(row * x).sum(), w) ** 2).sum(),
        "cond": lambda x, w: o.cond(x[0] > 0, lambda: (x @ w).sum(), lambda: (x * x).sum()),
        "cond not taken": lambda x, w: (
            o.cond(x[0] < 0, lambda: (x @ w).sum(), lambda: (x * x).sum())
        ),
        "cond in scan": lambda x, w: o.scan(
            lambda c, r: (o.cond(r[0] > 0, lambda: tanh(c * r), lambda: c - r), c), x, w
        )[1].sum(),
        "switch": lambda x, w: o.switch(
            2, [lambda v: v.sum(), lambda v: (v * v).sum(), lambda v: (tanh(v) @ w).sum()], x
        ),
        "associative_scan": lambda x, w: (
            o.associative_scan(lambda a, b: a * b, tanh(w), axis=0) * x
        ).sum(),
    }  # fmt: skip


MINE, THEIRS = loops(ops, ops.tanh), loops(jax.lax, jnp.tanh)


@pytest.mark.parametrize("name", MINE)
def test_gradients_are_those_of_jax(name: str) -> None:
    expected = jax.grad(THEIRS[name], argnums=(0, 1))(X, W)
    x, w = tg.tensor(X), tg.tensor(W)
    for mine in (MINE[name], tg.compile(MINE[name])):
        close(mine(x, w), THEIRS[name](X, W))
    slopes = tg.grad(MINE[name], argnums=(0, 1))
    for found in (slopes(x, w), tg.compile(slopes)(x, w)):
        for got, want in zip(found, expected, strict=True):
            close(got, want)


@pytest.mark.parametrize("name", ["scan", "cond in scan", "fori_loop", "associative_scan"])
def test_gradients_of_gradients(name: str) -> None:
    def twice(f: Callable[..., Any], grad: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x, w: (grad(f)(x, w) ** 2).sum()

    expected = jax.grad(twice(THEIRS[name], jax.grad), argnums=(0, 1))(X, W)
    found = tg.compile(tg.grad(twice(MINE[name], tg.grad), argnums=(0, 1)))(
        tg.tensor(X), tg.tensor(W)
    )
    for got, want in zip(found, expected, strict=True):
        close(got, want, 1e-4)


@pytest.mark.parametrize("name", MINE)
def test_forwards(name: str) -> None:
    t = X * 0.5 + 1
    _, expected = jax.jvp(lambda x: THEIRS[name](x, W), (X,), (t,))
    _, got = tg.jvp(lambda x: MINE[name](x, tg.tensor(W)), (tg.tensor(X),), (tg.tensor(t),))
    close(got, expected)


@pytest.mark.parametrize("name", MINE)
def test_mapped_over_a_batch(name: str) -> None:
    many = np.stack([X, -X, X * 0.3, X - 1])
    expected = np.stack([THEIRS[name](x, W) for x in many])
    close(tg.vmap(MINE[name], in_axes=(0, None))(tg.tensor(many), tg.tensor(W)), expected)


def newton(o: Any, maximum: Callable[..., Any]) -> Callable[..., Any]:
    """The square root by as many steps as it needs."""
    return lambda x: o.while_loop(
        lambda s: maximum(s[0] * s[0] - x, x - s[0] * s[0]) > 1e-3 * x,
        lambda s: ((s[0] + x / s[0]) / 2, s[1] + 1),
        (x, 0),
    )[0]


def test_a_while_loop_is_differentiated_forwards_and_mapped() -> None:
    mine = newton(_Single(), ops.maximum)
    theirs = newton(jax.lax, jnp.maximum)
    for value in (2.0, 50.0):
        x = np.float32(value)
        y, t = tg.jvp(mine, (tg.tensor(x),), (tg.tensor(np.float32(1)),))
        expected = jax.jvp(theirs, (x,), (np.float32(1),))
        close(y, expected[0])
        close(t, expected[1], 1e-4)
    xs = np.float32([1, 2, 9, 400, 0.01])
    close(tg.vmap(mine)(tg.tensor(xs)), jax.vmap(theirs)(xs))
    with pytest.raises(NotSupportedError, match=r"fori_loop.*scan"):
        tg.grad(mine)(tg.tensor(2.0))


class _Single:
    """while_loop as JAX has it: the variables are one argument."""

    @staticmethod
    def while_loop(test: Any, body: Any, start: Any) -> Any:
        return ops.while_loop(
            lambda *s: test(s), lambda *s: body(s), tuple(tg.tensor(v) for v in start)
        )


def test_a_hundred_thousand_turns(engine: str) -> None:
    turns = 100_000 if engine == "wasm" else 300

    def count(limit: Any) -> Any:
        return ops.while_loop(
            lambda i, v: i < limit, lambda i, v: (i + 1, v ^ (i * 3)), (tg.tensor(0), tg.tensor(0))
        )

    n, bits = tg.compile(count)(tg.tensor(turns))
    expected = np.bitwise_xor.reduce(np.arange(turns, dtype=np.int32) * 3)
    assert (int(n), int(bits)) == (turns, expected)


def test_loops_see_variables_and_tensors_of_their_surroundings() -> None:
    v, outer = tg.Variable([1.0, 2.0], name="seen"), tg.tensor([10.0, 20.0])

    def f(x: Any) -> Any:
        return ops.while_loop(
            lambda i, y: i < 3,
            lambda i, y: (i + 1, y + ops.cond(i > 0, lambda: v * 1.0, lambda: outer)),
            (tg.tensor(0), x),
        )[1]

    compiled = tg.compile(f)
    close(f(tg.tensor([0.0, 0.0])), [12, 24])
    close(compiled(tg.tensor([0.0, 0.0])), [12, 24])
    v.assign([5.0, 5.0])
    close(compiled(tg.tensor([0.0, 0.0])), [20, 30])
    (slope,) = tg.grad(
        lambda: ops.fori_loop(0, 3, lambda i, y: y + v * v, tg.tensor([0.0, 0.0])).sum(),
        variables=[v],
    )()
    close(slope, [30, 30])


def test_only_one_branch_runs(engine: str) -> None:
    """The other would not end."""

    def f(x: Any) -> Any:
        endless = lambda: ops.while_loop(lambda y: y > 0, lambda y: y * 1, x)  # noqa: E731
        return ops.cond(x > 5, lambda: x + 1, endless)

    assert float(f(tg.tensor(9.0))) == 10
    assert float(tg.compile(f)(tg.tensor(9.0))) == 10


def test_branches_keep_what_they_compute_for_themselves() -> None:
    """Also what depends on the surroundings alone; what those need as well is computed once."""
    from tabgrad import jit
    from tabgrad.compiler.driver import simplified
    from tabgrad.compiler.plan import plan
    from tabgrad.ir.kernel import Branch, Kernel, kernels_of

    def f(p: Any, x: Any) -> Any:
        shared = ops.cumsum(x)
        y = ops.cond(p, lambda: ops.sort(x) + shared, lambda: ops.sort(shared))
        return y, shared

    traced = jit.trace(f, [((), "bool", False), ((9,), "float32", False)])
    made = plan(simplified(traced.graph)).launches
    (branch,) = [launch for launch in made if isinstance(launch, Branch)]
    outside = [launch.kind for launch in made if isinstance(launch, Kernel)]
    assert "sort" not in outside
    assert outside.count("cumulative") == 1
    assert [
        [kernel.kind for kernel in kernels_of(body)].count("sort") for body in branch.branches
    ] == [1, 1]


def test_a_gradient_reaches_a_variable_first_read_in_a_branch() -> None:
    v = tg.Variable([1.0, 2.0], name="read_in_a_branch")

    def loss(x: Any) -> Any:
        return ops.cond(x > 0, lambda: (v * v * x).sum(), lambda: (v * x).sum())

    for value, expected in ((3.0, [6, 12]), (-3.0, [-3, -3])):
        slopes = tg.grad(loss, variables=[v])
        close(slopes(tg.tensor(value))[0], expected)
        close(tg.compile(slopes)(tg.tensor(value))[0], expected)


def test_everything_nested_in_everything() -> None:
    def mine(o: Any, mod: Any, where: Any, x: Any) -> Any:
        def turn(i: Any, v: Any) -> Any:
            ys = o.map(lambda r: o.cond(mod(i, 2) == 0, lambda: r * 2, lambda: r - 1), v)
            return o.scan(lambda c, y: (c + y, c), v.sum() * 0, ys)[1]

        return o.fori_loop(0, 5, turn, x)

    x = np.float32([1, 2, 3, 4])
    expected = mine(jax.lax, lambda a, m: a % m, jnp.where, jnp.asarray(x))
    close(mine(ops, lambda a, m: a % m, ops.where, tg.tensor(x)), expected)
    close(tg.compile(lambda x: mine(ops, lambda a, m: a % m, ops.where, x))(tg.tensor(x)), expected)


def test_carries_of_all_kinds_change_places() -> None:
    """With arithmetic and without, with dtypes that must not be mixed up."""
    f32, i8 = np.float32([1, 2, 3]), np.int8([1, -1, 5])
    flag = np.array([True, False, True])

    def turn(i: Any, c: Any) -> Any:
        a, b, n, m, p = c
        return b, a + b, ops.where(p, n, m), n, ops.logical_not(p)

    start = (f32, f32 * 2, i8, i8[::-1].copy(), flag)
    got = ops.fori_loop(0, 5, turn, tuple(tg.tensor(x, dtype=x.dtype.name) for x in start))
    a, b, n, m, p = start
    for _ in range(5):
        a, b, n, m, p = b, a + b, np.where(p, n, m), n, ~p
    for mine, true in zip(got, (a, b, n, m, p), strict=True):
        np.testing.assert_array_equal(np.asarray(mine), true)


def test_kernels_in_loops_are_checked(engine: str) -> None:
    if engine != "wasm":
        return
    with config.override(validate=True), chosen("wasm"):
        x = tg.tensor(X)
        total, ys = ops.scan(
            lambda c, r: (
                ops.while_loop(lambda v: v.sum() < 9, lambda v: v + 1, c * 0.5),
                ops.cond(r.sum() > 0, lambda: ops.sort(r), lambda: ops.cumsum(r)),
            ),
            x,
            tg.tensor(W),
        )
        assert total.numpy().shape == (3,)
        close(ys, np.stack([np.sort(r) if r.sum() > 0 else np.cumsum(r) for r in W]))


def test_the_carry_is_updated_in_place() -> None:
    """A turn needs no copies where nothing else reads the old carry."""
    from tabgrad import jit
    from tabgrad.compiler.driver import simplified
    from tabgrad.compiler.plan import plan
    from tabgrad.ir.kernel import Loop, While

    def f(x: Any) -> Any:
        y = ops.fori_loop(0, 9, lambda i, v: v * 0.5 + i, x)
        return ops.while_loop(lambda i, v: i < 9, lambda i, v: (i + 1, v * 0.5), (0, y))[1]

    made = plan(simplified(jit.trace(f, [((100,), "float32", False)]).graph))
    (loop,) = [launch for launch in made.launches if isinstance(launch, Loop)]
    (turns,) = [launch for launch in made.launches if isinstance(launch, While)]
    assert len(loop.body) == 1
    assert (len(turns.test), len(turns.body)) == (1, 2)


def test_assigning_what_only_exists_inside_is_an_error() -> None:
    v = tg.Variable(0.0, name="inside")
    with pytest.raises(CaptureError, match=r"'inside'.*scan.*carry"):
        ops.scan(lambda c, x: (v.assign(c + x), c), tg.tensor(0.0), tg.tensor([1.0, 2.0]))
    assert float(v.value) == 0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ops.cond(x > 0, lambda: x, lambda: x), ShapeError, "scalar to choose by.*where"),
        (lambda x: ops.cond(True, lambda: x, lambda: x.sum()), ShapeError, "same shapes"),
        (lambda x: ops.cond(True, lambda: x, lambda: (x, x)), ShapeError, "one structure"),
        (lambda x: ops.switch(1.5, [lambda: x]), TypeError, "integer index; received float32"),
        (lambda x: ops.switch(0, []), ArgumentError, "at least one branch"),
        (lambda x: ops.while_loop(lambda y: y > 0, lambda y: y, x), ShapeError, "any or all"),
        (lambda x: ops.while_loop(lambda y: True, lambda y: y.sum(), x), ShapeError,
         r"float32 \[3\]; received float32 \[\]"),
        (lambda x: ops.while_loop(lambda y: True, lambda y: (y, y), (x,)), ShapeError, "structure"),
        (lambda x: ops.while_loop(lambda y: float(y), lambda y: y, x[0]), CaptureError, "read"),
        (lambda x: ops.fori_loop(0, 3, lambda i, v: v > 0, x), ShapeError, "received bool"),
        (lambda x: ops.fori_loop(0.5, x[0], lambda i, v: v, x), ShapeError, "integer scalar"),
        (lambda x: ops.scan(lambda c, v: c, x, x), ArgumentError, r"return \(carry, y\)"),
        (lambda x: ops.scan(lambda c, v: (c, v), x, (x, x[:2])), ArgumentError, r"\[2, 3\]"),
        (lambda x: ops.map(lambda v: v, x[0]), ArgumentError, "leading size"),
        (lambda x: ops.associative_scan(ops.add, (x, x[:2])), ShapeError, r"\[2, 3\]"),
        (
            lambda x: ops.associative_scan(lambda a, b: a[0], (x, x)),
            ShapeError,
            "structure of its arguments; received .*Return the same",
        ),
        (lambda x: ops.while_loop(lambda y: True, lambda y: y, x, maximum_iterations=-1),
         ArgumentError, "maximum_iterations"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(tg.tensor(X))
