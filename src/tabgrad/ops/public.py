"""What every public function has around it: an error of Python's inside it becomes one that names
the argument.

Functions check what they can say something useful about. What slips through to Python (a string as
a number of points, a list as an angle) would end in a TypeError from somewhere inside; here it is
told in terms of the call: which argument is not what the signature says, or, where all are, what
all of them were. Nothing is looked at before something fails, so calls that work cost a `try`.
Where NumPy's integers are among the arguments of a call that failed, it is tried again with
Python's. Errors of the user's own functions (a loop's body, a branch) and of wrong names of
arguments pass as they are.
"""

from __future__ import annotations

import functools
import inspect
import re
import struct
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tabgrad.errors import ArgumentError, DtypeError, RangeError, TabgradError
from tabgrad.ops.arguments import integer

_BUILT_IN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    StopIteration,
    TypeError,
    ValueError,
    struct.error,
)
_BELOW = ("tabgrad.compiler", "tabgrad.targets", "tabgrad.engines")
_TOLD = "argument"
"""The code of errors made here, so that an outer function may tell them in its own terms."""

_known: dict[Callable[..., Any], Callable[..., Any]] = {}


def publish(namespace: dict[str, Any]) -> None:
    """Put all functions that a module's `__all__` names behind this."""
    for name in namespace["__all__"]:
        if isinstance(namespace[name], types.FunctionType):
            namespace[name] = guarded(namespace[name], namespace["__name__"])


def guarded(function: Callable[..., Any], home: str = "tabgrad.ops") -> Callable[..., Any]:
    """The function, with errors as described above; the same for the same function.

    Args:
        function: any.
        home: the module whose help the errors point to.
    """
    if function not in _known:

        @functools.wraps(function)
        def public(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except TabgradError as error:
                if (plain := _plain([args, kwargs])) is not None:
                    return public(*plain[0], **plain[1])
                if error.code != _TOLD:
                    raise
                cause = error.__cause__
            except _BUILT_IN as error:
                if not _inside(error):
                    raise
                if (plain := _plain([args, kwargs])) is not None:
                    return public(*plain[0], **plain[1])
                cause = error
            told = _told(function, home, args, kwargs, cause)
            if told is None:
                raise cause  # type: ignore[misc]
            raise told from cause

        _known[function] = _known[public] = public
    return _known[function]


def _plain(value: Any) -> Any:
    """Arguments with NumPy's integers as Python's; None where there is none of NumPy's."""
    if isinstance(value, (list, tuple)):
        found = [_plain(item) for item in value]
        if all(item is None for item in found):
            return None
        items = [old if new is None else new for old, new in zip(value, found, strict=True)]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, dict):
        changed = {key: new for key, x in value.items() if (new := _plain(x)) is not None}
        return value | changed if changed else None
    return None if isinstance(value, int) else integer(value)


def _inside(error: BaseException) -> bool:
    """Whether an error comes from where nodes are built, and from no function of the user's."""
    trace = error.__traceback__
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        first = name.partition(".")[0]
        if first not in ("tabgrad", "numpy") and first not in sys.stdlib_module_names:
            return False
        if name.startswith(_BELOW):  # a fault of ours, not of the arguments
            return False
        trace = trace.tb_next
    return True


def _told(
    function: Callable[..., Any], home: str, args: Any, kwargs: Any, cause: BaseException | None
) -> TabgradError | None:
    """The error that names the argument; None where the call has other names than the signature."""
    try:
        given = inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return None
    plain = inspect.unwrap(function)
    try:
        hints = typing.get_type_hints(plain)
    except (NameError, TypeError):  # of names that exist only for type checkers
        hints = {}
    name = plain.__name__
    where = f"See help({home}.{name})"
    wrong = [key for key, x in given.arguments.items() if not _fits(x, hints.get(key, Any))]
    if wrong:
        key = wrong[0]
        message = f"{name} expected {key} to be {_said(hints[key])}; received "
        message += f"{_short(given.arguments[key])}. {where}"
    else:
        all_of_them = ", ".join(f"{key}={_short(x)}" for key, x in given.arguments.items())
        words = str(cause) or type(cause).__name__
        message = f"{name} expected arguments that fit together; received {all_of_them}: {words}. "
        message += where
    kind = DtypeError if isinstance(cause, TypeError) else ArgumentError
    return (RangeError if isinstance(cause, IndexError) else kind)(message, code=_TOLD)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation says, as far as that can be told."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or hint is None or hint is type(None):
        return hint is Any or value is None
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is typing.Literal:
        return value in parts
    if origin in (Sequence, list, tuple):
        if not isinstance(value, (list, tuple, range)):
            kind = getattr(getattr(value, "dtype", None), "kind", "")
            return bool(getattr(value, "shape", ())) and (int not in parts or kind in tuple("iu"))
        return not parts or origin is tuple or all(_fits(item, parts[0]) for item in value)
    if origin is Callable or hint is Callable:
        return callable(value)
    if hint in (int, float):
        special = "__index__" if hint is int else "__float__"
        return hasattr(value, special) and getattr(value, "shape", ()) == ()
    if hint is bool:
        return type(value).__name__ in ("bool", "bool_")
    kind = origin or hint
    return not isinstance(kind, type) or isinstance(value, kind)


def _said(hint: Any) -> str:
    """An annotation without the modules its names are from."""
    return hint.__name__ if isinstance(hint, type) else re.sub(r"\b(?:\w+\.)+", "", str(hint))


def _short(value: Any) -> str:
    """A value for a message: dtype and shape of an array, the beginning of anything else."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{getattr(value.dtype, 'name', value.dtype)} {list(value.shape)}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_short(x)}' for key, x in list(value.items())[:3])}}}"
    if isinstance(value, (list, tuple)) and value:
        inside = ", ".join(map(_short, value[:3])) + (", ..." if len(value) > 3 else "")
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
