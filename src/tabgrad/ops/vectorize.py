"""Functions of single elements, or of small arrays, applied to whole arrays as NumPy does.

`vmap` maps one axis that the caller names; `vectorize` finds the axes by broadcasting.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from tabgrad import trees
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ops.arguments import broadcast_shapes, parts_of
from tabgrad.ops.manipulation import broadcast_to, reshape
from tabgrad.tensor import Tensor
from tabgrad.transformations.vmap import vmap

Core = tuple[str, ...]

_GROUP = r"\(\s*(?:\w+\s*(?:,\s*\w+\s*)*)?\)"
_SIGNATURE = re.compile(rf"\s*{_GROUP}(?:\s*,\s*{_GROUP})*\s*->\s*{_GROUP}(?:\s*,\s*{_GROUP})*\s*")


def vectorize(
    pyfunc: Callable[..., Any],
    *,
    excluded: Collection[int | str] | None = None,
    signature: str | None = None,
) -> Callable[..., Any]:
    """A function that applies `pyfunc` to all elements of its arguments, which broadcast.

    Args:
        pyfunc: takes and returns tensors of no axes, or of those that `signature` names.
        excluded: places of arguments that are handed over as they are. Arguments given by name
            always are.
        signature: the last axes that pyfunc itself sees, as in NumPy: "(m,n),(n)->(m)".

    Raises:
        ArgumentError: a signature that is none, or one for another number of arguments.
        ShapeError: arguments that have not the axes of the signature, or do not broadcast.

    Example:
        >>> import tabgrad as tg
        >>> scaled = tg.ops.vectorize(lambda row, by: row * by, signature="(n),()->(n)")
        >>> scaled([[1, 2], [3, 4]], [10, 100]).tolist()
        [[10, 20], [300, 400]]
    """
    if not callable(pyfunc):
        raise ArgumentError(
            f"vectorize expected a function; received {pyfunc!r}. "
            "Give the function itself, not its result"
        )
    inputs = None if signature is None else _inputs_of(signature)
    fixed = set(excluded or ())

    @functools.wraps(pyfunc)
    def vectorized(*args: Any, **kwargs: Any) -> Any:
        moving = [i for i in range(len(args)) if i not in fixed]
        cores: Sequence[Core] = [()] * len(moving) if inputs is None else inputs
        if len(cores) != len(moving):
            raise ArgumentError(
                f"vectorize expected {len(cores)} arguments for {signature!r}; received "
                f"{len(moving)}. "
                "Commas of the signature separate the arguments"
            )
        xs = [Tensor(*parts_of(args[i])) for i in moving]
        _check_cores(xs, cores, signature)
        outer = [x.shape[: x.ndim - len(core)] for x, core in zip(xs, cores, strict=True)]
        batch = broadcast_shapes("vectorize", *outer)
        count = 1
        for n in batch:
            count *= n

        def call(*values: Any) -> Any:
            every = list(args)
            for i, value in zip(moving, values, strict=True):
                every[i] = value
            return pyfunc(*every, **kwargs)

        if not batch:
            return call(*xs)
        # One mapped axis for all: what has no axis of its own is the same for each.
        flat = [
            reshape(broadcast_to(x, (*batch, *_core(x, core))), (count, *_core(x, core)))
            if own
            else x
            for x, core, own in zip(xs, cores, outer, strict=True)
        ]
        axes = tuple(0 if own else None for own in outer)
        results = vmap(call, in_axes=axes)(*flat)
        return trees.map(lambda y: reshape(y, (*batch, *y.shape[1:])), results)

    return vectorized


def _core(x: Tensor, core: Core) -> tuple[int, ...]:
    return x.shape[x.ndim - len(core) :]


def _inputs_of(signature: str) -> list[Core]:
    """The axes of each argument in a signature."""
    if not _SIGNATURE.fullmatch(signature):
        raise ArgumentError(
            f"vectorize expected a signature such as '(m,n),(n)->(m)'; received {signature!r}"
        )
    groups = re.findall(_GROUP, signature.partition("->")[0])
    return [tuple(re.findall(r"\w+", group)) for group in groups]


def _check_cores(xs: Sequence[Tensor], cores: Sequence[Core], signature: str | None) -> None:
    sizes: dict[str, int] = {}
    for x, core in zip(xs, cores, strict=True):
        fits = x.ndim >= len(core) and all(
            sizes.setdefault(name, n) == n for name, n in zip(core, _core(x, core), strict=True)
        )
        if not fits:
            raise ShapeError(
                f"vectorize expected last axes as in {signature!r}; received "
                f"{[list(x.shape) for x in xs]}. "
                "Letters that are the same must have the same size"
            )
