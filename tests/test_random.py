"""tg.random: streams, keys, ranges, edges. Whether the numbers follow their distributions is in
`test_random_statistics.py`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.compiler import driver
from tests.ops.engines import chosen

R = tg.random

# Every function that draws, with a seed as its only argument.
DRAWS: dict[str, Callable[[Any], tg.Tensor]] = {
    "bernoulli": lambda s: R.bernoulli((33,), 0.3, seed=s),
    "beta": lambda s: R.beta((33,), 0.5, 2.0, seed=s),
    "binomial": lambda s: R.binomial((33,), 30, np.linspace(0, 1, 33), seed=s),
    "bits": lambda s: R.bits((33,), seed=s),
    "categorical": lambda s: R.categorical([[0.0, 1.0, 2.0]], 33, seed=s),
    "cauchy": lambda s: R.cauchy((33,), seed=s),
    "choice": lambda s: R.choice(9, (33,), p=np.arange(9), seed=s),
    "dirichlet": lambda s: R.dirichlet((11,), [0.5, 1.0, 3.0], seed=s),
    "dropout": lambda s: R.dropout(tg.ones((33,)), 0.5, seed=s),
    "exponential": lambda s: R.exponential((33,), seed=s),
    "gamma": lambda s: R.gamma((33,), np.linspace(0.1, 9, 33), seed=s),
    "gumbel": lambda s: R.gumbel((33,), seed=s),
    "laplace": lambda s: R.laplace((33,), seed=s),
    "loggamma": lambda s: R.loggamma((33,), 0.01, seed=s),
    "logistic": lambda s: R.logistic((33,), seed=s),
    "multinomial": lambda s: R.multinomial((11,), 9, [0.2, 0.3, 0.5], seed=s),
    "multivariate_normal": lambda s: R.multivariate_normal(
        (11,), [0.0, 1.0], [[2.0, 0.5], [0.5, 1.0]], seed=s
    ),
    "normal": lambda s: R.normal((33,), 1.0, 2.0, seed=s),
    "permutation": lambda s: R.permutation(33, seed=s),
    "poisson": lambda s: R.poisson((33,), np.linspace(0, 40, 33), seed=s),
    "rademacher": lambda s: R.rademacher((33,), seed=s),
    "randint": lambda s: R.randint((33,), -5, 9, seed=s),
    "shuffle": lambda s: R.shuffle(tg.ops.arange(33), seed=s),
    "truncated_normal": lambda s: R.truncated_normal((33,), seed=s),
    "uniform": lambda s: R.uniform((33,), -1.0, 3.0, seed=s),
}
NOT_DRAWS = {"SeedGenerator", "fold_in", "global_generator", "key", "seed", "split"}


def test_every_function_is_here() -> None:
    assert set(R.__all__) == set(DRAWS) | NOT_DRAWS


@pytest.mark.parametrize("name", DRAWS)
def test_same_numbers_everywhere(name: str) -> None:
    """On both engines, eagerly and compiled; whole numbers and bits exactly."""
    values = []
    for engine in ("reference", "wasm"):
        with chosen(engine):
            values.append(DRAWS[name](7).numpy())
            values.append(tg.compile(DRAWS[name])(R.key(7)).numpy())
    for other in values[1:]:
        if values[0].dtype.kind == "f":
            np.testing.assert_allclose(other, values[0], rtol=3e-6, atol=1e-6)
        else:
            np.testing.assert_array_equal(other, values[0])


@pytest.mark.parametrize("name", DRAWS)
def test_seeds(name: str) -> None:
    """An int repeats, a generator goes on, the global one is restarted by its seed."""
    draw = DRAWS[name]
    assert draw(3).tolist() == draw(3).tolist() == draw(R.key(3)).tolist()
    assert draw(3).tolist() != draw(4).tolist()
    first, again = R.SeedGenerator(5), R.SeedGenerator(5)
    one, two = draw(first).tolist(), draw(first).tolist()
    assert one != two
    assert [one, two] == [draw(again).tolist(), draw(again).tolist()]
    R.seed(11)
    one = draw(None).tolist()
    R.seed(11)
    assert draw(None).tolist() == one


@pytest.mark.parametrize("name", DRAWS)
def test_vmap_over_keys(name: str) -> None:
    keys = R.split(R.key(1), 3)
    rows = tg.vmap(DRAWS[name])(keys)
    for i in range(3):
        one = DRAWS[name](keys[i]).numpy()
        np.testing.assert_allclose(rows[i].numpy(), one, rtol=3e-6, atol=1e-6)


def test_state_in_compiled_functions() -> None:
    generator = R.SeedGenerator(1)

    @tg.compile
    def draw() -> tg.Tensor:
        return R.gamma((3,), 2.0, seed=generator)

    again = R.SeedGenerator(1)
    assert [draw().tolist() for _ in range(2)] == [
        R.gamma((3,), 2.0, seed=again).tolist() for _ in range(2)
    ]


def test_generator_without_a_seed_follows_the_global_one() -> None:
    R.seed(1)
    one, two = R.SeedGenerator(), R.SeedGenerator()
    first = R.bits((2,), one).tolist()
    assert first != R.bits((2,), two).tolist()
    R.seed(1)
    assert R.bits((2,), R.SeedGenerator()).tolist() == first


def test_keys() -> None:
    """Keys of seeds, children and numbers are all different, and so is what is drawn from them."""
    key = R.key(2**40 + 3)
    assert key.tolist() == [3, 256]
    keys = [key, R.key(3), *R.split(key, 4), R.fold_in(key, 0), R.fold_in(key, 1)]
    keys += [R.fold_in(key, tg.tensor(2)), *R.split(R.split(key)[0])]
    assert len({tuple(k.tolist()) for k in keys}) == len(keys)
    drawn = [tuple(R.bits((4,), k).tolist()) for k in keys]
    assert len(set(drawn)) == len(keys)
    words = [w for row in drawn for w in row]
    assert len(set(words)) == len(words)
    assert R.fold_in(key, 5).tolist() == R.fold_in(key, tg.tensor(5)).tolist()


def test_seeds_of_any_size_and_of_numpy() -> None:
    seeds = [0, 1, -1, 2**32, 2**40 + 3, 2**63, 2**64, 2**64 + 1, 2**96 + 1, 2**96 + 3]
    assert len({tuple(R.key(seed).tolist()) for seed in seeds}) == len(seeds)
    assert R.key(np.int64(7)).tolist() == R.key(np.uint8(7)).tolist() == R.key(7).tolist()
    assert R.normal((np.int64(3),), seed=np.int32(5)).tolist() == R.normal(3, seed=5).tolist()
    first = R.SeedGenerator(np.int64(4)).next().tolist()
    assert first == R.SeedGenerator(4).next().tolist()
    with pytest.raises(tg.errors.ArgumentError, match=r"seed expected an integer; received 1\.5"):
        R.seed(1.5)  # type: ignore[arg-type]


def test_threefry_by_jax() -> None:
    """The cipher is JAX's, so a key and a counter give the same words there."""
    from tests.keras_oracle import jax

    with chosen("reference"):
        from tabgrad.random.keys import words

        mine = np.stack([w.numpy() for w in words(R.key(2**33 + 5), (4,), 9)])
    counters = np.stack([np.full(4, 9), np.arange(4)]).astype(np.uint32)
    from jax.extend.random import threefry_2x32

    theirs = threefry_2x32((np.uint32(5), np.uint32(2)), jax.numpy.asarray(counters.ravel()))
    np.testing.assert_array_equal(mine, np.asarray(theirs).reshape(2, 4))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_uniform_stays_below_its_end(dtype: str) -> None:
    with chosen("reference"):
        u = R.uniform((100_000,), seed=1, dtype=dtype).numpy()
        assert u.dtype == dtype
        assert u.min() >= 0
        assert u.max() < 1
        for low, high in ((1.0, 1.0009765625), (-3.0, 0.1), (0.5, 1.0), (-1e-7, 0.0)):
            x = R.uniform((20_000,), low, high, dtype, 2).numpy()
            assert x.min() >= np.array(low, dtype)
            assert x.max() < np.array(high, dtype)
            ends = R.uniform((20_000,), tg.tensor(low), tg.tensor(high), dtype, 2).numpy()
            assert ends.max() < np.array(high, dtype)


