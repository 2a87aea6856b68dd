"""Random numbers from a counter: Keras's functions and signatures, and JAX's distributions and keys
in the same style (shape first, seed last).

`seed` is an int (the same numbers every time), a key (a uint32 tensor of two, from `key`, `split`
or `fold_in`), a `SeedGenerator` (new numbers at every call, inside compiled functions, too), or
None for the global generator, which `tg.random.seed` restarts. The numbers are the same on every
engine.
"""

from tabgrad.ops.public import publish
from tabgrad.random.continuous import (
    cauchy,
    dropout,
    exponential,
    gumbel,
    laplace,
    logistic,
    multivariate_normal,
    normal,
    truncated_normal,
    uniform,
)
from tabgrad.random.discrete import (
    bernoulli,
    categorical,
    choice,
    permutation,
    rademacher,
    randint,
    shuffle,
)
from tabgrad.random.keys import SeedGenerator, bits, fold_in, global_generator, key, seed, split
from tabgrad.random.rejection import (
    beta,
    binomial,
    dirichlet,
    gamma,
    loggamma,
    multinomial,
    poisson,
)

__all__ = [
    "SeedGenerator",
    "bernoulli",
    "beta",
    "binomial",
    "bits",
    "categorical",
    "cauchy",
    "choice",
    "dirichlet",
    "dropout",
    "exponential",
    "fold_in",
    "gamma",
    "global_generator",
    "gumbel",
    "key",
    "laplace",
    "loggamma",
    "logistic",
    "multinomial",
    "multivariate_normal",
    "normal",
    "permutation",
    "poisson",
    "rademacher",
    "randint",
    "seed",
    "shuffle",
    "split",
    "truncated_normal",
    "uniform",
]

publish(globals())
