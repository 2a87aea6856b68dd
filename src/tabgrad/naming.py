"""Names that Keras would give: `BatchNormalization` -> `batch_normalization_1`. Nothing else.

Automatic names are numbered by the process, as in Keras: the second Dense made is "dense_1".
"""

from __future__ import annotations

import re
from collections import defaultdict

_given: defaultdict[str, int] = defaultdict(int)


def to_snake_case(name: str) -> str:
    """`Conv2D` -> `conv2d`, `BatchNormalization` -> `batch_normalization`, as Keras spells them.

    Example:
        >>> to_snake_case("MaxPooling2D")
        'max_pooling2d'
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def auto_name(class_name: str) -> str:
    """The next unused name for an object of this class: "dense", then "dense_1", ...

    Example:
        >>> reset()
        >>> auto_name("Dense"), auto_name("Dense")
        ('dense', 'dense_1')
    """
    prefix = to_snake_case(class_name)
    number = _given[prefix]
    _given[prefix] += 1
    return f"{prefix}_{number}" if number else prefix


def reset() -> None:
    """Number from the start again (Keras: `clear_session`)."""
    _given.clear()


def canonical(paths: list[str]) -> list[str]:
    """The paths with automatic numbers counted from zero inside this list, in the same order.

    "dense_7/kernel" and "dense_9/kernel" become "dense/kernel" and "dense_1/kernel": two models
    built by the same code at different times in a process get equal canonical paths.
    """
    numbers: dict[tuple[str, str], set[int]] = {}
    split = [[_split(part) for part in path.split("/")] for path in paths]
    for path, parts in zip(paths, split, strict=True):
        prefixes = path.split("/")
        for depth, (base, number) in enumerate(parts):
            numbers.setdefault(("/".join(prefixes[:depth]), base), set()).add(number)
    ranks = {
        key: {number: rank for rank, number in enumerate(sorted(found))}
        for key, found in numbers.items()
    }
    result = []
    for path, parts in zip(paths, split, strict=True):
        prefixes = path.split("/")
        names = []
        for depth, (base, number) in enumerate(parts):
            rank = ranks["/".join(prefixes[:depth]), base][number]
            names.append(f"{base}_{rank}" if rank else base)
        result.append("/".join(names))
    return result


def _split(part: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.+?)_(\d+)", part)
    return (match[1], int(match[2])) if match else (part, 0)