def test_grids_reach_both_ends() -> None:
    """The words of all zeros and all ones, through the functions that make numbers of them."""
    from tabgrad.random.continuous import from_unit
    from tabgrad.random.keys import open_from

    words = tg.tensor([0, 2**32 - 1], dtype="uint32")
    for dtype in (tg.float32, tg.float64):
        with chosen("reference"):
            u = open_from(words, words, dtype)
            low, high = u.tolist()
            assert 0 < low < 2.0**-23
            assert high == 1 - low
            z = from_unit(u).numpy()
        assert np.isfinite(z).all()
        np.testing.assert_allclose(z[0], -z[1], rtol=1e-5)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32"])
def test_randint_covers_whole_types(dtype: str) -> None:
    info = np.iinfo(dtype)
    x = R.randint((50_000,), int(info.min), int(info.max) + 1, dtype, 1).numpy()
    assert x.dtype == dtype
    share = (x.astype(np.float64) - info.min) / (float(info.max) - info.min)
    assert abs(share.mean() - 0.5) < 0.01
    assert share.min() < 0.01
    assert share.max() > 0.99
    some = R.randint((1000,), 3, 6, dtype, 1).numpy()
    assert set(some.tolist()) == {3, 4, 5}


def test_randint_of_64_bits() -> None:
    with chosen("reference"):
        x = R.randint((1000,), -(2**62), 2**62, "int64", 1).numpy()
        assert x.dtype == np.int64
        assert x.min() < -(2**61)
        assert x.max() > 2**61


