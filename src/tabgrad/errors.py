"""The exceptions tabgrad raises, and nothing of where they are raised.

Every exception here is a `TabgradError`, so one `except` catches them all; each is also the
built-in exception a Python programmer would expect in its place::

    Exception
    └── TabgradError                what was expected, what was received, what to do
        ├── ShapeError              (ValueError)           shapes or axes that do not fit
        │   └── RangeError          (IndexError)           an index or axis that does not exist
        ├── DtypeError              (TypeError)            a dtype that is not accepted here
        ├── ArgumentError           (ValueError)           any other bad argument: names, ranges
        ├── CaptureError            (RuntimeError)         a value was read while capturing
        ├── EngineError             (RuntimeError)         an engine failed: memory, trap, handle
        ├── FormatError             (ValueError)           a file that is damaged or too new
        ├── NotSupportedError       (NotImplementedError)  known, but not available here
        └── MissingPackageError     (ImportError)          an optional package is not installed

    UserWarning
    └── EngineWarning               another engine goes on where one has failed

`code` is a short stable word ("trap", "out-of-memory", ...) where programs have a reason to tell
failures of one kind apart. The player's `TabgradError` in JavaScript carries the same words.
"""

from __future__ import annotations

import sys
from types import FrameType


class TabgradError(Exception):
    """Base of all errors raised by tabgrad.

    Args:
        message: what was expected, what was received and what to do about it.
        code: a short stable word for programs, or None.

    Example:
        >>> try:
        ...     raise TabgradError("no such entry", code="entry")
        ... except TabgradError as error:
        ...     print(error.code)
        entry
    """

    def __init__(self, message: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class ShapeError(TabgradError, ValueError):
    """Shapes, ranks or axes do not fit together."""


class RangeError(ShapeError, IndexError):
    """An index or an axis is out of range (NumPy's AxisError is a ValueError and an IndexError)."""


class DtypeError(TabgradError, TypeError):
    """A dtype (or a Python type) is not accepted here."""


class ArgumentError(TabgradError, ValueError):
    """An argument other than a shape or a dtype is wrong; the message lists what is valid."""


class CaptureError(TabgradError, RuntimeError):
    """A value was read while a function was being captured, when no value exists yet.

    The message ends with the Python line outside the package that asked for it.
    """

    def __init__(self, message: str = "", *, code: str | None = None) -> None:
        line = "" if message.endswith(")") and " (at " in message else python_line()  # a copy's
        super().__init__(f"{message} (at {line})" if line else message, code=code)


def python_line() -> str:
    """File and line of the innermost Python outside this package that is running now."""
    frame: FrameType | None = sys._getframe(1)
    package = __name__.partition(".")[0]
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] != package:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


class EngineError(TabgradError, RuntimeError):
    """An engine could not do its work: out of memory, a trap, a handle that was freed."""


class EngineWarning(UserWarning):
    """An engine failed in the middle of its work and another goes on: the message says which, why.

    `warnings.simplefilter("error", EngineWarning)` makes an error of it.
    """


class FormatError(TabgradError, ValueError):
    """A file or a serialised object is damaged, truncated or of a version that is too new."""


class NotSupportedError(TabgradError, NotImplementedError):
    """Something tabgrad knows about but cannot do in this place or on this engine."""


def undefined(instance: object, method: str) -> NotSupportedError:
    """The error of calling a method that a base class leaves to the classes derived from it."""
    return NotSupportedError(
        f"expected {type(instance).__name__} to define {method}; received a class without it. "
        "Write it there, or use a class that has it"
    )


class MissingPackageError(TabgradError, ImportError):
    """An optional package is needed that is not installed; the message has the line to run."""
