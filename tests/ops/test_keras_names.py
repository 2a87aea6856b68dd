"""`tabgrad.ops` has every name of `keras.ops`, and whatever Keras can be called with, it can."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import tabgrad as tg
from tests.keras_oracle import keras

MISSING: dict[str, str] = {
    "linalg.jvp": "has nothing to do with matrices: `tg.jvp`, `tg.ops.jvp`",
}
"""Names that tabgrad does not have, each with a reason that a user would accept."""

OTHERWISE: dict[str, str] = {
    "custom_gradient": "a decorator, whose argument nobody names; `fn` as in `tg.grad`",
    "jvp": "`fn` as in `tg.grad`, `tg.vjp`, `tg.vmap`; Keras has `fun` here alone",
}
"""Functions with other parameters than Keras's, and why."""

ABSENT = inspect.Parameter.empty
ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def names_of(module: ModuleType, prefix: str = "") -> dict[str, Any]:
    """Every public function of a module and its submodules, by its path in there."""
    found = {}
    for name in dir(module):
        value = getattr(module, name)
        if name.startswith("_"):
            continue
        if inspect.ismodule(value):
            found |= names_of(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


KERAS = names_of(keras.ops)


def ours(name: str) -> Any:
    owner: Any = tg.ops
    for part in name.split("."):
        owner = getattr(owner, part)
    return owner


def differences(mine: Callable[..., Any], theirs: Callable[..., Any]) -> list[str]:
    """How a call that Keras takes could fail or mean something else."""
    parameters = list(inspect.signature(mine).parameters.values())
    by_name = {p.name: p for p in parameters}
    found = []
    known = set()
    for place, wanted in enumerate(inspect.signature(theirs).parameters.values()):
        known.add(wanted.name)
        if wanted.kind is inspect.Parameter.VAR_KEYWORD:
            continue  # Keras looks for names that it no longer takes
        own = by_name.get(wanted.name)
        if own is None:
            found.append(f"no {wanted.name}")
            continue
        if wanted.kind in ANY_NUMBER:
            if own.kind is not wanted.kind:
                found.append(f"{wanted.name} is not *{wanted.name}")
            continue
        if wanted.kind is not inspect.Parameter.KEYWORD_ONLY and (
            place >= len(parameters) or parameters[place] is not own
        ):
            found.append(f"{wanted.name} is not in place {place}")
        if own.kind is inspect.Parameter.POSITIONAL_ONLY:
            found.append(f"{wanted.name} cannot be given by name")
        same = own.default is wanted.default or (
            type(own.default) is type(wanted.default) and own.default == wanted.default
        )
        if wanted.default is not ABSENT and not same:
            found.append(f"{wanted.name}={own.default!r}, Keras has {wanted.default!r}")
    found += [
        f"{p.name} has no default"
        for p in parameters
        if p.name not in known and p.default is ABSENT and p.kind not in ANY_NUMBER
    ]
    return found


def test_no_name_is_missing() -> None:
    missing = []
    for name in KERAS:
        try:
            ours(name)
        except AttributeError:
            missing.append(name)
    assert sorted(missing) == sorted(MISSING)


@pytest.mark.parametrize("name", [name for name in KERAS if name not in MISSING])
def test_signature(name: str) -> None:
    found = differences(ours(name), KERAS[name])
    if name.rpartition(".")[2] in OTHERWISE:
        assert found, "no exception any more"
    else:
        assert not found
