"""Complex tensors under transformations, with JAX's conventions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import tabgrad as tg
from tests.transformations.functions import close, given, normal


def numbers(*shape, seed=0):
    return (normal(*shape, seed=seed) + 1j * normal(*shape, seed=seed + 50)).astype(np.complex64)


Z, W = numbers(4), numbers(4, seed=1)


def real_loss(lib):
    def f(z, w):
        y = lib.exp(z * 0.3) * w + lib.conj(z)
        return lib.sum(lib.abs(y) ** 2 + lib.imag(y))

    return f


def test_gradients_of_arguments_in_containers():
    ours, jaxs = real_loss(tg), real_loss(jnp)
    close(tg.grad(ours, (0, 1))(*given(Z, W)), jax.grad(jaxs, (0, 1))(Z, W), rtol=1e-4)
    got = tg.grad(lambda p: ours(p["z"], p["w"]))({"z": tg.tensor(Z), "w": tg.tensor(W)})
    close(got["z"], jax.grad(jaxs)(Z, W), rtol=1e-4)
    close(tg.compile(tg.grad(ours))(*given(Z, W)), jax.grad(jaxs)(Z, W), rtol=1e-4)


def test_gradients_of_each_example():
    ours, jaxs = real_loss(tg), real_loss(jnp)
    z = numbers(3, 4, seed=2)
    close(
        tg.vmap(tg.grad(ours), (0, None))(*given(z, W)),
        jax.vmap(jax.grad(jaxs), (0, None))(z, W),
        rtol=1e-4,
    )
    close(
        tg.vmap(lambda z: z * tg.tensor(W[0]), 1, 1)(tg.tensor(z)),
        jax.vmap(lambda z: z * W[0], 1, 1)(z),
    )


def test_forwards_and_backwards():
    f = lambda lib: lambda z: lib.exp(z) * z + lib.conj(z)  # noqa: E731
    close(tg.jvp(f(tg), given(Z), given(W)), jax.jvp(f(jnp), (Z,), (W,)))
    close(tg.vjp(f(tg), tg.tensor(Z))[1](tg.tensor(W)), jax.vjp(f(jnp), Z)[1](W))
    close(tg.linearize(f(tg), tg.tensor(Z))[1](tg.tensor(W)), jax.jvp(f(jnp), (Z,), (W,))[1])


def test_a_real_argument_of_a_complex_function():
    f = lambda lib: lambda x: lib.exp(x * 1j)  # noqa: E731
    x, t = normal(4), normal(4, seed=1)
    close(tg.jvp(f(tg), given(x), given(t)), jax.jvp(f(jnp), (x,), (t,)))
    close(tg.vjp(f(tg), tg.tensor(x))[1](tg.tensor(W)), jax.vjp(f(jnp), x)[1](W))
    close(
        tg.grad(lambda x: tg.real(f(tg)(x) ** 2).sum())(tg.tensor(x)),
        jax.grad(lambda x: jnp.real(f(jnp)(x) ** 2).sum())(x),
    )


def test_gradients_that_are_given():
    def build(custom):
        return custom(lambda z: (z * z, lambda g: g * z * 5))

    def total(lib, f):
        return lambda z: lib.sum(lib.real(f(z)) + 2 * lib.imag(f(z)))

    ours, jaxs = build(tg.custom_gradient), build(jax.custom_gradient)
    close(tg.grad(total(tg, ours))(tg.tensor(Z)), jax.grad(total(jnp, jaxs))(Z), rtol=1e-4)


def test_checkpoints_and_loops():
    def build(lib, scan, wrap):
        step = wrap(lambda c, x: (c * x + 1j, lib.real(c)))

        def f(z):
            last, seen = scan(step, z[0], z)
            return lib.abs(last) ** 2 + lib.sum(seen)

        return f

    close(
        tg.grad(build(tg, tg.scan, tg.checkpoint))(tg.tensor(Z)),
        jax.grad(build(jnp, lax.scan, jax.checkpoint))(Z),
        rtol=1e-4,
    )


def test_static_parts_keep_their_place():
    f = tg.compile(lambda p, name: {"twice": p[0] * 2, "name": tg.real(p[1])}, static_argnums=1)
    out = f((tg.tensor(Z), W), "n")
    close(out, {"twice": Z * 2, "name": W.real})


def test_jacobians_refuse_complex():
    with pytest.raises(tg.errors.DtypeError, match="complex"):
        tg.jacobian(lambda z: z * z)(tg.tensor(Z))
