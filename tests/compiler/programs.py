"""Programs of functions and models with everything a test asks of them: kernels, plans, texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import jit
from tabgrad.compiler import driver, memory
from tabgrad.compiler.plan import Plan
from tabgrad.compiler.program import Program
from tabgrad.ir.entry import EntryGraph
from tabgrad.ir.graph import Node
from tabgrad.ir.kernel import Kernel, kernels_of, text_of
from tabgrad.targets.wasm.target import WasmTarget

Spec = tuple[Sequence[int], str] | tuple[Sequence[int], str, bool]


class _Keeping(WasmTarget):
    def emit(self, plans: Sequence[Plan]) -> Any:
        self.plans = plans
        return super().emit(plans)


class Made(NamedTuple):
    """A Program of one entry and the plan its code was made from."""

    program: Program
    plan: Plan

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels in launch order, those in loops once."""
        return list(kernels_of(self.plan.launches))

    @property
    def kinds(self) -> list[str]:
        """What sort of kernel each one is."""
        return [kernel.kind for kernel in self.kernels]

    def text(self) -> str:
        """The header without the contents of constants, and the kernels."""
        header = self.program.header()
        for entry in header["entries"]:
            entry["constants"] = [constant["nbytes"] for constant in entry["constants"]]
        return f"{_json(header)}\n\n{text_of(self.plan.launches)}"


def _json(value: Any, indent: int = 0) -> str:
    """JSON with an item a line, but for items that fit a line themselves."""
    flat = json.dumps(value)
    if len(flat) + indent <= 100 or not isinstance(value, (dict, list)):
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, list):
        parts = [f"{pad}{_json(item, indent + 2)}" for item in value]
        return "[\n" + ",\n".join(parts) + f"\n{' ' * indent}]"
    parts = [f"{pad}{json.dumps(key)}: {_json(item, indent + 2)}" for key, item in value.items()]
    return "{\n" + ",\n".join(parts) + f"\n{' ' * indent}}}"


def made_of(graph: EntryGraph, features: Sequence[str] = ()) -> Made:
    """The Program of an entry."""
    target = _Keeping(features)
    program = driver.compile([graph], target)
    (plan,) = target.plans
    return Made(program, plan)


def traced(fn: Callable[..., Any], *specs: Spec) -> EntryGraph:
    """The entry of a function of arguments with these (shape, dtype[, rows])."""
    full = [(spec[0], spec[1], len(spec) > 2 and bool(spec[2])) for spec in specs]
    names = fn.__code__.co_varnames[: len(specs)]
    return jit.trace(fn, full, name=fn.__name__, names=names).graph


def made(fn: Callable[..., Any], *specs: Spec) -> Made:
    """The Program of a function."""
    return made_of(traced(fn, *specs))


def step_entry(model: tg.Sequential, name: str, rows: int) -> EntryGraph:
    """An entry of a model for a batch size, as an export compiles it."""
    entry = model._entries()[name]
    specs = [((rows, *spec.shape[1:]), spec.dtype, True) for spec in entry.inputs]
    names = [spec.name for spec in entry.inputs]
    return jit.trace(entry.function, specs, name=name, names=names).graph


def variable(name: str, *shape: int) -> tg.Variable:
    """A float32 Variable of zeros."""
    return tg.Variable(np.zeros(shape, np.float32), name=name)


def stored(kernel: Kernel) -> list[Node]:
    """The nodes a kernel stores, each once."""
    return list(dict.fromkeys(kernel.nodes))


def overlay_temporaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all temporaries be at one place, which is wrong."""
    right = memory.place

    def place(launches: Any, temporaries: Any) -> int:
        total = right(launches, temporaries)
        for buffer in temporaries:
            buffer.offset = 0
        return total

    monkeypatch.setattr(memory, "place", place)
