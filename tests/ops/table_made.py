"""The op table: what is made of numbers alone, in every size and dtype that its arguments allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.signal

import tabgrad as tg
from tests.ops.comparing import SIZES, Array, Case
from tests.ops.table_signal import _mel

DTYPES = ("bool", "int32", "int64", "uint8", "float16", "float32", "float64", "complex64")

SHAPES = ((), (0,), (1,), (1, 1), (3, 0), *((n,) for n in SIZES[2:]), (4, 5, 8))


def _one(*xs: Any) -> float:
    return 1.0


def _case(
    op: str, label: str, call: Callable[[], Any], oracle: Callable[[], Any], ulp: float | None,
    dtype: str = "float32", *, slow: bool = False,
) -> Case:  # fmt: skip
    scale = _one if ulp is not None else None
    return Case(op, label, call, oracle, (), ulp, scale, dtype, slow=slow)


def filled() -> Iterator[Case]:
    for op, value in (("zeros", 0), ("ones", 1), ("empty", 0), ("full", 3)):
        for dtype in DTYPES:
            for shape in SHAPES:
                if dtype != "float32" and shape not in ((), (3, 0), (17,)):
                    continue

                def call(op: str = op, shape: Any = shape, dtype: str = dtype) -> Any:
                    made = getattr(tg.ops, op)
                    result = made(shape, 3, dtype) if op == "full" else made(shape, dtype)
                    return tg.ops.zeros_like(result) if op == "empty" else result

                yield _case(
                    op, f"{dtype} {list(shape)}", call,
                    lambda s=shape, v=value, d=dtype: np.full(s, v, d), None, slow=len(shape) == 1,
                )  # fmt: skip
    for dtype in DTYPES:
        for shape in SHAPES:
            x = np.ones(shape, dtype)
            yield Case(
                "empty_like", f"{dtype} {list(shape)}",
                lambda x: tg.ops.zeros_like(tg.ops.empty_like(x)), np.zeros_like, (x,),
                slow=dtype != "float32" or len(shape) == 1,
            )  # fmt: skip
        for shape in ((2, 3), (0, 3), (5, 17)):
            x = np.ones(shape, np.float32)
            yield Case(
                "empty_like", f"of another dtype {dtype} {list(shape)}",
                lambda x, d=dtype: tg.ops.zeros_like(tg.ops.empty_like(x, d)),
                lambda x, d=dtype: np.zeros_like(x, d), (x,), slow=dtype != "int32",
            )  # fmt: skip


def matrices() -> Iterator[Case]:
    for n in (0, 1, *SIZES[2:]):
        for op, theirs in (("eye", np.eye), ("identity", np.identity), ("tri", np.tri)):
            for dtype in DTYPES:
                if dtype == "float32" or n == 3:
                    yield _case(
                        op, f"{n} {dtype}",
                        lambda n=n, d=dtype, op=op: getattr(tg.ops, op)(n, dtype=d),
                        lambda n=n, d=dtype, f=theirs: f(n, dtype=d), None, slow=n != 3,
                    )  # fmt: skip


def ranges() -> Iterator[Case]:
    for n in SIZES:
        for dtype in DTYPES:
            if dtype in ("bool", "complex64") or (dtype != "float32" and n not in (0, 5)):
                continue
            yield _case(
                "arange", f"{n} {dtype}", lambda n=n, d=dtype: tg.ops.arange(2, n + 2, dtype=d),
                lambda n=n, d=dtype: np.arange(2, n + 2, dtype=d), None, slow=n != 5,
            )  # fmt: skip
        for dtype in ("float16", "float32", "float64"):
            if n and (dtype == "float32" or n == 5):
                for name in ("fftfreq", "rfftfreq"):
                    size = n if name == "fftfreq" else 2 * n - 1
                    yield _case(
                        f"fft.{name}", f"{n} {dtype} of 1",
                        lambda n=size, d=dtype, f=name: getattr(tg.fft, f)(n, dtype=d),
                        lambda n=size, f=name: getattr(np.fft, f)(n), 1, dtype, slow=n != 5,
                    )  # fmt: skip
    for dtype in ("float16", "float32", "float64"):
        for n in SIZES:
            if dtype != "float32" and n not in (0, 5):
                continue
            near = {"ulp": 64, "dtype": dtype, "slow": n != 5}
            ends = np.array([0.5, 1]).astype(dtype), np.array([4, 0.25]).astype(dtype)
            for op in ("logspace", "geomspace"):
                for label, inputs in (("", ends), (" to numbers", ends[:1])):
                    stop = () if len(inputs) == 2 else (2.0,)
                    yield Case(
                        op, f"{n} {dtype}{label}",
                        lambda *xs, n=n, op=op, s=stop: getattr(tg.ops, op)(*xs, *s, n),
                        lambda *xs, n=n, op=op, s=stop: getattr(np, op)(*xs, *s, n), inputs,
                        **near,
                    )  # fmt: skip


def windows() -> Iterator[Case]:
    plain = {
        "hanning": np.hanning, "hamming": np.hamming, "blackman": np.blackman,
        "bartlett": np.bartlett, "kaiser": lambda n: np.kaiser(n, 3.5),
    }  # fmt: skip
    for n in SIZES:
        for op, oracle in plain.items():
            more = (3.5,) if op == "kaiser" else ()
            yield _case(
                op, f"of {n} points", lambda n=n, op=op, m=more: getattr(tg.ops, op)(n, *m),
                lambda n=n, f=oracle: f(n), 1, slow=n != 5,
            )  # fmt: skip
        for dtype in ("float16", "float32", "float64"):
            if dtype != "float32" and n != 5:
                continue
            slow = n != 5
            for name in ("hann", "hamming", "blackman", "bartlett"):
                yield _case(
                    f"signal.{name}_window", f"of {n} points {dtype}",
                    lambda n=n, d=dtype, f=name: getattr(tg.signal, f"{f}_window")(n, dtype=d),
                    lambda n=n, f=name: getattr(scipy.signal.windows, f)(n, sym=False), 1, dtype,
                    slow=slow,
                )  # fmt: skip
            yield _case(
                "signal.kaiser_window", f"of {n} points {dtype}",
                lambda n=n, d=dtype: tg.signal.kaiser_window(n, 3.5, dtype=d),
                lambda n=n: scipy.signal.windows.kaiser(n, 3.5), 1, dtype, slow=slow,
            )  # fmt: skip
            yield _case(
                "signal.cosine_window", f"of {n} points {dtype}",
                lambda n=n, d=dtype: tg.signal.cosine_window(n, 0.6, 0.4, dtype=d),
                lambda n=n: scipy.signal.windows.general_hamming(n, 0.6, sym=False), 1, dtype,
                slow=slow,
            )  # fmt: skip
            yield _case(
                "signal.get_window", f"of {n} points {dtype}",
                lambda n=n, d=dtype: tg.signal.get_window("hann", n, d),
                lambda n=n: scipy.signal.windows.hann(n, sym=False), 1, dtype, slow=slow,
            )  # fmt: skip
            if not n:
                continue
            yield _case(
                "signal.linear_to_mel_weight_matrix", f"{n} bands {dtype}",
                lambda n=n, d=dtype: tg.signal.linear_to_mel_weight_matrix(n, 17, dtype=d),
                lambda n=n: _mel(n, 17, 8000, 125, 3800), 64 if dtype == "float64" else 1,
                dtype, slow=slow,
            )  # fmt: skip
    yield _case(
        "signal.linear_to_mel_weight_matrix", "one of one",
        lambda: tg.signal.linear_to_mel_weight_matrix(1, 1), lambda: np.zeros((1, 1)), 0,
    )  # fmt: skip


def ragged() -> Iterator[Case]:
    def ranged(starts: Array, limits: Array) -> list[Array]:
        rows = [np.arange(a, b, dtype=starts.dtype) for a, b in zip(starts, limits, strict=True)]
        ends = np.cumsum([0, *map(len, rows)]).astype(np.int32)
        return [ends, np.concatenate([*rows, np.zeros(0, starts.dtype)])]

    for n in SIZES:
        for dtype in ("int32", "uint8", "float32"):
            if dtype == "int32" or n in (0, 5):
                starts = (np.arange(n) % 3).astype(dtype)
                yield Case(
                    "segment.ragged_range", f"{n} rows of {dtype}", tg.segment.ragged_range,
                    ranged, (starts, starts + np.arange(n).astype(dtype)), slow=n != 5,
                )  # fmt: skip


CASES = [
    case
    for part in (filled, matrices, ranges, windows, ragged)
    for case in part()
]  # fmt: skip

FLOATING: dict[str, Callable[[str], Any]] = {
    "signal.hann_window": lambda dtype: tg.signal.hann_window(4, dtype=dtype),
    "signal.hamming_window": lambda dtype: tg.signal.hamming_window(4, dtype=dtype),
    "signal.blackman_window": lambda dtype: tg.signal.blackman_window(4, dtype=dtype),
    "signal.bartlett_window": lambda dtype: tg.signal.bartlett_window(4, dtype=dtype),
    "signal.kaiser_window": lambda dtype: tg.signal.kaiser_window(4, dtype=dtype),
    "signal.cosine_window": lambda dtype: tg.signal.cosine_window(4, 0.5, 0.5, dtype=dtype),
    "signal.get_window": lambda dtype: tg.signal.get_window("hann", 4, dtype),
    "signal.linear_to_mel_weight_matrix": lambda dtype: tg.signal.linear_to_mel_weight_matrix(
        3, 17, dtype=dtype
    ),
    "fft.fftfreq": lambda dtype: tg.fft.fftfreq(4, dtype=dtype),
    "fft.rfftfreq": lambda dtype: tg.fft.rfftfreq(4, dtype=dtype),
}

REFUSED: dict[tuple[str, str], Callable[[], Any]] = {
    (op, kind): lambda call=call, dtype=dtype: call(dtype)  # type: ignore[misc]
    for op, call in FLOATING.items()
    for kind, dtype in (
        ("bool", "bool"), ("signed", "int32"), ("unsigned", "uint8"), ("complex", "complex64"),
    )
}  # fmt: skip
REFUSED["signal.linear_to_mel_weight_matrix", "empty"] = lambda: (
    tg.signal.linear_to_mel_weight_matrix(0, 17)
)
REFUSED["fft.fftfreq", "empty"] = lambda: tg.fft.fftfreq(0)
REFUSED["fft.rfftfreq", "empty"] = lambda: tg.fft.rfftfreq(0)
REFUSED["arange", "bool"] = lambda: tg.ops.arange(3, dtype="bool")
REFUSED["arange", "complex"] = lambda: tg.ops.arange(3, dtype="complex64")
"""Dtypes and sizes that are refused, by operation and dimension."""
