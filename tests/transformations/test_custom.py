"""`custom_gradient` and `checkpoint`, against JAX and against what they must not do."""

import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize
from tabgrad.errors import ArgumentError, NotSupportedError, ShapeError
from tests.transformations.functions import close


def log1pexp(lib, custom):
    @custom
    def f(x):
        e = lib.exp(x)
        return lib.log(1 + e), lambda upstream: upstream * (1 - 1 / (1 + e))

    return f


OURS, JAXS = log1pexp(tg, tg.custom_gradient), log1pexp(jnp, jax.custom_gradient)


@pytest.mark.parametrize("x", [0.3, 100.0])
def test_first_gradient_is_the_given_one(x):
    close(OURS(tg.tensor(x)), JAXS(x))
    close(tg.grad(OURS)(tg.tensor(x)), jax.grad(JAXS)(x))


def test_second_gradient_differentiates_the_given_one():
    close(tg.grad(tg.grad(OURS))(tg.tensor(0.3)), jax.grad(jax.grad(JAXS))(0.3))


def test_inside_compile_and_around_it():
    x = tg.tensor(0.7)
    close(tg.compile(tg.grad(OURS))(x), jax.grad(JAXS)(0.7))
    close(tg.grad(tg.compile(OURS))(x), jax.grad(JAXS)(0.7))


def test_a_wrong_gradient_is_used_as_given():
    @tg.custom_gradient
    def clipped(x):
        return x * 1.0, lambda g: tg.clip(g, -1.0, 1.0)

    x = tg.tensor([1.0, 2.0])
    close(tg.grad(lambda x: (clipped(x) * tg.tensor([5.0, 0.5])).sum())(x), [1.0, 0.5])


def test_control_flow_on_values():
    @tg.custom_gradient
    def f(x):
        if float(x) > 0:
            return x * 2, lambda g: g * 20
        return x * 3, lambda g: g * 30

    close(tg.grad(f)(tg.tensor(1.0)), 20)
    close(tg.grad(f)(tg.tensor(-1.0)), 30)


def test_values_read_between_are_still_differentiated():
    @tg.custom_gradient
    def f(x):
        e = tg.exp(x)
        float(e)
        return e, lambda g: g * e

    close(tg.grad(tg.grad(f))(tg.tensor(0.5)), np.exp(0.5))


def test_containers_and_several_arguments():
    def build(lib, custom):
        @custom
        def f(point, w):
            x, y = point["x"], point["y"]

            def back(g):
                return {"x": g["a"] * w, "y": g["b"] * 7.0}, lib.sum(g["a"] * x)

            return {"a": x * w, "b": y * 2.0}, back

        def total(point, w):
            out = f(point, w)
            return lib.sum(out["a"] * out["a"]) + lib.sum(out["b"])

        return total

    x, y = np.float32([1, 2]), np.float32([3, 4])
    got = tg.grad(build(tg, tg.custom_gradient), (0, 1))(
        {"x": tg.tensor(x), "y": tg.tensor(y)}, tg.tensor(3.0)
    )
    want = jax.grad(build(jnp, jax.custom_gradient), (0, 1))({"x": x, "y": y}, 3.0)
    close(got[0]["x"], want[0]["x"])
    close(got[0]["y"], want[0]["y"])
    close(got[1], want[1])


@pytest.mark.parametrize("style", ["one", "two", "star", "upstream"])
def test_how_cotangents_are_passed(style):
    back = {
        "one": lambda g: g[0] + 10 * g[1],
        "two": lambda g, h: g + 10 * h,
        "star": lambda *gs: gs[0] + 10 * gs[1],
        "upstream": lambda *, upstream: upstream[0] + 10 * upstream[1],
    }[style]

    @tg.custom_gradient
    def f(x):
        return (x * 2, x * 3), back

    def total(x):
        u, v = f(x)
        return (u + v * 2).sum()

    close(tg.grad(total)(tg.tensor([1.0])), [21.0])


def test_keras_style_gradient():
    @tg.custom_gradient
    def f(x):
        def grad(*args, upstream=None):
            if upstream is None:
                (upstream,) = args
            return upstream * 4

        return x * x, grad

    close(tg.grad(f)(tg.tensor(3.0)), 4)


def test_none_is_zero_and_static_arguments_stay_static():
    @tg.custom_gradient
    def f(x, power, name, i):
        assert isinstance(power, int) and name == "n" and i.dtype is tg.int32
        return x**power + tg.cast(i, "float32"), lambda g: (g * 5, None, None, None)

    close(tg.grad(lambda x: f(x, 2, "n", tg.tensor(1)))(tg.tensor(2.0)), 5)

    @tg.custom_gradient
    def zero(x):
        return x * x, lambda g: None

    close(tg.grad(zero)(tg.tensor(2.0)), 0)


def test_the_same_tensor_as_two_arguments():
    @tg.custom_gradient
    def f(x, y):
        return x * y, lambda g: (g * 3, g * 100)

    close(tg.grad(lambda x: f(x, x))(tg.tensor(2.0)), 103)


