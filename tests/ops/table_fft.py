"""The op table: Fourier transforms, against numpy.fft in double precision.

Errors are measured in units of the largest magnitude of the result, and grow with the number of
stages, the logarithm of the size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.building import of_largest
from tests.ops.comparing import Array, Case, random

QUICK = (1, 2, 3, 8, 15, 17, 60, 67, 128)
SLOW = (4, 5, 7, 9, 16, 18, 31, 32, 49, 63, 64, 97, 101, 127, 134, 210, 243, 256, 257, 499, 1000,
        1009, 1024, 4096)  # fmt: skip
"""Powers, products of small primes, primes with a stage of their own, and those that need a chirp:
67 and above."""


def _complex(shape: tuple[int, ...], seed: int = 0) -> Array:
    return (random(shape, seed) + 1j * random(shape, seed + 1)).astype(np.complex64)


def case(
    op: str, label: str, call: Callable[..., Any], oracle: Callable[..., Any], *inputs: Array,
    ulp: float, dtype: str = "float32", **options: Any,
) -> Case:  # fmt: skip
    return Case(op, label, call, oracle, inputs, ulp, of_largest(oracle), dtype, **options)


def _units(n: int) -> float:
    return 1 + np.log2(n)


def pairs() -> Iterator[Case]:
    """keras.ops on (real, imag)."""
    for n in (*QUICK, *SLOW):
        x, y = random((3, n), n), random((3, n), n + 1)
        for op in ("fft", "ifft"):
            if op == "ifft" and n not in QUICK:
                continue
            yield case(
                op,
                str(n),
                lambda x, y, f=op: getattr(tg.ops, f)((x, y)),
                lambda x, y, f=op: _split(getattr(np.fft, f)(x + 1j * y)),
                x,
                y,
                ulp=_units(n),
                slow=n not in QUICK,
            )
    for shape in ((4, 6), (2, 3, 5), (1, 17)):
        for op in ("fft2", "ifft2"):
            yield case(
                op, str(shape), lambda x, y, f=op: getattr(tg.ops, f)((x, y)),
                lambda x, y, f=op: _split(getattr(np.fft, f)(x + 1j * y)),
                random(shape), random(shape, 1), ulp=_units(64),
            )  # fmt: skip
    for n, size in ((8, None), (9, None), (1, None), (6, 11), (12, 7), (100, 128), (67, None)):
        yield case(
            "rfft", f"{n} to {size}", lambda x, s=size: tg.ops.rfft(x, s),
            lambda x, s=size: _split(np.fft.rfft(x, s)), random((2, n)), ulp=_units(size or n),
        )  # fmt: skip
    for m, size in ((5, None), (5, 9), (2, None), (4, 11), (9, 8), (3, 1), (34, 67)):
        yield case(
            "irfft", f"{m} to {size}", lambda x, y, s=size: tg.ops.irfft((x, y), s),
            lambda x, y, s=size: np.fft.irfft(x + 1j * y, s), random((2, m)), random((2, m), 1),
            ulp=_units(size or 2 * m),
        )  # fmt: skip


def doubles() -> Iterator[Case]:
    """In float64 the roots of unity must be as good as the arithmetic."""
    for n in (12, 67, 1000):
        x, y = (np.random.default_rng(i).uniform(-1, 1, (2, n)) for i in range(2))
        yield case(
            "fft", f"{n} float64", lambda x, y: tg.ops.fft((x, y)),
            lambda x, y: _split(np.fft.fft(x + 1j * y)), x, y, ulp=_units(n), dtype="float64",
        )  # fmt: skip
        yield case(
            "fft.irfft", f"{n} complex128", lambda z, n=n: tg.fft.irfft(z, n=n),
            lambda z, n=n: np.fft.irfft(z, n), x + 1j * y, ulp=_units(n), dtype="float64",
        )  # fmt: skip


def _split(z: Array) -> list[Array]:
    return [z.real, z.imag]


def _named(name: str, label: str, *inputs: Array, slow: bool = False, **options: Any) -> Case:
    size = max(inputs[0].size, 2)
    real = name in ("irfft", "irfftn", "hfft")
    oracle = getattr(np.fft, name)
    return case(
        f"fft.{name}", label, lambda x: getattr(tg.fft, name)(x, **options),
        lambda x: oracle(x, **options), *inputs, ulp=_units(size),
        dtype="float32" if real else "complex64", slow=slow,
    )  # fmt: skip


def standard() -> Iterator[Case]:
    """The Array API's functions."""
    z, x = _complex((4, 6, 5)), random((4, 6, 5))
    for name in ("fft", "ifft"):
        yield _named(name, "complex", z)
        yield _named(name, "real", x)
        yield _named(name, "axis 0", z, axis=0)
        yield _named(name, "one point", z, n=1)
        yield _named(name, "longer", z, n=9, axis=1, norm="ortho")
        yield _named(name, "shorter", z, n=3, axis=-2, norm="forward")
        yield _named(name, "many points", _complex((1, 4099)), slow=True)
    for name in ("fftn", "ifftn"):
        yield _named(name, "all", z)
        yield _named(name, "two axes", z, axes=(2, 0), norm="ortho")
        yield _named(name, "sizes", z, s=(3, 8), axes=(0, 1), norm="forward")
        yield _named(name, "real", x, axes=(-1,))
        yield _named(name, "no axis", z, axes=())
    for name in ("rfft", "ihfft"):
        yield _named(name, "", x)
        yield _named(name, "axis", x, axis=1, norm="ortho")
        yield _named(name, "size", x, n=8, axis=0, norm="forward")
        yield _named(name, "a prime", random((2, 101)), slow=True)
    for name in ("irfft", "hfft"):
        yield _named(name, "", z)
        yield _named(name, "odd", z, n=7)
        yield _named(name, "axis", z, axis=1, norm="ortho")
        yield _named(name, "real", x, n=4, axis=0, norm="forward")
    yield _named("rfftn", "", x)
    yield _named("rfftn", "two axes", x, axes=(1, 0), norm="ortho")
    yield _named("rfftn", "sizes", x, s=(3, 8), axes=(0, 2), norm="forward")
    yield _named("irfftn", "", z)
    yield _named("irfftn", "two axes", z, axes=(1, 0), norm="ortho")
    yield _named("irfftn", "sizes", z, s=(3, 7), axes=(0, 2), norm="forward")
    for n in (1, 2, 5, 8):
        for name in ("fftfreq", "rfftfreq"):
            yield Case(
                f"fft.{name}", str(n), lambda n=n, f=name: getattr(tg.fft, f)(n, d=0.3),
                lambda n=n, f=name: getattr(np.fft, f)(n, 0.3), (), 1,
            )  # fmt: skip
    for name in ("fftshift", "ifftshift"):
        for axes in (None, 1, (0, 2)):
            for kind, value in (("real", x), ("complex", z)):
                yield Case(
                    f"fft.{name}", f"{kind} {axes}",
                    lambda x, a=axes, f=name: getattr(tg.fft, f)(x, axes=a),
                    lambda x, a=axes, f=name: getattr(np.fft, f)(x, a), (value,),
                )  # fmt: skip


CASES = [*pairs(), *doubles(), *standard()]
