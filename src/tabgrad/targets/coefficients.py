"""The numbers that scalar functions are made of, for every target: polynomials, pi, log(2).

The two widths of floats with what exp, log and erf need for each, and what sin, cos, tan and atan2
of 32-bit floats need. Every list of coefficients, highest power first, is what tools/fit_math.py
prints for the name in front. What one target alone uses is beside its functions.
"""

from __future__ import annotations

from dataclasses import dataclass

LOG2_E = 1.4426950408889634


@dataclass(frozen=True)
class Precision:
    """A width of floats and its constants."""

    bits: int
    fraction: int  # bits of a significand that are stored
    bias: int  # what an exponent's bits are too large by
    # Adding it to a float less than half as large rounds that to an integer, and leaves the
    # integer in the low bits of the sum.
    round: float
    # log(2): so few bits that a product with an exponent is exact, and the rest.
    ln2_high: float
    ln2_low: float
    # Arguments at which exp has underflowed and overflowed, and at which expm1 is -1 all the more.
    underflow: float
    overflow: float
    expm1_low: float
    lift: int  # 2**lift makes subnormal numbers normal ones
    sqrt_half_bits: int
    exp_tail: tuple[float, ...]
    exp2: tuple[float, ...]
    log_tail: tuple[float, ...]
    erf_split: float
    erf_small: tuple[float, ...]
    erf_limit: float  # erf is 1 from here on
    log2_erfc: tuple[float, ...]

    @property
    def exp_series(self) -> tuple[float, ...]:
        """exp(r), of which `exp_tail` is all but the first two terms."""
        return (*self.exp_tail, 1.0, 1.0)

    @property
    def sign(self) -> int:
        """The sign bit, as a signed integer."""
        return -(1 << self.bits - 1)

    @property
    def one_bits(self) -> int:
        """The bits of 1.0."""
        return self.bias << self.fraction

    @property
    def infinity_bits(self) -> int:
        """The bits of infinity."""
        return (2 * self.bias + 1) << self.fraction

    @property
    def fraction_bits(self) -> int:
        """The bits that hold the significand."""
        return (1 << self.fraction) - 1

    @property
    def exponent_bits(self) -> int:
        """The sign bit and those that hold the exponent, as a signed integer."""
        return -(1 << self.fraction)

    @property
    def normal(self) -> float:
        """The smallest number that is not subnormal."""
        return 2.0 ** (1 - self.bias)


SINGLE = Precision(
    bits=32,
    fraction=23,
    bias=127,
    round=12582912.0,
    ln2_high=0.693359375,
    ln2_low=-2.12194440e-4,
    underflow=-104.0,
    overflow=89.0,
    expm1_low=-17.5,
    lift=25,
    sqrt_half_bits=0x3F3504F3,
    # exp: (exp(r) - 1 - r) / r**2, |r| <= log(2) / 2, error 2**-25.8 relative to expm1(r)
    exp_tail=(0.0013882512, 0.00836658, 0.0416672, 0.16666543, 0.49999997),
    # exp2: 2**r, |r| <= 0.5, error 2**-25.9 relative
    exp2=(
        0.00015345815, 0.0013399931, 0.009618489, 0.055503286, 0.24022646, 0.6931472, 1.0,
    ),
    # log: (log(1 + r) - r + r**2 / 2) / r**3, r in [sqrt(1/2) - 1, sqrt(2) - 1], error 2**-28.1
    # relative to log(1 + r)
    log_tail=(
        0.06746611, -0.11675619, 0.118881576, -0.124055944, 0.14219554, -0.16667995, 0.20002119,
        -0.2500001, 0.33333313,
    ),
    erf_split=0.921875,
    # erf near 0: erf(x) / x - 1 in x**2, x in [0, 0.921875], error 2**-26.5 relative to erf(x)
    erf_small=(
        8.3700994e-05, -0.0008142704, 0.0052010324, -0.026859399, 0.11283696, -0.37612635,
        0.12837917,
    ),
    erf_limit=4.0,
    # erf: log2(erfc(x)), x in [0.921875, 4], error 2**-27.6 relative to erf(x)
    log2_erfc=(
        -3.04677e-05, 0.0006271898, -0.006019475, 0.036244683, -0.1562229, -0.9137194, -1.629549,
        0.00025274043,
    ),
)  # fmt: skip

