"""Checks of the arguments that convolution and pooling share: sizes, padding, data format."""

from __future__ import annotations

from collections.abc import Sequence

from tabgrad.errors import ArgumentError, NotSupportedError


def sizes(value: int | Sequence[int], name: str, rank: int = 2) -> tuple[int, ...]:
    """`value` as one positive integer for each spatial axis.

    Raises:
        ArgumentError: when it is neither an integer nor `rank` of them, or one is not positive.

    Example:
        >>> sizes(3, "kernel_size")
        (3, 3)
    """
    found = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(found) != rank or not all(type(n) is int and n > 0 for n in found):
        raise ArgumentError(
            f"expected {name} to be a positive integer or {rank} of them; received {value!r}"
        )
    return found


def padding(value: str) -> str:
    """`value` in lower case, when it is "valid" or "same" (else ArgumentError)."""
    found = value.lower() if isinstance(value, str) else value
    if found not in ("valid", "same"):
        raise ArgumentError(f'expected padding "valid" or "same"; received {value!r}')
    return found


def data_format(value: str | None) -> str:
    """ "channels_last" for it or None; the other layout of Keras is not available."""
    if value == "channels_first":
        raise NotSupportedError(
            'expected data_format "channels_last" or None; received "channels_first". Move the '
            "channels to the last axis, as in tg.ops.transpose(x, (0, 2, 3, 1))"
        )
    if value not in (None, "channels_last"):
        raise ArgumentError(f'expected data_format "channels_last" or None; received {value!r}')
    return "channels_last"
