"""`grad`, `vjp`, `jvp`, `linearize`, Jacobians and Hessians against JAX and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tabgrad as tg
from tabgrad.errors import ArgumentError, DtypeError, NotSupportedError, ShapeError
from tests.transformations.functions import (
    both,
    close,
    given,
    mlp,
    normal,
    powers,
    softmax_loss,
    spread,
    tree_numpy,
)

X, W, V = normal(4), normal(4, 3, seed=1), normal(3, seed=2)


# vjp and jvp


def test_vjp_of_containers():
    ours, jaxs = both(spread)
    y, back = tg.vjp(ours, tg.tensor(X))
    want, jax_back = jax.vjp(jaxs, X)
    close(y, tree_numpy(want))
    cotangent = {"a": normal(4, seed=3), "b": (np.float32(2), normal(3, seed=4))}
    ct = {"a": tg.tensor(cotangent["a"]), "b": (2.0, tg.tensor(cotangent["b"][1]))}
    close(back(ct), jax_back(cotangent))
    zeros = np.zeros(3, np.float32)
    close(back({"a": tg.tensor(X), "b": None}), jax_back({"a": X, "b": (np.float32(0), zeros)}))


def test_vjp_after_values_were_read():
    def f(x):
        y = tg.exp(x)
        y.tolist()
        return y * y

    y, back = tg.vjp(f, tg.tensor(X))
    y.tolist()
    for seed in (1, 2):
        close(back(tg.tensor(normal(4, seed=seed))), (2 * np.exp(2 * X) * normal(4, seed=seed),))


def test_vjp_of_several_with_aux():
    (y, back, aux) = tg.vjp(lambda x, w: (x @ w, {"n": 3}), *given(X, W), has_aux=True)
    close(y, X @ W)
    assert aux == {"n": 3}
    close(back(tg.tensor(V)), (W @ V, np.outer(X, V)))


def test_vjp_inside_transformations():
    def f(lib, x):
        return lib.sin(x) * x

    def total(lib, vjp):
        return lambda x, c: lib.sum(vjp(lambda x: f(lib, x), x)[1](c)[0] ** 2)

    x, c = normal(4), normal(4, seed=8)
    close(
        tg.grad(total(tg, tg.vjp), (0, 1))(*given(x, c)),
        jax.grad(total(jnp, jax.vjp), (0, 1))(x, c),
    )


def test_wrong_cotangents_are_refused():
    _, back = tg.vjp(lambda x: {"a": x}, tg.tensor(X))
    with pytest.raises(ShapeError, match=r"\[4\].*\[3\]"):
        back({"a": tg.ones((3,))})
    with pytest.raises(ArgumentError, match="structure"):
        back(tg.ones((4,)))
    with pytest.raises(DtypeError, match="int32"):
        tg.vjp(lambda x: x, tg.tensor([1, 2]))


@pytest.mark.parametrize("build", [mlp, softmax_loss], ids=["mlp", "softmax"])
def test_jvp(build):
    ours, jaxs = both(build)
    args = (X, W, V)[: 3 if build is mlp else 2]
    along = [normal(*a.shape, seed=7) for a in args]
    close(tg.jvp(ours, given(*args), given(*along)), jax.jvp(jaxs, args, tuple(along)))


def test_jvp_of_containers_and_parts_that_do_not_move():
    def build(lib):
        return lambda p, n: ({"y": p["x"] * p["w"] * n}, lib.sum(p["x"]))

    ours, jaxs = both(build)
    x, w, t = normal(4), normal(4, seed=1), normal(4, seed=2)
    got = tg.jvp(
        ours, ({"x": tg.tensor(x), "w": tg.tensor(w)}, 3), ({"x": tg.tensor(t), "w": None}, None)
    )
    want = jax.jvp(lambda p: jaxs(p, 3), ({"x": x, "w": w},), ({"x": t, "w": np.zeros(4, "f4")},))
    close(got, want)


def test_jvp_of_integers_is_zero():
    y, t = tg.jvp(lambda x: (tg.argmax(x), x * 2), (tg.tensor(X),), (tg.ones((4,)),))
    assert int(t[0]) == 0
    close(t[1], np.full(4, 2))
    assert y[0].dtype is tg.int32


def test_jvp_with_aux_and_linearize():
    y, t, aux = tg.jvp(
        lambda x: (x * x, "note"), (tg.tensor(X),), (tg.tensor(V[0] * X),), has_aux=True
    )
    close((y, t), (X * X, 2 * X * V[0] * X))
    assert aux == "note"
    calls = []

    def f(x):
        calls.append(1)
        return tg.sin(x) * x

    y, push = tg.linearize(f, tg.tensor(X))
    want, jax_push = jax.linearize(lambda x: jnp.sin(x) * x, X)
    close(y, want)
    for seed in (1, 2):
        close(push(tg.tensor(normal(4, seed=seed))), jax_push(normal(4, seed=seed)))
    assert len(calls) == 1


def test_forward_over_forward_over_reverse():
    ours, jaxs = both(powers)
    x, t, s = X, normal(4, seed=5), normal(4, seed=6)

    def third(lib, f, x, t, s):
        slope = lib.grad(f)

        def once(x):
            return lib.jvp(slope, (x,), (t,))[1]

        return lib.jvp(once, (x,), (s,))[1]

    close(third(tg, ours, *given(x, t, s)), third(jax, jaxs, x, t, s), rtol=1e-4, atol=1e-4)
    close(
        tg.grad(lambda x: tg.jvp(ours, (x,), (tg.tensor(t),))[1])(tg.tensor(x)),
        jax.grad(lambda x: jax.jvp(jaxs, (x,), (t,))[1])(x),
        atol=1e-4,
    )


def test_jvp_through_convolution_pooling_and_loops():
    def ours(x, w):
        y = tg.max_pool(tg.relu(tg.conv(x, w, padding="same")), 2)
        return tg.scan(lambda c, r: (c * r.sum(), c), y.mean(), tg.squeeze(y, 0))

    def jaxs(x, w):
        y = jax.lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        y = jax.lax.reduce_window(
            jnp.maximum(y, 0), -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
        )
        return jax.lax.scan(lambda c, r: (c * r.sum(), c), y.mean(), y[0])

    x, w = normal(1, 4, 4, 2), normal(3, 3, 2, 3, seed=1)
    dx, dw = normal(1, 4, 4, 2, seed=2), normal(3, 3, 2, 3, seed=3)
    close(
        tg.jvp(ours, given(x, w), given(dx, dw)), jax.jvp(jaxs, (x, w), (dx, dw)),
        rtol=1e-4, atol=1e-3,
    )  # fmt: skip


def test_jvp_of_custom_gradients():
    f = tg.custom_gradient(lambda x: (tg.sin(x), lambda g: g * 3))
    close(tg.jvp(f, (tg.tensor(X),), (tg.tensor(X),))[1], 3 * X)
    again = tg.checkpoint(lambda x: tg.sin(tg.exp(x)))
    close(
        tg.jvp(again, (tg.tensor(X),), (tg.ones((4,)),))[1],
        jax.jvp(lambda x: jnp.sin(jnp.exp(x)), (X,), (np.ones(4, "f4"),))[1],
    )
    clipped = tg.custom_gradient(lambda x: (x * 1.0, lambda g: tg.clip(g, -1, 1)))
    with pytest.raises(NotSupportedError, match=r"not .it clips"):
        tg.jvp(clipped, (tg.tensor(X),), (tg.tensor(X),))


def test_wrong_tangents_are_refused():
    with pytest.raises(ShapeError, match=r"a tangent of shape \[4\]; received \[2\]"):
        tg.jvp(lambda x: x, (tg.tensor(X),), (tg.ones((2,)),))
    with pytest.raises(ArgumentError, match="structure"):
        tg.jvp(lambda x: x, (tg.tensor(X),), ())
    with pytest.raises(ArgumentError, match="list or tuple of primals"):
        tg.jvp(lambda x: x, tg.tensor(X), tg.tensor(X))


# Jacobians


@pytest.mark.parametrize("name", ["jacfwd", "jacrev"])
@pytest.mark.parametrize("argnums", [0, 1, (0, 2)])
def test_jacobians_of_arguments(name, argnums):
    ours, jaxs = both(lambda lib: lambda x, w, v: lib.tanh(x @ w) * v)
    close(
        getattr(tg, name)(ours, argnums)(*given(X, W, V)),
        getattr(jax, name)(jaxs, argnums)(X, W, V),
    )


@pytest.mark.parametrize("mode", ["forward", "reverse", "auto"])
def test_jacobians_of_containers(mode):
    def build(lib):
        def f(p):
            return [lib.sin(p["x"]) * p["k"], (p["k"] * 2, lib.sum(p["x"]) * p["x"][:2])]

        return f

    ours, jaxs = both(build)
    x, k = normal(3), np.float32(1.5)
    got = tg.jacobian(ours, mode=mode)({"x": tg.tensor(x), "k": tg.tensor(k)})
    close(got, tree_numpy(jax.jacrev(jaxs)({"x": x, "k": k})))


def test_jacobian_with_control_flow_on_values_and_aux():
    def f(x):
        return (x * x if float(x[0]) > 0 else -x), {"seen": 1}

    for start in (1.0, -1.0):
        x = np.float32([start, 2])
        for make in (tg.jacfwd, tg.jacrev):
            got, aux = make(f, has_aux=True)(tg.tensor(x))
            close(got, np.diag(2 * x) if start > 0 else -np.eye(2))
            assert aux == {"seen": 1}


def test_hessian():
    ours, jaxs = both(powers)
    close(tg.hessian(ours)(tg.tensor(X)), jax.hessian(jaxs)(X), rtol=1e-4, atol=1e-4)
    close(tg.compile(tg.hessian(ours))(tg.tensor(X)), jax.hessian(jaxs)(X), rtol=1e-4, atol=1e-4)


def test_hessian_of_containers_and_several_arguments():
    def build(lib):
        return lambda p, q: lib.sum(p["x"] ** 2 * q) + lib.sum(q**3)

    ours, jaxs = both(build)
    x, q = normal(3), normal(3, seed=4)
    close(
        tg.hessian(ours, (0, 1))({"x": tg.tensor(x)}, tg.tensor(q)),
        tree_numpy(jax.hessian(jaxs, (0, 1))({"x": x}, q)),
        rtol=1e-4,
    )


def test_hessian_of_a_product_with_a_zero():
    x = np.float32([0, 2, 3, -1])
    close(tg.hessian(tg.prod)(tg.tensor(x)), jax.hessian(jnp.prod)(x))


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("solve", "expm", "cholesky")]


@pytest.mark.parametrize("name", ["inv", "det", *SLOW])
def test_hessians_and_tangents_of_linear_algebra(name):
    a = np.float32([[3, 0.5, 0.2], [0.5, 2, -0.3], [0.2, -0.3, 4]])
    c = normal(3, 3)

    def build(lib, linalg):
        op = getattr(linalg, name)
        value = (lambda x: op(x @ x.T, c)) if name == "solve" else lambda x: op(x @ x.T / 30)
        return lambda x: lib.sum(lib.sin(value(x)))

    ours, jaxs = (
        build(tg, tg.linalg),
        build(jnp, jax.scipy.linalg if name == "expm" else jnp.linalg),
    )
    close(tg.jvp(ours, given(a), given(c)), jax.jvp(jaxs, (a,), (c,)), rtol=1e-3, atol=1e-3)
    close(tg.hessian(ours)(tg.tensor(a)), jax.hessian(jaxs)(a), rtol=1e-2, atol=2e-2)


@pytest.mark.parametrize("zeros", [0, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_third_derivative_of_a_product_with_zeros(zeros):
    x = np.float32([0.0] * zeros + [1.5, -2.0, 0.5][: 4 - zeros])

    def third(lib, f):
        return lib.jacfwd(lib.jacfwd(lib.grad(f)))

    close(third(tg, tg.prod)(tg.tensor(x)), third(jax, jnp.prod)(x), atol=1e-5)


def test_jacobians_refuse_what_has_none():
    with pytest.raises(DtypeError, match="int32"):
        tg.jacobian(tg.argmax)(tg.tensor(X))
    with pytest.raises(ArgumentError, match="'sideways'"):
        tg.jacobian(tg.sin, mode="sideways")


# grad


def test_grad_of_containers_with_aux():
    def f(p, scale):
        loss = tg.sum(p["w"][0] * p["w"][1]) * scale
        return loss, {"loss": loss, "name": "n"}

    w = (tg.tensor(X), tg.tensor(V[0] * X))
    (value, aux), slopes = tg.value_and_grad(f, (0, 1), has_aux=True)({"w": w}, 2.0)
    close(slopes, ({"w": (2 * V[0] * X, 2 * X)}, np.sum(V[0] * X * X)))
    close(aux["loss"], value)
    assert aux["name"] == "n"
    slope, aux = tg.grad(f, has_aux=True)({"w": w}, 2.0)
    close(slope["w"][1], 2 * X)


def test_grad_through_complex_values():
    def build(lib):
        def f(x, y):
            z = lib.complex(x, y) if lib is tg else jax.lax.complex(x, y)
            z = z * z + z * 2.0
            return lib.sum(lib.real(z) ** 2) + lib.sum(lib.imag(z) * x)

        return f

    ours, jaxs = both(build)
    x, y = normal(4), normal(4, seed=1)
    close(tg.grad(ours, (0, 1))(*given(x, y)), jax.grad(jaxs, (0, 1))(x, y))
    close(tg.hessian(ours)(*given(x, y)), jax.hessian(jaxs)(x, y), rtol=1e-4)


def test_grad_of_a_complex_argument_is_jaxs():
    z = (normal(3) + 1j * normal(3, seed=1)).astype(np.complex64)

    def build(lib):
        return lambda z: lib.sum(lib.real(z * z * z) + lib.imag(z))

    ours, jaxs = both(build)
    close(tg.grad(ours)(tg.tensor(z)), jax.grad(jaxs)(z))
    y, back = tg.vjp(lambda z: z * z, tg.tensor(z))
    want, jax_back = jax.vjp(lambda z: z * z, z)
    close(y, want)
    close(back(tg.tensor(z)), jax_back(z))
    close(
        tg.jvp(lambda z: z * z, (tg.tensor(z),), (tg.tensor(z),)),
        jax.jvp(lambda z: z * z, (z,), (z,)),
    )
    close(tg.vmap(lambda z: z * z + 1.0)(tg.tensor(z.reshape(3, 1))), (z * z + 1).reshape(3, 1))


def test_the_missing_second_result_is_named():
    with pytest.raises(ArgumentError, match="has_aux"):
        tg.grad(lambda x: x.sum(), has_aux=True)(tg.tensor(X))
