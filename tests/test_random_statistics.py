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