def test_an_argument_that_is_returned():
    @tg.custom_gradient
    def f(x):
        return x, lambda g: g * 3

    close(tg.grad(lambda x: f(x) * x)(tg.tensor(2.0)), 2 + 6)


def test_closing_over_what_is_differentiated_is_refused():
    w = tg.Variable(2.0, name="w")

    @tg.custom_gradient
    def f(x):
        return x * w, lambda g: g * w

    close(tg.grad(f)(tg.tensor(3.0)), 2)  # nothing is asked of w
    with pytest.raises(NotSupportedError, match="Pass it as an argument"):
        tg.grad(lambda x: f(x), variables=[w])(tg.tensor(3.0))
    with pytest.raises(NotSupportedError, match="none of its arguments"):
        tg.grad(lambda x, y: tg.custom_gradient(lambda x: (x * y, lambda g: g))(x), 1)(
            tg.tensor(1.0), tg.tensor(2.0)
        )


def test_wrong_returns_are_refused():
    x = tg.tensor([1.0, 2.0])
    with pytest.raises(ArgumentError, match=r"\(result, grad_fn\)"):
        tg.custom_gradient(lambda x: x)(x)
    with pytest.raises(ArgumentError, match="tuple of 2"):
        tg.grad(lambda x: tg.custom_gradient(lambda x, y: (x * y, lambda g: g))(x, x).sum())(x)
    with pytest.raises(ShapeError, match=r"\[2\].*\[\]"):
        tg.grad(lambda x: tg.custom_gradient(lambda x: (x, lambda g: g.sum()))(x).sum())(x)


def test_in_a_scan():
    def build(lib, scan, custom):
        @custom
        def double(x):
            return lib.sin(x), lambda g: g * 2.0

        def total(x):
            return lib.sum(scan(lambda c, _: (double(c), c), x, None, length=3)[0])

        return total

    x = np.float32([0.1, 0.7])
    got = tg.grad(build(tg, tg.scan, tg.custom_gradient))(tg.tensor(x))
    close(got, jax.grad(build(jnp, jax.lax.scan, jax.custom_gradient))(x))


def recursive(lib, custom):
    """exp, whose rule calls it; sin and cos, whose rules call each other, and that of a third both;
    with a factor in each rule, so that no other derivative gives the same."""

    @custom
    def exp(x):
        return lib.exp(x), lambda g: g * exp(x) * 1.5

    @custom
    def sin(x):
        return lib.sin(x), lambda g: g * cos(x) * 2.0

    @custom
    def cos(x):
        return lib.cos(x), lambda g: -g * sin(x) * 3.0

    @custom
    def product(x, y):
        return lib.exp(x) * lib.sin(y), lambda g: (product(x, y) * g, exp(x) * cos(y) * g)

    return {
        "its own": exp,
        "each other": lambda x: sin(cos(x)),
        "several": lambda x: product(x * 0.5, x) * sin(x),
    }


def by_custom_vjp(fn):
    """`jax.custom_gradient` asks for the rule at once and never ends; this asks on the way back."""
    f = jax.custom_vjp(lambda *xs: fn(*xs)[0])

    def backward(xs, g):
        found = fn(*xs)[1](g)
        return found if isinstance(found, tuple) else (found,)

    # By f itself, or a gradient around would differentiate the value and not follow the rule.
    f.defvjp(lambda *xs: (f(*xs), xs), backward)
    return f


@pytest.mark.parametrize("name", recursive(jnp, by_custom_vjp))
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_a_rule_that_calls_its_own_function(name, order):
    ours, jaxs = recursive(tg, tg.custom_gradient)[name], recursive(jnp, by_custom_vjp)[name]
    for _ in range(order):
        ours, jaxs = tg.grad(ours), jax.grad(jaxs)
    for run in (ours, tg.compile(ours)):
        close(run(tg.tensor(0.4)), jaxs(0.4))


@pytest.mark.parametrize("name", recursive(jnp, by_custom_vjp))
def test_such_a_rule_in_other_transformations(name):
    f, jaxs = recursive(tg, tg.custom_gradient)[name], recursive(jnp, by_custom_vjp)[name]
    x = np.float32([0.4, -0.9])
    first, second = jax.vmap(jax.grad(jaxs))(x), jax.vmap(jax.grad(jax.grad(jaxs)))(x)
    close(tg.jvp(f, (tg.tensor(x),), (tg.ones((2,)),))[1], first)
    close(tg.vmap(tg.grad(tg.grad(f)))(tg.tensor(x)), second)
    close(tg.hessian(lambda x: f(x).sum())(tg.tensor(x)), np.diag(second))
    close(
        tg.grad(lambda x: tg.grad(tg.checkpoint(f))(x[0]) * 1.0)(tg.tensor(x)),
        np.float32([second[0], 0]),
    )


# checkpoint


def chain(block, depth):
    def f(x):
        for _ in range(depth):
            x = block(x)
        return (x * x).sum()

    return f


