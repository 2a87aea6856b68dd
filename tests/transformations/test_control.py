"""Transformations through branches, loops, sorting and running folds, against JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import tabgrad as tg
from tabgrad.errors import NotSupportedError
from tests.transformations.functions import close, given, normal

X = normal(5, 3)


def branches(lib, cond):
    def f(x, w):
        total = lib.sum(x)
        return cond(total > 0, lambda: lib.sin(x) * w, lambda: x * x - lib.sum(w))

    return f


def newton(lib, loop):
    """Square roots by Newton's method until it no longer moves."""

    def f(a):
        def step(x, turn):
            return (0.5 * (x + a / x), turn + 1)

        def going(x, turn):
            return lib.max(lib.abs(x * x - a)) > 1e-4

        if loop is lax.while_loop:
            return loop(lambda s: going(*s), lambda s: step(*s), (lib.ones_like(a), 0))
        return loop(going, step, (lib.ones_like(a), 0))

    return f


BRANCH = branches(tg, tg.cond), branches(jnp, lambda p, t, f: lax.cond(p, t, f))
NEWTON = newton(tg, tg.while_loop), newton(jnp, lax.while_loop)
FORI = (
    lambda x: tg.fori_loop(0, 4, lambda i, v: tg.sin(v) * x + i, x),
    lambda x: lax.fori_loop(0, 4, lambda i, v: jnp.sin(v) * x + i, x),
)


@pytest.mark.parametrize("axes", [(0, None), (0, 0), (None, 0)])
def test_branches(axes):
    w = normal(5, 3, seed=1)
    args = [X if axes[0] == 0 else X[0], w if axes[1] == 0 else w[0]]
    ours, jaxs = BRANCH
    close(tg.vmap(ours, axes)(*given(*args)), jax.vmap(jaxs, axes)(*args))

    def total(lib, f):
        return lib.grad(lambda x, w: (lib.vmap(f, axes)(x, w) ** 2).sum(), (0, 1))

    close(total(tg, ours)(*given(*args)), total(jax, jaxs)(*args), rtol=1e-4, atol=1e-4)


def test_branches_both_ways_and_their_hessian():
    def square(f):
        return lambda x, w: (f(x, w) ** 2).sum()

    ours, jaxs = BRANCH
    w, t = normal(3, seed=1), normal(3, seed=2)
    for x in (np.abs(X[0]), -np.abs(X[0])):
        close(tg.jvp(ours, given(x, w), given(t, t)), jax.jvp(jaxs, (x, w), (t, t)))
        close(tg.jacrev(ours)(*given(x, w)), jax.jacrev(jaxs)(x, w))
        close(
            tg.hessian(square(ours))(*given(x, w)), jax.hessian(square(jaxs))(x, w),
            rtol=1e-4, atol=1e-4,
        )  # fmt: skip


def test_loops_of_unknown_length():
    ours, jaxs = NEWTON
    a = np.float32([[2, 3], [100, 0.5], [7, 7]])
    close(tg.vmap(ours)(tg.tensor(a)), jax.vmap(jaxs)(a))
    close(tg.vmap(ours, 1, (1, 0))(tg.tensor(a)), jax.vmap(jaxs, 1, (1, 0))(a))
    x, t = np.float32([2, 3]), np.float32([1, -1])
    close(
        tg.jvp(lambda a: ours(a)[0], given(x), given(t)),
        jax.jvp(lambda a: jaxs(a)[0], (x,), (t,)),
    )
    close(tg.jacfwd(lambda a: ours(a)[0])(tg.tensor(x)), jax.jacfwd(lambda a: jaxs(a)[0])(x))
    close(
        tg.vmap(tg.jacfwd(lambda a: ours(a)[0]))(tg.tensor(a)),
        jax.vmap(jax.jacfwd(lambda a: jaxs(a)[0]))(a),
    )
    with pytest.raises(NotSupportedError, match="while"):
        tg.grad(lambda a: ours(a)[0].sum())(tg.tensor(x))


def test_loops_of_known_length():
    ours, jaxs = FORI
    close(
        tg.vmap(tg.jacrev(ours))(tg.tensor(X)), jax.vmap(jax.jacrev(jaxs))(X), rtol=1e-4, atol=1e-4
    )
    close(
        tg.vmap(tg.jacfwd(ours))(tg.tensor(X)), jax.vmap(jax.jacfwd(jaxs))(X), rtol=1e-4, atol=1e-4
    )

    def total(f):
        return lambda x: f(x).sum()

    close(
        tg.hessian(total(ours))(tg.tensor(X[0])),
        jax.hessian(total(jaxs))(X[0]),
        rtol=1e-3,
        atol=1e-3,
    )


def test_checkpoint_in_a_loop():
    def f(lib, scan, checkpoint):
        step = checkpoint(lambda c, x: (lib.tanh(c * x), lib.sum(c)))
        return lambda x: lib.sum(scan(step, lib.ones_like(x[0]), x)[0])

    got = tg.grad(f(tg, tg.scan, tg.checkpoint))(tg.tensor(X))
    close(got, jax.grad(f(jnp, lax.scan, jax.checkpoint))(X))


@pytest.mark.parametrize("name", ["sort", "cumsum", "cumprod"])
def test_order_and_running_folds(name):
    ours, jaxs = (lambda x, lib=lib: getattr(lib, name)(x) ** 2 for lib in (tg, jnp))
    close(tg.vmap(ours)(tg.tensor(X)), jax.vmap(jaxs)(X))
    close(tg.vmap(tg.jacrev(ours))(tg.tensor(X)), jax.vmap(jax.jacrev(jaxs))(X), atol=1e-5)
    close(tg.vmap(tg.jacfwd(ours))(tg.tensor(X)), jax.vmap(jax.jacfwd(jaxs))(X), atol=1e-5)
