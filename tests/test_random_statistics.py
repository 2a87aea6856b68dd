"""Whether random numbers follow their distributions: Kolmogorov-Smirnov and chi-squared tests
against scipy.stats, moments, and correlations between keys.

Seeds are fixed, so these never fail by chance; the bounds are those of a test at a level of 0.01 %.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

import tabgrad as tg

R = tg.random
N = 20_000
LEVEL = 1e-4

CONTINUOUS: dict[str, tuple[Callable[[Any], tg.Tensor], Any]] = {
    "uniform": (lambda s: R.uniform((N,), -1.0, 3.0, seed=s), stats.uniform(-1, 4)),
    "normal": (lambda s: R.normal((N,), 1.0, 2.0, seed=s), stats.norm(1, 2)),
    "truncated_normal": (
        lambda s: R.truncated_normal((N,), 1.0, 2.0, seed=s), stats.truncnorm(-2, 2, 1, 2)
    ),
    "exponential": (lambda s: R.exponential((N,), 3.0, seed=s), stats.expon(scale=3)),
    "gumbel": (lambda s: R.gumbel((N,), 1.0, 2.0, seed=s), stats.gumbel_r(1, 2)),
    "laplace": (lambda s: R.laplace((N,), 1.0, 2.0, seed=s), stats.laplace(1, 2)),
    "cauchy": (lambda s: R.cauchy((N,), 1.0, 2.0, seed=s), stats.cauchy(1, 2)),
    "logistic": (lambda s: R.logistic((N,), 1.0, 2.0, seed=s), stats.logistic(1, 2)),
    **{
        f"gamma {a}": (lambda s, a=a: R.gamma((N,), a, seed=s), stats.gamma(a))
        for a in (0.3, 0.99, 1.0, 2.5, 100.0)
    },
    "loggamma": (lambda s: R.loggamma((N,), 0.01, seed=s), stats.loggamma(0.01)),
    **{
        f"beta {a} {b}": (lambda s, a=a, b=b: R.beta((N,), a, b, seed=s), stats.beta(a, b))
        for a, b in ((0.5, 0.5), (1.0, 3.0), (20.0, 4.0))
    },
    "dirichlet": (lambda s: R.dirichlet((N,), [0.7, 1.0, 2.0], seed=s)[:, 0], stats.beta(0.7, 3)),
    "multivariate_normal": (
        lambda s: tg.sum(
            R.multivariate_normal((N,), [1.0, 2.0], [[2.0, 0.5], [0.5, 1.0]], seed=s), 1
        ),
        stats.norm(3, 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name: str) -> None:
    draw, expected = CONTINUOUS[name]
    x = draw(1).numpy().astype(np.float64)
    assert stats.kstest(x, expected.cdf).pvalue > LEVEL
    if name == "cauchy":
        return
    mean, variance, skew = (float(v) for v in expected.stats("mvs"))
    kurtosis = float(expected.stats("k"))
    assert abs(x.mean() - mean) < 4 * np.sqrt(variance / N)
    assert abs(x.var() - variance) < 4 * variance * np.sqrt((kurtosis + 2) / N)
    assert abs(stats.skew(x) - skew) < 0.1 * max(1, abs(skew))


DISCRETE: dict[str, tuple[Callable[[Any], tg.Tensor], Any]] = {
    "randint": (lambda s: R.randint((N,), -5, 12, seed=s), stats.randint(-5, 12)),
    "bernoulli": (lambda s: R.bernoulli((N,), 0.3, "int32", s), stats.bernoulli(0.3)),
    "rademacher": (lambda s: (R.rademacher((N,), seed=s) + 1) // 2, stats.bernoulli(0.5)),
    "categorical": (
        lambda s: R.categorical(np.log([[0.2, 0.3, 0.5]]), N, seed=s)[0],
        stats.rv_discrete(values=(range(3), (0.2, 0.3, 0.5))),
    ),
    "choice": (
        lambda s: R.choice(3, (N,), p=[2.0, 3.0, 5.0], seed=s),
        stats.rv_discrete(values=(range(3), (0.2, 0.3, 0.5))),
    ),
    "multinomial": (
        lambda s: R.multinomial((N,), 20, [0.1, 0.2, 0.7], seed=s)[:, 1], stats.binom(20, 0.2)
    ),
    **{
        f"poisson {m}": (lambda s, m=m: R.poisson((N,), m, seed=s), stats.poisson(m))
        for m in (0.1, 3.0, 9.9, 10.0, 50.0, 1000.0, 1e5)
    },
    **{
        f"binomial {n} {p}": (lambda s, n=n, p=p: R.binomial((N,), n, p, seed=s), stats.binom(n, p))
        for n, p in (
            (1, 0.5), (10, 0.2), (10, 0.9), (100, 0.05), (100, 0.5), (1000, 0.3), (1000, 0.999),
            (100_000, 0.4),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete(name: str) -> None:
    draw, expected = DISCRETE[name]
    x = draw(1).numpy().astype(np.int64)
    low, high = (
        (int(v) for v in expected.support()) if expected.support()[1] < 1e9 else (0, x.max())
    )
    assert x.min() >= low
    assert x.max() <= high
    # Classes of equal expected counts, as far as whole numbers allow.
    edges = np.unique(expected.ppf(np.linspace(0, 1, 41)[1:-1]).astype(np.int64))
    sums = np.concatenate([[0], expected.cdf(edges), [1]])
    want = np.diff(sums) * N
    have = np.bincount(np.searchsorted(edges, x), minlength=len(want))
    kept = want > 1e-6 * N
    assert have[~kept].sum() == 0
    assert stats.chisquare(have[kept], want[kept] * N / want[kept].sum()).pvalue > LEVEL
    assert abs(x.mean() - expected.mean()) < 4 * np.sqrt(expected.var() / N)


def test_keys_are_not_correlated() -> None:
    """Children of a key with each other, with it, and with its numbers folded in: correlations of
    normal numbers have a standard deviation of 1 / sqrt(n)."""
    key = R.key(0)
    keys = [key, *R.split(key, 8), *(R.fold_in(key, i) for i in range(8)), R.key(1)]
    rows = np.stack([R.normal((4096,), seed=k).numpy() for k in keys])
    off = np.corrcoef(rows)[np.triu_indices(len(keys), 1)]
    assert np.abs(off).max() < 4.5 / np.sqrt(4096)
    shifted = np.corrcoef(rows[:, :-1], rows[:, 1:])
    np.fill_diagonal(shifted, 0)
    assert np.abs(shifted).max() < 4.5 / np.sqrt(4095)


def test_bits_are_fair() -> None:
    words = R.bits((N,), seed=1).numpy()
    ones = ((words[:, None] >> np.arange(32, dtype=np.uint32)) & 1).mean(0)
    assert np.abs(ones - 0.5).max() < 4.5 * 0.5 / np.sqrt(N)


def test_rounds_of_rejection_are_independent() -> None:
    """Gamma numbers of neighbouring elements and of neighbouring seeds have nothing in common."""
    x = np.stack([R.gamma((4096,), 0.8, seed=s).numpy() for s in range(6)])
    off = np.corrcoef(np.concatenate([x, np.roll(x, 1, 1)]))
    np.fill_diagonal(off, 0)
    assert np.abs(off).max() < 4.5 / np.sqrt(4096)


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_dropout_keeps_its_part(rate: float) -> None:
    """The kept count is binomial, what is kept is x / (1 - rate), and the mean stays."""
    n = 200_000
    x = tg.tensor(np.linspace(1, 2, n, dtype=np.float32))
    found = R.dropout(x, rate, seed=3).numpy()
    kept = found != 0
    assert stats.binomtest(int(kept.sum()), n, 1 - rate).pvalue > LEVEL
    np.testing.assert_allclose(found[kept], x.numpy()[kept] / (1 - rate), rtol=1e-6)
    error = 4 * np.sqrt((x.numpy() ** 2).mean() * rate / (1 - rate) / n)
    assert abs(found.mean() - x.numpy().mean()) < error
    # Where it drops has nothing to do with the place: runs of equal counts.
    counts = kept.reshape(100, -1).sum(1)
    variance = n / 100 * rate * (1 - rate)
    assert stats.chi2(100).sf(((counts - n / 100 * (1 - rate)) ** 2 / variance).sum()) > LEVEL


def test_dropout_is_independent_between_calls() -> None:
    """Neither seeds, nor calls of one generator, nor neighbours in a mask tell of each other."""
    n = 8192
    x = tg.ones((n,))
    generator = R.SeedGenerator(5)
    layer = tg.layers.Dropout(0.3, seed=9)
    rows = [R.dropout(x, 0.3, seed=s).numpy() for s in range(4)]
    rows += [R.dropout(x, 0.3, seed=generator).numpy() for _ in range(4)]
    rows += [layer(x, training=True).numpy() for _ in range(4)]
    masks = np.stack([row != 0 for row in rows]).astype(np.float64)
    off = np.corrcoef(np.concatenate([masks, np.roll(masks, 1, axis=1)]))
    off = off[np.triu_indices(len(off), 1)]
    assert np.abs(off).max() < 4.5 / np.sqrt(n)
    again = R.dropout(x, 0.3, seed=0).numpy()
    np.testing.assert_array_equal(again, rows[0])


@pytest.mark.parametrize("shape", [(64, 1, 32), (1, 16, 1), (64, 16, 1), (1, 1, 1), (64, 16, 32)])
def test_dropout_with_a_noise_shape(shape: tuple[int, ...]) -> None:
    """One decision for every element along an axis of size 1, and independent ones elsewhere."""
    x = tg.ones((64, 16, 32))
    kept = 0
    for seed in range(8):
        mask = R.dropout(x, 0.4, noise_shape=shape, seed=seed).numpy() != 0
        chosen = mask[tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)]
        np.testing.assert_array_equal(mask, np.broadcast_to(chosen, mask.shape))
        kept += int(chosen.sum())
    assert stats.binomtest(kept, 8 * int(np.prod(shape)), 0.6).pvalue > LEVEL


def shuffled(count: int, rows: int) -> Any:
    """Whole numbers in `count` orders, each by a key of its own."""
    draw = tg.vmap(lambda key: R.shuffle(tg.arange(rows), seed=key))
    return draw(R.split(R.key(1), count)).numpy()


def test_shuffle_makes_every_order_alike() -> None:
    """All 24 orders of four rows, and every place of every row in longer ones."""
    orders: dict[tuple[int, ...], int] = {}
    for row in shuffled(4800, 4):
        orders[tuple(row.tolist())] = orders.get(tuple(row.tolist()), 0) + 1
    assert len(orders) == 24
    assert stats.chisquare(list(orders.values())).pvalue > LEVEL
    rows = shuffled(2000, 50)
    assert (np.sort(rows, axis=1) == np.arange(50)).all()
    table = np.stack([np.bincount(rows[:, place], minlength=50) for place in range(50)])
    statistic = ((table - 40) ** 2 / 40).sum()
    assert stats.chi2(49 * 49).sf(statistic) > LEVEL
    assert stats.chi2(49 * 49).cdf(statistic) > LEVEL


def test_shuffle_moves_whole_slices_and_neighbours_apart() -> None:
    x = tg.arange(3000).reshape(1000, 3)
    found = R.shuffle(x, axis=0, seed=1).numpy()
    np.testing.assert_array_equal(np.sort(found[:, 0]), x.numpy()[:, 0])
    np.testing.assert_array_equal(found - found[:, :1], np.broadcast_to([0, 1, 2], found.shape))
    columns = R.shuffle(x, axis=1, seed=1).numpy()
    np.testing.assert_array_equal(np.sort(columns, axis=1), x.numpy())
    assert len({tuple(row - row.min()) for row in columns}) == 1  # one order for all rows
    # Fixed points of a random order are Poisson with mean 1; of neighbours, 1 in n stays behind.
    orders = shuffled(1000, 100)
    fixed = (orders == np.arange(100)).sum()
    assert abs(fixed - 1000) < 4.5 * np.sqrt(1000)
    follow = (np.diff(orders, axis=1) == 1).sum()
    assert abs(follow - 990) < 4.5 * np.sqrt(990)
    between = np.corrcoef(orders)[np.triu_indices(1000, 1)]
    assert np.abs(between).max() < 6 / np.sqrt(99)