def wide(x):
    for _ in range(6):
        x = tg.sin(tg.exp(tg.tanh(x)))
    return x


def test_checkpoint_changes_no_value():
    x = tg.tensor(np.linspace(-1, 1, 12, dtype=np.float32))
    plain, saving = chain(wide, 3), chain(tg.checkpoint(wide), 3)
    close(saving(x), plain(x))
    close(tg.grad(saving)(x), tg.grad(plain)(x))
    close(
        tg.grad(lambda x: tg.grad(saving)(x).sum())(x),
        tg.grad(lambda x: tg.grad(plain)(x).sum())(x),
        rtol=1e-4,
    )


def test_checkpoint_reaches_variables_arguments_and_containers():
    w = tg.Variable([[0.5, -0.2], [0.3, 0.8]], name="w")

    def f(point, factor, scale=1.0):
        return {"out": tg.tanh(point["x"] @ w) * factor * scale, "n": 3}

    def total(fn):
        return lambda x, k: fn({"x": x}, k, scale=2.0)["out"].sum()

    x, k = tg.tensor([[1.0, 2.0]]), tg.tensor(3.0)
    got = tg.grad(total(tg.checkpoint(f)), (0, 1), variables=[w])(x, k)
    want = tg.grad(total(f), (0, 1), variables=[w])(x, k)
    close(got[0][0], want[0][0])
    close(got[0][1], want[0][1])
    close(got[1][0], want[1][0])


def layers(depth, wrap):
    weights = [
        tg.Variable(np.float32(np.random.default_rng(i).normal(size=(64, 64)) / 8), name=f"w{i}")
        for i in range(depth)
    ]

    def segment(x, lo):
        for w in weights[lo : lo + 4]:
            x = tg.tanh(x @ w)
        return x

    def loss(x):
        for lo in range(0, depth, 4):
            x = wrap(lambda x, lo=lo: segment(x, lo))(x)
        return (x * x).mean()

    return tg.compile(tg.value_and_grad(loss)), weights


def test_checkpoint_lowers_the_planned_peak():
    x = tg.tensor(np.float32(np.random.default_rng(0).normal(size=(256, 64))))
    plain, _ = layers(32, lambda f: f)
    saving, _ = layers(32, tg.checkpoint)
    close(saving(x)[1], plain(x)[1], rtol=1e-4, atol=1e-8)
    arenas = [step.program(x).entries[0].arena for step in (plain, saving)]
    activation = 256 * 64 * 4
    # 32 activations without; 8 at the joints and 4 of one segment (and what flows back) with.
    assert arenas[0] > 31 * activation
    assert arenas[1] < 17 * activation


def test_recomputation_is_not_merged_with_the_forward_pass():
    x = tg.tensor(np.ones((256, 64), np.float32))
    count = {}
    for name, wrap in (("plain", lambda f: f), ("saving", tg.checkpoint)):
        step, _ = layers(8, wrap)
        kernels = step.program(x).entries[0].kernels
        count[name] = sum(kernel.startswith("contract") for kernel in kernels)
    # Eight products forward, eight back to x; the three inner ones of each segment again.
    assert count["plain"] == 16
    assert count["saving"] >= 16 + 6


# Loops


CLIPPED = tg.custom_gradient(lambda x: (tg.exp(x), lambda g: g * 2))
AGAIN = tg.checkpoint(lambda x: tg.sin(x) * x)
LOOPS = {
    "grad": lambda x: tg.grad(lambda x: (tg.sin(x) * x).sum())(x),
    "checkpoint": lambda x: tg.grad(lambda x: AGAIN(x).sum())(x),
    "custom_gradient": lambda x: tg.grad(lambda x: CLIPPED(x).sum())(x),
    "vmap of grad": lambda x: tg.vmap(tg.grad(lambda x: tg.sin(x) * x))(x),
    "hessian": lambda x: tg.hessian(lambda x: (tg.sin(x) * x).sum())(x),
    "jvp": lambda x: tg.jvp(tg.sin, (x,), (x,))[1],
    "vjp": lambda x: tg.vjp(tg.sin, x)[1](x)[0],
    "scan": lambda x: tg.grad(lambda x: tg.scan(lambda c, y: (c * y, None), x[0], x)[0])(x),
}


@pytest.mark.parametrize("name", LOOPS)
def test_eager_loops_compile_once_and_hold_nothing(name):
    from tabgrad.ir import graph

    x = tg.tensor([0.5, 1.0, 1.5])
    compiled, run = [], LOOPS[name]
    with pytest.MonkeyPatch.context() as patch:
        load = realize.programs.load_on
        patch.setattr(
            realize.programs, "load_on", lambda *given: compiled.append(1) or load(*given)
        )
        for _ in range(3):
            run(x).tolist()
        gc.collect()
        nodes = len(graph._table)
        compiled.clear()
        for _ in range(10):
            run(x).tolist()
    assert not compiled
    gc.collect()
    assert len(graph._table) <= nodes + 5
