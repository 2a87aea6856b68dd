"""`vmap` against jax.vmap and against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tabgrad as tg
from tabgrad.errors import ArgumentError, CaptureError, NotSupportedError, ShapeError
from tests.transformations.functions import both, close, given, mlp, normal, powers, softmax_loss

X, W, V = normal(5, 4), normal(4, 3, seed=1), normal(3, seed=2)


def test_maps_the_first_axis():
    ours, jaxs = both(mlp)
    close(tg.vmap(ours, (0, None, None))(*given(X, W, V)), jax.vmap(jaxs, (0, None, None))(X, W, V))


@pytest.mark.parametrize("in_axes", [(1, 0), (-1, None), (1, 2), (None, -1)])
@pytest.mark.parametrize("out_axes", [0, 1, -1])
def test_axes(in_axes, out_axes):
    def build(lib):
        return lambda x, y: lib.sin(x)[:, None] * y[None, :] + lib.sum(x)

    x = normal(4, 5)
    y = {0: normal(5, 3), None: normal(3), 2: normal(3, 1, 5), -1: normal(3, 5)}[in_axes[1]]
    if in_axes[0] is None:
        x = normal(4)
    if in_axes[1] == 2:
        y = y[:, 0]
        in_axes = (1, 1)
    ours, jaxs = both(build)
    close(tg.vmap(ours, in_axes, out_axes)(*given(x, y)), jax.vmap(jaxs, in_axes, out_axes)(x, y))


def test_containers():
    def build(lib):
        def f(point, k):
            return {"sum": point["x"] + point["y"][0] * k, "rest": (point["y"][1], lib.sum(k))}

        return f

    ours, jaxs = both(build)
    x, y, z, k = normal(3, 5), normal(5), normal(2), normal(5, 2)
    axes = ({"x": 1, "y": (0, None)}, 0)
    got = tg.vmap(lambda p, k: ours(p, k[0]), axes, {"sum": 0, "rest": (None, 0)})(
        {"x": tg.tensor(x), "y": tuple(given(y, z))}, tg.tensor(k)
    )
    want = jax.vmap(lambda p, k: jaxs(p, k[0]), axes, {"sum": 0, "rest": (None, 0)})(
        {"x": x, "y": (y, z)}, k
    )
    close(got, want)


def test_keyword_arguments_and_axis_size():
    close(tg.vmap(lambda x, *, y: x + y)(tg.ones((3,)), y=tg.ones((3, 2))), np.full((3, 2), 2))
    close(tg.vmap(lambda: tg.ones((2,)), axis_size=3)(), np.ones((3, 2)))
    close(tg.vmap(lambda x: (x * 2, 7.0), (0,), (0, None))(tg.ones((3,))), (np.full(3, 2.0), 7.0))


def test_nested():
    def build(lib):
        return lambda x, y: lib.sum(lib.exp(-((x - y) ** 2)))

    ours, jaxs = both(build)
    a, c = normal(4, 3), normal(6, 3, seed=5)

    def pairs(lib, f):
        return lib.vmap(lib.vmap(f, (None, 0)), (0, None))

    close(pairs(tg, ours)(*given(a, c)), pairs(jax, jaxs)(a, c))
    close(
        tg.vmap(tg.vmap(ours, (None, 0), 0), (0, None), 1)(*given(a, c)),
        jax.vmap(jax.vmap(jaxs, (None, 0), 0), (0, None), 1)(a, c),
    )


def test_of_gradients_is_gradients_of_each_example():
    ours, jaxs = both(softmax_loss)
    w = normal(4, 3, seed=4)
    close(
        tg.vmap(tg.grad(ours, (0, 1)), (0, None))(*given(X, w)),
        jax.vmap(jax.grad(jaxs, (0, 1)), (0, None))(X, w),
    )


def test_gradient_of_a_map():
    ours, jaxs = both(softmax_loss)
    w = normal(4, 3, seed=4)
    close(
        tg.grad(lambda x, w: (tg.vmap(ours, (0, None))(x, w) ** 2).sum(), (0, 1))(*given(X, w)),
        jax.grad(lambda x, w: (jax.vmap(jaxs, (0, None))(x, w) ** 2).sum(), (0, 1))(X, w),
    )


@pytest.mark.parametrize("name", ["jacobian", "jacfwd", "jacrev", "hessian"])
def test_of_jacobians(name):
    ours, jaxs = both(powers)
    if name != "hessian":
        ours, jaxs = (lambda f: lambda x: f(x) * x)(ours), (lambda f: lambda x: f(x) * x)(jaxs)
    jaxs = getattr(jax, "jacrev" if name == "jacobian" else name)(jaxs)
    close(tg.vmap(getattr(tg, name)(ours))(tg.tensor(X)), jax.vmap(jaxs)(X), atol=1e-4)


def test_compiled_inside_and_outside():
    ours, jaxs = both(mlp)
    want = jax.vmap(jaxs, (0, None, None))(X, W, V)
    close(tg.compile(tg.vmap(ours, (0, None, None)))(*given(X, W, V)), want)
    close(tg.vmap(tg.compile(ours), (0, None, None))(*given(X, W, V)), want)


def test_variables_are_shared_and_get_gradients():
    w = tg.Variable(W, name="w")

    def f(x):
        return tg.tanh(x @ w).sum()

    close(tg.vmap(f)(tg.tensor(X)), np.tanh(X @ W).sum(1))
    (got,) = tg.grad(lambda x: tg.vmap(f)(x).sum(), variables=[w])(tg.tensor(X))
    close(got, jax.grad(lambda w: jnp.tanh(X @ w).sum())(W))


@pytest.mark.parametrize("batched", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolution(batched, groups):
    x, w = normal(3, 2, 6, 5, 4), normal(3, 3, 2, 4 // groups, 6, seed=1)
    x, w = (a if axis == 0 else a[0] for a, axis in zip((x, w), batched, strict=True))

    def jaxs(x, w):
        return jax.lax.conv_general_dilated(
            x, w, (2, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )  # fmt: skip

    def ours(x, w):
        return tg.conv(x, w, strides=(2, 1), padding="same")

    close(tg.vmap(ours, batched)(*given(x, w)), jax.vmap(jaxs, batched)(x, w), atol=1e-5)

    def total(lib, f):
        return lib.grad(lambda x, w: (lib.vmap(f, batched)(x, w) ** 2).sum(), (0, 1))

    close(total(tg, ours)(*given(x, w)), total(jax, jaxs)(x, w), rtol=1e-4, atol=1e-4)


def test_indexing_by_the_example():
    table, i = normal(7, 3), np.int32([2, 0, 6, 2])
    close(tg.vmap(lambda i: tg.tensor(table)[i])(tg.tensor(i)), table[i])
    close(tg.vmap(lambda t, i: t[i])(tg.tensor(table[:4]), tg.tensor(i % 3)),
          table[np.arange(4), i % 3])  # fmt: skip
    close(
        tg.vmap(lambda i: tg.take(tg.tensor(table), i, axis=0) * 2)(tg.tensor(i.reshape(2, 2))),
        table[i.reshape(2, 2)] * 2,
    )


def test_slices_at_the_example():
    x, at = normal(4, 6), np.int32([0, 2, 5, -1])
    new = normal(4, 2, seed=3)

    def jaxs(x, new, at):
        return jax.lax.dynamic_update_slice(x, new, (at,))

    got = tg.vmap(lambda x, n, i: tg.ops.slice_update(x, (i,), n))(
        *given(x, new, at[:3].repeat(2)[:4])
    )
    close(got, jax.vmap(jaxs)(x, new, at[:3].repeat(2)[:4]))


def test_random_numbers_by_key():
    keys = np.uint32([[1, 2], [3, 4], [5, 6]])
    got = tg.vmap(lambda k: tg.random.normal((4,), seed=k))(tg.tensor(keys))
    for row, key in zip(got.tolist(), keys, strict=True):
        close(row, tg.random.normal((4,), seed=tg.tensor(key)).tolist())
    # One generator for all: every example sees the same draw.
    one = tg.vmap(lambda x: x + tg.random.uniform((), seed=3))(tg.zeros((4,)))
    assert len(set(one.tolist())) == 1


def test_loops():
    def build(lib, scan):
        def f(x, w):
            return scan(lambda c, a: (lib.tanh(c * w + a), c), lib.sum(x), x)

        return f

    ours, jaxs = build(tg, tg.scan), build(jnp, jax.lax.scan)
    w = normal(5, seed=2)
    for axes in ((0, None), (0, 0), (None, 0)):
        args = [X if axes[0] == 0 else X[0], w if axes[1] == 0 else w[0]]
        close(tg.vmap(ours, axes)(*given(*args)), jax.vmap(jaxs, axes)(*args))


def test_custom_gradients_inside():
    def build(lib, custom):
        return custom(lambda x: (lib.sin(x), lambda g: g * x * 10))

    ours, jaxs = build(tg, tg.custom_gradient), build(jnp, jax.custom_gradient)
    x = normal(4)
    close(tg.vmap(tg.grad(ours))(tg.tensor(x)), jax.vmap(jax.grad(jaxs))(x))
    close(
        tg.grad(lambda x: tg.vmap(ours)(x).sum())(tg.tensor(x)),
        jax.grad(lambda x: jax.vmap(jaxs)(x).sum())(x),
    )
    twice = tg.checkpoint(lambda x: tg.sin(tg.sin(x)))
    close(
        tg.vmap(tg.grad(twice))(tg.tensor(x)), jax.vmap(jax.grad(lambda x: jnp.sin(jnp.sin(x))))(x)
    )


def test_values_are_concrete_outside_and_refused_inside():
    with pytest.raises(CaptureError, match=r"while tg\.vmap is capturing.*tg\.where"):
        tg.vmap(lambda x: x if float(x) > 0 else -x)(tg.tensor([1.0, -1.0]))
    shared = tg.tensor(2.0)
    close(tg.vmap(lambda x: x * float(shared))(tg.tensor([1.0, 2.0])), [2.0, 4.0])


def test_assigning_what_depends_on_the_example_is_refused():
    total = tg.Variable(0.0, name="total")

    def f(x):
        total.assign(total + x)
        return x

    with pytest.raises(NotSupportedError, match=r"'total'.*reduction"):
        tg.vmap(f)(tg.tensor([1.0, 2.0]))
    assert float(total.value) == 0
    tg.vmap(lambda x: x + total.assign(total + 1))(tg.tensor([1.0, 2.0]))
    assert float(total.value) == 1


def test_wrong_axes_are_refused():
    x = tg.ones((3, 2))
    with pytest.raises(ShapeError, match=r"axis 2.*\[3, 2\]"):
        tg.vmap(lambda x: x, 2)(x)
    with pytest.raises(ShapeError, match=r"3 \(axis 0 of \[3, 2\]\), 2 \(axis 1"):
        tg.vmap(lambda x, y: x, (0, 1))(x, x)
    with pytest.raises(ShapeError, match="received none"):
        tg.vmap(lambda x: x, None)(x)
    with pytest.raises(ShapeError, match="the number 3"):
        tg.vmap(lambda x, n: x)(x, 3)
    with pytest.raises(ArgumentError, match="each of 2"):
        tg.vmap(lambda x, y: x, (0,))(x, x)
    with pytest.raises(ArgumentError, match="out_axes is None"):
        tg.vmap(lambda x: x, 0, None)(x)
    with pytest.raises(ShapeError, match="out_axes from -2 to 1"):
        tg.vmap(lambda x: x, 0, 2)(x)
    with pytest.raises(ArgumentError, match="in_axes of ints"):
        tg.vmap(lambda x: x, ({"a": 0},))(x)