DOUBLE = Precision(
    bits=64,
    fraction=52,
    bias=1023,
    round=6755399441055744.0,
    ln2_high=0.6931471805601177,
    ln2_low=-1.7239444525614835e-13,
    underflow=-746.0,
    overflow=710.0,
    expm1_low=-38.0,
    lift=54,
    sqrt_half_bits=0x3FE6A09E667F3BCD,
    # double exp: (exp(r) - 1 - r) / r**2, |r| <= log(2) / 2, error 2**-59.7 relative to expm1(r)
    exp_tail=(
        2.087534361433029e-09, 2.510908134388235e-08, 2.755740287533093e-07, 2.755724410429589e-06,
        2.4801587171942377e-05, 0.0001984126988620789, 0.0013888888888962836, 0.008333333333321608,
        0.041666666666666505, 0.16666666666666677, 0.5,
    ),
    # double exp2: (2**r - 1) / r, |r| <= 0.5, error 2**-55.6 relative to 2**r; then 1
    exp2=(
        2.561652654493373e-11, 4.456583187381604e-10, 7.05498068267666e-09, 1.0178051865987354e-07,
        1.3215486578853902e-06, 1.5252733854478847e-05, 0.00015403530393659544,
        0.001333355814639255, 0.00961812910762832, 0.05550410866482169, 0.24022650695910072,
        0.6931471805599453, 1.0,
    ),
    # double log: (log((1 + s) / (1 - s)) / s - 2) / s**2 in s**2, |s| <= 3 - 2 sqrt(2), error
    # 2**-59.3 relative to the logarithm
    log_tail=(
        0.1479546818012552, 0.15314099480881097, 0.18183562382198107, 0.22222198611177993,
        0.2857142874201209, 0.39999999999416386, 0.6666666666666734,
    ),
    erf_split=0.75,
    # double erf near 0: erf(x) / x - 1 in x**2, x in [0, 0.75], error 2**-56.3 relative to erf(x)
    erf_small=(
        7.267637321291719e-11, -1.1956686574682805e-09, 1.4776369713448451e-08,
        -1.6363991686415348e-07, 1.6462038803129398e-06, -1.4925648237135103e-05,
        0.000120553329409546, -0.0008548327022923352, 0.005223977625437809, -0.026866170645131034,
        0.11283791670955125, -0.37612638903183754, 0.1283791670955126,
    ),
    erf_limit=6.0,
    # double erf: log2(erfc(x)), x in [0.75, 6], error 2**-57.6 relative to erf(x)
    log2_erfc=(
        -3.240276150599898e-13, 1.583944385672259e-11, -3.6500192965357856e-10,
        5.27197058459217e-09, -5.349385219500711e-08, 4.04578264093348e-07, -2.3564419902942627e-06,
        1.072599140480545e-05, -3.799862947253453e-05, 0.00010097596222490701,
        -0.0001752870634743891, 5.729660132238309e-05, 0.0007629829289317314,
        -0.0023806294041448023, 0.0002621394187334214, 0.027614848263832474, -0.1482758488626477,
        -0.918446657634006, -1.6279072604260125, 1.6506802981376466e-08,
    ),
)  # fmt: skip

# pi rounded to 24 bits, and what that leaves.
PI_HIGH, PI_LOW = 3.1415927410125732, -8.742277657347586e-08

# sin: (sin(x) - x) / x**3 in x**2, |x| <= pi / 4, error 2**-26.7 relative to sin(x)
SIN_TAIL = (-0.0001951463, 0.008332156, -0.16666655)
# cos: (cos(x) - 1 + x**2 / 2) / x**4 in x**2, |x| <= pi / 4, error 2**-32.8 relative to cos(x)
COS_TAIL = (2.4432413e-05, -0.001388731, 0.041666646)
# tan: (tan(x) - x) / x**3 in x**2, |x| <= pi / 4, error 2**-29.5 relative to tan(x), float64
TAN_TAIL = (
    0.004387091373219865, 6.816948422719604e-05, 0.01085220975185679, 0.02127604510736408,
    0.05406106897604361, 0.13332653511084744, 0.333333500295716,
)  # fmt: skip
# atan: (atan(x) - x) / x**3 in x**2, x in [0, 1], error 2**-27.3 relative to atan(x)
ATAN_TAIL = (
    -0.0017936204, 0.010914599, -0.031177832, 0.05795758, -0.084034495, 0.10952185, -0.14264242,
    0.19998549, -0.333333,
)  # fmt: skip

# Three zero bits, then the bits of 2/pi after the point, in words of 32.
TWO_OVER_PI_WORDS = (
    0x145F306D, 0xC9C882A5, 0x3F84EAFA, 0x3EA69BB8, 0x1B6C52B3, 0x27887208, 0x3FCA2C75,
)  # fmt: skip

# Threefry-2x32: how far words are rotated in rounds of four, and what the third key is made with.
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