def test_randint_is_exact_share_of_64_bits() -> None:
    """floor(width * bits / 2**64), for widths at which halves of words carry."""
    from tabgrad.random.discrete import _share

    cases = list(itertools.product([0, 1, 0xFFFF, 0x10000, 0x80000000, 0xFFFFFFFF], repeat=3))
    first, second, width = (
        tg.tensor(np.array(column, np.uint32)) for column in zip(*cases, strict=True)
    )
    expected = [(((a << 32) + c) * w) >> 64 for a, c, w in cases]
    assert _share(first, second, width).tolist() == expected


@pytest.mark.parametrize("name", sorted(set(DRAWS) & set("""
    bernoulli beta binomial bits cauchy exponential gamma gumbel laplace loggamma logistic normal
    poisson rademacher randint truncated_normal uniform""".split())))  # fmt: skip
def test_shapes(name: str) -> None:
    extra: dict[str, tuple[Any, ...]] = {
        "beta": (2.0, 3.0), "binomial": (5, 0.5), "gamma": (2.0,), "loggamma": (2.0,),
        "randint": (0, 5),
    }  # fmt: skip
    draw = getattr(R, name)
    for shape in ((), (0,), (2, 0, 3), (1,), (2, 3)):
        value = draw(shape, *extra.get(name, ()), seed=1)
        assert value.shape == shape
        value.numpy()


def test_extreme_parameters() -> None:
    nan = float("nan")
    poisson = R.poisson((5,), tg.tensor([0.0, -1.0, nan, 1e-6, 1e6]), seed=1).tolist()
    assert poisson[:4] == [0, -1, -1, 0]
    assert abs(poisson[4] - 1e6) < 6000
    counts, chances = [0, 7, 7, 7, 7, 10**6], [0.5, 0.0, 1.0, 1.5, nan, 1e-9]
    binomial = R.binomial((6,), counts, tg.tensor(chances), seed=1).tolist()
    assert binomial[:3] == [0, 0, 7]
    assert np.isnan(binomial[3:5]).all()
    assert binomial[5] == 0
    gammas = R.gamma((4,), tg.tensor([0.0, -1.0, nan, 1e8]), seed=1).tolist()
    assert gammas[0] == 0
    assert np.isnan(gammas[1:3]).all()
    assert abs(gammas[3] / 1e8 - 1) < 1e-3
    assert np.isfinite(R.loggamma((1000,), 1e-4, seed=1).numpy()).all()
    betas = R.beta((1000,), 1e-3, 1e-3, seed=1).numpy()
    assert np.isfinite(betas).all()
    assert R.bernoulli((100,), 0.0, seed=1).tolist() == [False] * 100
    assert R.bernoulli((100,), 1.0, seed=1).tolist() == [True] * 100
    assert R.uniform((3,), 2.0, 2.0, seed=1).tolist() == [2.0] * 3
    one = R.multinomial((2,), 5, [3.0], seed=1)
    assert one.tolist() == [[5.0], [5.0]]


def test_orders() -> None:
    for n in (0, 1, 2, 5, 3000):
        assert sorted(R.permutation(n, seed=1).tolist()) == list(range(n))
    x = tg.tensor(np.arange(12).reshape(3, 4))
    columns = R.shuffle(x, axis=1, seed=1).numpy()
    assert (np.sort(columns, 1) == np.arange(12).reshape(3, 4)).all()
    assert (columns - columns[:1] == np.array([[0], [4], [8]])).all()
    lines = R.permutation(x, axis=1, independent=True, seed=2).numpy()
    assert (np.sort(lines, 1) == np.arange(12).reshape(3, 4)).all()
    chosen_ = R.choice(10, (10,), replace=False, seed=3).tolist()
    assert sorted(chosen_) == list(range(10))
    some = R.choice(5, (2,), replace=False, p=[0, 0.5, 0, 0.5, 0], seed=3).tolist()
    assert sorted(some) == [1, 3]
    assert R.choice(tg.tensor([[1, 2], [3, 4]]), (5,), axis=1, seed=1).shape == (2, 5)


