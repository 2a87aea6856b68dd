"""The op table: windows, pieces of signals, spectra over time, cosine transforms.

Oracles: scipy.signal.windows, scipy.fft, keras.ops and Keras's MelSpectrogram on JAX, and for
TensorFlow's `tf.signal` its definitions (tensorflow.org, API documentation) in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.fft
import scipy.signal

import tabgrad as tg
from tests.ops.building import near
from tests.ops.comparing import Array, Case, random


def _one(*xs: Any) -> float:
    return 1.0


def windows() -> Iterator[Case]:
    plain = {
        "hanning": np.hanning, "hamming": np.hamming, "blackman": np.blackman,
        "bartlett": np.bartlett,
    }  # fmt: skip
    for n in (0, 1, 2, 5, 8, 17):
        for op, oracle in plain.items():
            yield Case(
                op, str(n), lambda n=n, f=op: getattr(tg.ops, f)(n), lambda n=n, f=oracle: f(n), (),
                1, _one,
            )  # fmt: skip
        for beta in (0.0, 5.0, 14.0):
            yield Case(
                "kaiser", f"{n} {beta}", lambda n=n, b=beta: tg.ops.kaiser(n, b),
                lambda n=n, b=beta: np.kaiser(n, b), (), 1, _one,
            )  # fmt: skip
    for name in ("hann", "hamming", "blackman", "bartlett"):
        op = f"signal.{name}_window"
        for n, periodic in ((1, True), (6, True), (7, True), (7, False), (16, False)):
            yield Case(
                op, f"{n} {periodic}",
                lambda n=n, p=periodic, f=name: getattr(tg.signal, f"{f}_window")(n, p),
                lambda n=n, p=periodic, f=name: getattr(scipy.signal.windows, f)(n, sym=not p), (),
                1, _one,
            )  # fmt: skip
    for n, beta, periodic in ((9, 12.0, False), (8, 3.5, True), (1, 2.0, False)):
        yield Case(
            "signal.kaiser_window", f"{n} {beta} {periodic}",
            lambda n=n, b=beta, p=periodic: tg.signal.kaiser_window(n, b, p),
            lambda n=n, b=beta, p=periodic: scipy.signal.windows.kaiser(n, b, sym=not p), (),
            1, _one,
        )  # fmt: skip
    yield Case(
        "signal.cosine_window", "", lambda: tg.signal.cosine_window(9, 0.6, 0.4),
        lambda: scipy.signal.windows.general_hamming(9, 0.6, sym=False), (), 1, _one,
    )  # fmt: skip
    for window in ("hann", "hamming", "blackman", "bartlett", "boxcar", ("kaiser", 4.0)):
        yield Case(
            "signal.get_window", str(window), lambda w=window: tg.signal.get_window(w, 10),
            lambda w=window: scipy.signal.get_window(w, 10), (), 1, _one,
        )  # fmt: skip


def _frames(length: int, step: int, pad_end: bool = False, value: float = 0) -> Any:
    def oracle(x: Array) -> Array:
        n = x.shape[-1]
        count = -(-n // step) if pad_end else max(0, (n - length) // step + 1)
        room = np.full((*x.shape[:-1], n + length + step), value, x.dtype)
        room[..., :n] = x
        rows = [room[..., i * step : i * step + length] for i in range(count)]
        return np.stack(rows, -2) if rows else np.zeros((*x.shape[:-1], 0, length), x.dtype)

    return oracle


def _added(step: int) -> Any:
    def oracle(x: Array) -> Array:
        count, length = x.shape[-2:]
        out = np.zeros((*x.shape[:-2], (count - 1) * step + length), x.dtype)
        for i in range(count):
            out[..., i * step : i * step + length] += x[..., i, :]
        return out

    return oracle


def cutting() -> Iterator[Case]:
    for shape, length, step in (
        ((17,), 4, 2), ((2, 3, 17), 5, 2), ((2, 17), 3, 5), ((2, 17), 17, 4), ((40,), 20, 1),
        ((1, 16), 8, 8), ((9,), 4, 3),
    ):  # fmt: skip
        label = f"{list(shape)} {length} {step}"
        yield Case(
            "extract_sequences", label,
            lambda x, n=length, s=step: tg.ops.extract_sequences(x, n, s), _frames(length, step),
            (random(shape),),
        )  # fmt: skip
        for pad_end in (False, True):
            yield Case(
                "signal.frame", f"{label} {pad_end}",
                lambda x, n=length, s=step, p=pad_end: tg.signal.frame(x, n, s, p, 2.5),
                _frames(length, step, pad_end, 2.5), (random(shape),),
            )  # fmt: skip
    yield Case(
        "signal.frame", "too short", lambda x: tg.signal.frame(x, 5, 2), _frames(5, 2),
        (random((2, 3)),),
    )  # fmt: skip
    yield Case(
        "signal.frame", "axis 0", lambda x: tg.signal.frame(x, 3, 2, axis=0),
        lambda x: np.moveaxis(_frames(3, 2)(np.moveaxis(x, 0, -1)), 0, -1), (random((9, 2)),),
    )  # fmt: skip
    z = (random((2, 9)) + 1j * random((2, 9), 1)).astype(np.complex64)
    for op in ("extract_sequences", "signal.frame"):
        function = tg.signal.frame if "." in op else tg.ops.extract_sequences
        yield Case(op, "complex", lambda x, f=function: f(x, 4, 3), _frames(4, 3), (z,))
    yield Case("signal.overlap_and_add", "complex", lambda x: tg.signal.overlap_and_add(x, 2),
               _added(2), (z.reshape(2, 3, 3),), 4, dtype="complex64")  # fmt: skip
    for shape, step in (((4, 6), 2), ((2, 3, 5), 3), ((1, 4), 4), ((3, 4), 7), ((5, 20), 1)):
        yield Case(
            "signal.overlap_and_add", f"{list(shape)} {step}",
            lambda x, s=step: tg.signal.overlap_and_add(x, s), _added(step), (random(shape),), 4,
            lambda x, s=step: _added(s)(np.abs(x)),
        )  # fmt: skip


def _pair(z: Array) -> list[Array]:
    return [z.real, z.imag]


def _keras(name: str, *args: Any, **options: Any) -> Callable[..., list[Array]]:
    """keras.ops on JAX in float32."""

    def oracle(*xs: Array) -> Any:
        import keras

        given = [x.astype(np.float32) for x in xs]
        value = (given[0], given[1]) if len(given) == 2 else given[0]
        result = getattr(keras.ops, name)(value, *args, **options)
        return [np.asarray(r) for r in (result if isinstance(result, tuple) else (result,))]

    return oracle


def _tf_stft(length: int, step: int, points: int, window: Any, pad_end: bool = False) -> Any:
    weights = scipy.signal.get_window(window, length) if window else np.ones(length)
    return lambda x: np.fft.rfft(_frames(length, step, pad_end)(x) * weights, points)


def _mel(bins: int, frequencies: int, rate: float, low: float, high: float) -> Array:
    def mel(f: Any) -> Any:
        return 1127 * np.log(1 + f / 700)

    at = mel(np.linspace(0, rate / 2, frequencies)[1:, None])
    edges = np.linspace(mel(low), mel(high), bins + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rows = np.maximum(0, np.minimum((at - left) / (centre - left), (right - at) / (right - centre)))
    return np.pad(rows, ((1, 0), (0, 0)))


def _mfcc(x: Array) -> Array:
    size = np.abs(_tf_stft(400, 160, 512, "hann")(x))
    mel = np.log(size @ _mel(40, 257, 16000, 20, 8000) + 1e-6)
    return scipy.fft.dct(mel)[..., :13] / np.sqrt(80)


def _centred(
    length: int, step: int, points: int, window: str | None = "hann", center: bool = True
) -> Callable[[Array], Array]:
    """The transform of keras.ops.stft: the window in the middle of each piece."""
    before = (points - length) // 2
    weights = scipy.signal.get_window(window, length) if window else np.ones(length)
    weights = np.pad(weights, (before, points - length - before))

    def oracle(x: Array) -> Array:
        if center:
            widths = [(0, 0)] * (x.ndim - 1) + [(points // 2, points // 2)]
            x = np.pad(x, widths, mode="reflect")
        return np.fft.rfft(_frames(points, step)(x) * weights)

    return oracle


def _decibels(x: Array) -> Array:
    """MelSpectrogram with 64 points, 16 apart, and 8 bands."""
    power = np.abs(_centred(64, 16, 64)(x)) ** 2
    mel = 10 * np.log10(np.maximum(power @ _mel(8, 33, 16000, 20, 8000), 1e-10))
    return np.swapaxes(np.maximum(mel, mel.max() - 80), -1, -2)


def _mel_spectrogram(**options: Any) -> Callable[[Array], Array]:
    def oracle(x: Array) -> Array:
        import keras

        return np.asarray(keras.layers.MelSpectrogram(**options)(x.astype(np.float32)))

    return oracle


def spectra() -> Iterator[Case]:
    for label, shape, options in (
        ("plain", (50,), (8, 4, 8)),
        ("batch", (2, 3, 50), (8, 3, 16)),
        ("odd", (2, 60), (7, 5, 9, "hamming")),
        ("no window", (40,), (16, 8, 16, None, False)),
        ("not centred", (2, 40), (12, 4, 16, "hann", False)),
    ):
        yield near(
            "stft", label, lambda x, o=options: tg.ops.stft(x, *o), _keras("stft", *options),
            random(shape), ulp=8, slow=True,
        )  # fmt: skip
        points = options[2]
        window = {"hann" if len(options) < 4 else options[3]}
        frames = (9, points // 2 + 1)  # JAX loses points of signals of few pieces
        lead = shape[:-1]
        if window != {None}:
            # Keras divides by the stride instead of the number of points without a window.
            yield near(
                "istft", label,
                lambda x, y, o=options: tg.ops.istft((x, y), *o[:3], None, *o[3:]),
                _keras("istft", *options[:3], None, *options[3:]),
                random((*lead, *frames)), random((*lead, *frames), 1), ulp=16,
                slow=True,
            )  # fmt: skip
    yield near(
        "istft", "length", lambda x, y: tg.ops.istft((x, y), 8, 4, 8, length=10),
        _keras("istft", 8, 4, 8, length=10), random((2, 5, 5)), random((2, 5, 5), 1), ulp=16,
        slow=True,
    )  # fmt: skip
    signal = random((2, 64))
    for label, args in (
        ("plain", (8, 4, 8)), ("odd", (7, 5, 9, "hamming")),
        ("no window", (16, 8, 16, None, False)), ("longer", (12, 4, 16, "hann", False)),
    ):  # fmt: skip
        yield near(
            "stft", f"NumPy {label}", lambda x, a=args: tg.ops.stft(x, *a),
            lambda x, a=args: _pair(_centred(*a)(x)), signal, ulp=8,
        )  # fmt: skip
        yield near(
            "istft", f"undoes stft {label}",
            lambda x, a=args: tg.ops.istft(tg.ops.stft(x, *a), *a[:3], None, *a[3:])[..., 8:40],
            lambda x: x[..., 8:40], signal, ulp=32,
        )  # fmt: skip
    yield near(
        "signal.mel_spectrogram", "NumPy",
        lambda x: tg.signal.mel_spectrogram(x, 64, 16, num_mel_bins=8), _decibels,
        random((2, 200)), ulp=64,
    )  # fmt: skip
    for label, args in (
        ("hann", (16, 8, 16, "hann")), ("longer", (10, 4, 32, "hamming")),
        ("no window", (8, 8, 8, None)), ("padded", (16, 8, 16, "hann", True)),
    ):  # fmt: skip
        yield near(
            "signal.stft", label, lambda x, a=args: tg.signal.stft(x, *a), _tf_stft(*args), signal,
            ulp=8, dtype="complex64",
        )  # fmt: skip
    yield near(
        "signal.stft", "next power of two", lambda x: tg.signal.stft(x, 10, 5),
        _tf_stft(10, 5, 16, "hann"), signal, ulp=8, dtype="complex64",
    )  # fmt: skip
    for label, length, step, points in (("", 16, 4, 16), ("zeros behind", 12, 3, 32)):
        # What the windows cover comes back; the first point has weight 0.
        yield near(
            "signal.istft",
            f"undoes stft {label}",
            lambda x, n=length, s=step, p=points: tg.signal.istft(
                tg.signal.stft(x, n, s, p), n, s, p
            )[..., 1:],
            lambda x, n=length, s=step: x[..., 1 : (x.shape[-1] - n) // s * s + n],
            signal,
            ulp=32,
        )
    for label, args in {
        "tf": (20, 129, 8000, 125.0, 3800.0), "wide": (40, 65, 16000, 0.0, 8000.0),
    }.items():  # fmt: skip
        yield Case(
            "signal.linear_to_mel_weight_matrix", label,
            lambda a=args: tg.signal.linear_to_mel_weight_matrix(*a), lambda a=args: _mel(*a), (),
            1, _one,
        )  # fmt: skip
    for label, options in (
        ("", {"fft_length": 64, "sequence_stride": 16, "num_mel_bins": 8}),
        (
            "amplitude",
            {
                "fft_length": 32, "sequence_stride": 8, "sequence_length": 20, "num_mel_bins": 5,
                "mag_exp": 1.0, "power_to_db": False, "max_freq": 6000.0,
            },
        ),
    ):  # fmt: skip
        yield near(
            "signal.mel_spectrogram", label,
            lambda x, o=options: tg.signal.mel_spectrogram(x, **o), _mel_spectrogram(**options),
            random((2, 200)), ulp=64, slow=True,
        )  # fmt: skip
    yield near("signal.mfcc", "", lambda x: tg.signal.mfcc(x), _mfcc, random((2, 1000)), ulp=64)
    yield near(
        "signal.mfccs_from_log_mel_spectrograms",
        "",
        tg.signal.mfccs_from_log_mel_spectrograms,
        lambda x: scipy.fft.dct(x) / np.sqrt(2 * x.shape[-1]),
        random((3, 4, 20)),
        ulp=4,
    )


def cosines() -> Iterator[Case]:
    for name in ("dct", "idct"):
        oracle = getattr(scipy.fft, name)
        for kind in (1, 2, 3, 4):
            for norm in (None, "ortho", "forward"):
                for shape in ((2, 8), (1, 17), (2, 2)):
                    yield near(
                        f"signal.{name}", f"{kind} {norm} {list(shape)}",
                        lambda x, k=kind, m=norm, f=name: getattr(tg.signal, f)(x, k, norm=m),
                        lambda x, k=kind, m=norm, f=oracle: f(x, k, norm=m),
                        random(shape), ulp=4, slow=shape[1] == 17 and norm is not None,
                    )  # fmt: skip
        yield near(
            f"signal.{name}", "sizes", lambda x, f=name: getattr(tg.signal, f)(x, 2, 9, 0),
            lambda x, f=oracle: f(x, 2, 9, 0), random((6, 3)), ulp=4,
        )  # fmt: skip


CASES = [*windows(), *cutting(), *spectra(), *cosines()]
