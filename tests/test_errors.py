"""The exceptions: one tree, and each also the built-in one a caller would expect."""

from __future__ import annotations

import pickle
import re

import pytest

from tabgrad import errors

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.TabgradError)
}


@pytest.mark.parametrize("name", CLASSES)
def test_code_and_message(name: str) -> None:
    error = CLASSES[name]("expected this", code="word")
    line = rf" \(at {re.escape(__file__)}:\d+\)" if name == "CaptureError" else ""
    assert re.fullmatch(f"expected this{line}", str(error))
    assert error.code == "word"
    assert CLASSES[name]("expected this").code is None
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied), copied.code) == (type(error), str(error), "word")


def test_the_docstring_draws_the_tree() -> None:
    drawn = dict(re.findall(r"── (\w+) +\((\w+)\)", errors.__doc__ or ""))
    assert drawn == {
        name: value.__bases__[1].__name__
        for name, value in CLASSES.items()
        if value is not errors.TabgradError
    }
