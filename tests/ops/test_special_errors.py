"""What functions of single elements refuse, and what they say."""

from __future__ import annotations

import pytest

import tabgrad as tg
from tabgrad.errors import DtypeError, ShapeError


@pytest.mark.parametrize("name", ["gcd", "lcm"])
def test_divisors_are_of_integers(name: str) -> None:
    with pytest.raises(DtypeError, match=rf"{name} expected .* integer .* received float32\. Cast"):
        getattr(tg.ops, name)(tg.tensor([1.5]), 2)


def test_exponents_are_integers() -> None:
    with pytest.raises(DtypeError, match=r"ldexp expected .* integer .* float32.*exp2"):
        tg.ops.ldexp(1.0, tg.tensor([0.5]))


def test_shifts_are_of_integers() -> None:
    with pytest.raises(
        DtypeError, match=r"bitwise_left_shift expected integers.*; received float32"
    ):
        tg.ops.left_shift(tg.tensor([1.5]), tg.tensor([1.0]))


@pytest.mark.parametrize("name", ["hypot", "logaddexp", "copysign", "nextafter", "fmod", "fmax"])
def test_shapes_must_broadcast(name: str) -> None:
    with pytest.raises(ShapeError, match=rf"{name} expected shapes that broadcast .* \[2\] and"):
        getattr(tg.ops, name)(tg.ones((2,)), tg.ones((3,)))


@pytest.mark.parametrize("name", ["erfc", "cbrt", "hypot", "sinc", "i0", "erfinv"])
def test_complex_numbers_are_refused(name: str) -> None:
    z = tg.complex([1.0], [2.0])
    with pytest.raises(DtypeError, match="complex"):
        getattr(tg.ops, name)(*([z, z] if name == "hypot" else [z]))
