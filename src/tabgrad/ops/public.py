"""What every public function has around it: an error of Python's inside it becomes one that names
the argument.

Functions check what they can say something useful about. What slips through to Python (a string as
a number of points, a list as an angle) would end in a TypeError from somewhere inside; here it is
told in terms of the call: which argument is not what the signature says, or, where all are, what
all of them were. Few things are looked at before: True, which Python takes for a size or an axis,
anything as a flag, and functions, which would be called late. Tensors as sizes and axes become
Python's integers. All else is looked at when something fails, so that calls that work cost little
more than a `try`. Where NumPy's integers are among the arguments of a call that failed, it is tried
again with Python's. Errors of the user's own functions (a loop's body, a branch) and of wrong names
of arguments pass as they are.

Classes are made seldom: what they are given is held against the whole signature.
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
from tabgrad.ops.arguments import integer, whole

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
_WHOLE = ("int", "Sequence[int]", "Axis", "Spatial", "Shape")
"""What the annotations of sizes, shapes and axes begin with."""
_TOLD = "argument"
"""The code of errors made here, so that an outer function may tell them in its own terms."""

_known: dict[Callable[..., Any], Callable[..., Any]] = {}


def publish(namespace: dict[str, Any]) -> None:
    """Put all functions that a module's `__all__` names behind this."""
    for name in namespace["__all__"]:
        if isinstance(namespace[name], types.FunctionType):
            namespace[name] = guarded(namespace[name], namespace["__name__"])


def publish_classes(namespace: dict[str, Any]) -> None:
    """Put what makes the classes that a module's `__all__` names behind this."""
    for name in namespace["__all__"]:
        value = namespace[name]
        if isinstance(value, type) and value.__module__.startswith(namespace["__name__"]):
            _guard_making(value, namespace["__name__"])


def guarded(function: Callable[..., Any], home: str = "tabgrad.ops") -> Callable[..., Any]:
    """The function, with errors as described above; the same for the same function.

    Args:
        function: any.
        home: the module whose help the errors point to.
    """
    if function not in _known:
        numbers, flags, functions = _looked_at(function)

        @functools.wraps(function)
        def public(*args: Any, **kwargs: Any) -> Any:
            try:
                value: Any
                for at, name, _ in numbers:
                    value = args[at] if at < len(args) else kwargs.get(name)
                    kind = type(value)
                    if kind is int or value is None:
                        continue
                    if kind is tuple or kind is list:
                        for item in value:
                            if type(item) is not int:
                                break
                        else:
                            continue
                    if _holds_bool(value):
                        raise _mistaken(function, home, name, value)
                    if (found := whole(function.__name__, name, value)) is not value:
                        if at < len(args):
                            args = (*args[:at], found, *args[at + 1 :])
                        else:
                            kwargs[name] = found
                for at, name, others in flags:
                    value = args[at] if at < len(args) else kwargs.get(name, False)
                    if value is not False and value is not True and not _flag(value, others):
                        raise _mistaken(function, home, name, value)
                for at, name, others in functions:
                    value = args[at] if at < len(args) else kwargs.get(name, max)
                    if not callable(value) and value not in others:
                        raise DtypeError(
                            f"{function.__name__} expected a function as {name}; received "
                            f"{_short(value)}. See help({home}.{function.__name__})"
                        )
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


Looked = tuple[tuple[int, str, tuple[Any, ...]], ...]


def _looked_at(function: Callable[..., Any]) -> tuple[Looked, Looked, Looked]:
    """The parameters that are whole numbers, those that are flags, and those that are functions,
    each by its position, its name, and what it may be beside that."""
    plain = inspect.unwrap(function)
    code = plain.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    numbers, flags, functions = [], [], []
    for at, name in enumerate(names):
        hint = str(plain.__annotations__.get(name, ""))
        place = at if at < code.co_argcount else sys.maxsize
        if hint in ("bool", "bool | None"):
            flags.append((place, name, (0, 1) if hint == "bool" else (0, 1, None)))
        elif hint.startswith(_WHOLE) and "bool" not in hint:
            numbers.append((place, name, ()))
        elif hint == "Function" or (hint.startswith("Callable[") and not hint.endswith("| Any")):
            functions.append((place, name, (None,) if hint.endswith("| None") else ()))
    return tuple(numbers), tuple(flags), tuple(functions)


def _holds_bool(value: Any) -> bool:
    return isinstance(value, bool) or (
        isinstance(value, (list, tuple)) and any(map(_holds_bool, value))
    )


def _flag(value: Any, others: tuple[Any, ...]) -> bool:
    """Whether a value that is neither True nor False stands for one of them."""
    if value is None or type(value) is int:
        return value in others
    return getattr(getattr(value, "dtype", None), "kind", "") == "b" and value.shape == ()


def _mistaken(function: Callable[..., Any], home: str, name: str, value: Any) -> ArgumentError:
    hint = typing.get_type_hints(inspect.unwrap(function))[name]
    return ArgumentError(
        f"{function.__name__} expected {name} to be {_said(hint)}; received {_short(value)}. See "
        f"help({home}.{function.__name__})"
    )


def _guard_making(made: type, home: str) -> None:
    """Hold what a class is made with against the signature of its `__init__`."""
    own = made.__dict__.get("__init__")
    if own is None or own in _known:
        return

    @functools.wraps(own)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if (plain := _plain([args, kwargs])) is not None:
            args, kwargs = plain
        cause: BaseException | None = None
        try:
            own(self, *args, **kwargs)
        except TabgradError:
            raise
        except _BUILT_IN as error:
            if not _inside(error):
                raise
            cause = error
        told = _told(own, home, (self, *args), kwargs, cause, type(self).__name__)
        if told is not None:
            raise told from cause
        if cause is not None:
            raise cause

    _known[init] = init
    made.__init__ = init  # type: ignore[misc]


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
    function: Callable[..., Any],
    home: str,
    args: Any,
    kwargs: Any,
    cause: BaseException | None,
    made: str = "",
) -> TabgradError | None:
    """The error that names the argument; None where the call has other names than the signature,
    or where a class called `made` was made and nothing is wrong."""
    try:
        given = inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return None
    plain = inspect.unwrap(function)
    try:
        hints = typing.get_type_hints(plain)
    except (NameError, TypeError):  # of names that exist only for type checkers
        hints = {}
    name = made or plain.__name__
    where = f"See help({home}.{name})"
    wrong = [key for key, x in given.arguments.items() if not _fits(x, hints.get(key, Any))]
    if wrong:
        key = wrong[0]
        message = f"{name} expected {key} to be {_said(hints[key])}; received "
        message += f"{_short(given.arguments[key])}. {where}"
    elif made and cause is None:
        return None
    else:
        all_of_them = ", ".join(
            f"{key}={_short(x)}" for key, x in given.arguments.items() if key != "self"
        )
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
        if hint is int and type(value).__name__ in ("bool", "bool_"):
            return False
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