def test_orders_are_equally_likely() -> None:
    """All six orders of three things, over 6000 keys."""
    orders = tg.vmap(lambda k: R.permutation(3, seed=k))(R.split(R.key(0), 6000)).numpy()
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert ((counts - 1000) ** 2 / 1000).sum() < 20.5  # chi-squared of 5 degrees, 0.1 %


def test_gradients_reach_locations_and_scales() -> None:
    slope = tg.grad(lambda m: tg.sum(R.normal((5,), m, 2.0, seed=1)))(tg.tensor(0.0))
    assert float(slope) == 5
    z = R.laplace((5,), seed=1)
    slope = tg.grad(lambda s: tg.sum(R.laplace((5,), 1.0, s, seed=1)))(tg.tensor(2.0))
    assert float(slope) == pytest.approx(float(tg.sum(z)), rel=1e-5)


def test_no_silent_gradient_of_rejection() -> None:
    with pytest.raises(tg.errors.NotSupportedError):
        tg.grad(lambda a: tg.sum(R.gamma((5,), a, seed=1)))(tg.tensor(2.0))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: R.uniform((2,), 1.0, 0.0), tg.errors.ArgumentError, "minval <= maxval"),
        (lambda: R.randint((2,), 3, 3), tg.errors.ArgumentError, "minval < maxval"),
        (lambda: R.randint((2,), 0, 300, "int8"), tg.errors.ArgumentError, "within int8"),
        (lambda: R.randint((2,), 0, 3, "float32"), tg.errors.DtypeError, "integer dtype"),
        (lambda: R.normal((2,), dtype="int32"), tg.errors.DtypeError, "float dtype"),
        (lambda: R.bits((2,), dtype="int32"), tg.errors.DtypeError, "unsigned"),
        (lambda: R.uniform((-1,)), tg.errors.ArgumentError, "shape of integers"),
        (lambda: R.uniform((2,), seed="x"), tg.errors.ArgumentError, "expected a seed"),
        (lambda: R.uniform((2,), seed=tg.zeros((3,))), tg.errors.ArgumentError, "key of two"),
        (lambda: R.SeedGenerator("x"), tg.errors.ArgumentError, "integer or None"),
        (lambda: R.fold_in(1, 0.5), tg.errors.DtypeError, "expected an integer"),
        (lambda: R.gamma((2,), tg.ones((3,))), tg.errors.ShapeError, "broadcast"),
        (lambda: R.categorical([1.0], 2), tg.errors.ShapeError, "batch, classes"),
        (lambda: R.choice(3, (4,), replace=False), tg.errors.ArgumentError, "at most 3"),
        (lambda: R.choice(0, (4,)), tg.errors.ArgumentError, "something to choose"),
        (lambda: R.choice(3, (4,), p=[1.0]), tg.errors.ShapeError, "3 probabilities"),
        (lambda: R.shuffle(tg.ones((3,)), 1), tg.errors.ShapeError, "axis"),
        (lambda: R.dropout(tg.ones((3,)), 1.0), tg.errors.ArgumentError, "below 1"),
        (lambda: R.dirichlet((), 1.0), tg.errors.ShapeError, "number"),
        (lambda: R.multivariate_normal((), [0.0], [1.0]), tg.errors.ShapeError, "covariance"),
    ],
)
def test_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_other_seeds_compile_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of compiled functions a seed, and what is folded in, is data as any number is."""
    draws = [
        lambda s: tg.random.normal((3,), seed=s),
        lambda s: tg.random.shuffle(tg.arange(5), seed=s),
        lambda s: tg.random.fold_in(tg.random.key(1), s),
        lambda s: tg.random.dropout(tg.ones((3,)), 0.5, seed=s),
    ]
    for draw in draws:
        draw(1).tolist()
    compiled: list[object] = []
    compile_ = driver.compile
    monkeypatch.setattr(driver, "compile", lambda *a, **k: compiled.append(a) or compile_(*a, **k))
    for draw in draws:
        for seed in (2, -3, 2**40, 2**70):
            draw(seed).tolist()
    assert not compiled
