"""`tg.export`: from a model, or functions that share Variables, to a static page.

This file decides what a page holds: which entries at which batch sizes, which Variables, what the
page shows. Writing the files is `site.py`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabgrad import jit, realize
from tabgrad.errors import ArgumentError, NotSupportedError, TabgradError
from tabgrad.formats.safetensors import Array
from tabgrad.jit import Compiled, Traced
from tabgrad.models import Model
from tabgrad.random import global_generator
from tabgrad.realize import Program
from tabgrad.tensor import Tensor, tensor
from tabgrad.variable import Variable
from tabgrad.version import VERSION
from tabgrad.web.site import Data, Initial, Site, write_site

FORMAT, SCHEMA = "tabgrad-model", 1
DEFAULT_BATCH_SIZE = 32
# A page's GPU is worth its files from here on: calls of less work are soon done on WebAssembly.
GPU_FLOPS = 100e6
# What devices may have that changes how kernels are written; there are kernels for each case.
GPU_FEATURES: dict[str, list[tuple[str, ...]]] = {
    "webgpu": [(), ("cooperative",), ("cooperative", "subgroups")],
    "webgl": [(), ("draw-buffers-8",)],
}
HALF = "shader-f16"  # that of WebGPU's devices which compute with float16


def export(
    model: Model | Mapping[str, Any],
    path: str | Path,
    batch_sizes: Sequence[int] | None = None,
    title: str | None = None,
    *,
    deterministic: bool = False,
    engines: Sequence[str] | None = None,
    data: Sequence[Any] | None = None,
    task: Mapping[str, Any] | None = None,
    verify: bool = False,
) -> Site:
    """Write a static page that runs without Python: predicts, and trains if the model is compiled.

    Args:
        model: a built model, or a dict from names to functions compiled with `tg.compile` that have
            been called at least once (each is exported for the shapes it was called with).
        path: the folder to write, made where it is missing.
        batch_sizes: the batch sizes to export; by default 1 and that of the last fit, else 32.
        title: the page's heading, by default the model's name.
        deterministic: export only kernels whose results have the same bits on every machine.
        engines: what the page can compute on besides WebAssembly, which is always there and takes
            over where another engine fails: "webgpu", "webgl". By default both if a call of some
            entry takes more than 100 million operations, else none; kernels that a GPU cannot
            have (64-bit numbers) are then left out and named in what is printed. For models with
            float16 there are kernels that keep it in 16 bits, for WebGPU devices that can.
        data: (x, y) or (x, y, x_test, y_test), a sample dataset for the page to train on.
        task: what the page is about, for instance {"kind": "digits", "labels": [...], "height": 8,
            "width": 8, "scale": 16.0} for a page on which digits are drawn.
        verify: also write what `await model.verify()` needs, which runs each layer on every engine
            of a visitor's device and compares with float64 (see `Model.verify`). Needs NumPy.

    Returns:
        What was written: its `sizes`, raw and gzip, by file; also printed.

    Raises:
        ArgumentError: batch sizes that are not positive, functions that were never called, unknown
            engines, engines of GPUs in a deterministic export.
        NotSupportedError: an engine that was asked for cannot run the model.

    Example:
        >>> import tabgrad as tg
        >>> model = tg.Sequential([tg.Input((1,)), tg.layers.Dense(1)])
        >>> site = tg.export(model, "/tmp/site")  # doctest: +SKIP
    """
    parts = _of_model(model, batch_sizes) if isinstance(model, Model) else _of_functions(model)
    sets: list[tuple[str, ...]] = [()] if deterministic else [(), ("relaxed-simd",)]
    programs = {features: realize.compile_ahead(parts.graphs, features) for features in sets}
    work = max((entry.flops for entry in programs[()].entries), default=0)
    kinds = _gpus(engines, deterministic, work)
    shaders, refused = _shaders(parts.graphs, kinds, asked=engines is not None)
    verification = _verification(model, parts, sets, shaders) if verify else None
    arrays, described = _variables(parts)
    name = getattr(model, "name", "functions")
    content = {
        "format": FORMAT,
        "schema": SCHEMA,
        "tabgrad": VERSION,
        "name": name,
        "title": title or name,
        "deterministic": deterministic,
        "variables": described,
        "entries": _entries(list(programs.values()), parts.classes),
        "predict": parts.predict,
        "training": parts.training,
        "task": None if task is None else {"logits": parts.logits, **task},
    }
    site = write_site(
        path,
        model=content,
        programs={features: program.binary for features, program in programs.items()},
        shaders=shaders,
        weights=arrays,
        initial=parts.initial,
        data=_sample(data),
        notes=refused,
        verification=verification,
    )
    print(site)
    return site


def _verification(
    model: Any, parts: _Parts, sets: Sequence[tuple[str, ...]], shaders: Mapping[str, Any]
) -> dict[str, bytes]:
    """The files for `model.verify()`; what cases capture becomes constants of the page."""
    from tabgrad.web.verification import verification

    if not isinstance(model, Model):
        raise ArgumentError(
            "expected a model with verify=True, whose layers are the cases; received functions. "
            "Leave verify out, or export a Model"
        )
    halves = any(HALF in features for features in shaders.get("webgpu", ()))
    kinds = {"wasm": list(sets), **{kind: _gpu_sets(kind, halves) for kind in shaders}}
    return verification(
        model, kinds, lambda name, traced: traced.with_constants(name, parts._constant)
    )


def _gpus(engines: Sequence[str] | None, deterministic: bool, work: float) -> list[str]:
    """The kinds of GPU engines to write kernels for."""
    if engines is None:
        return [] if deterministic or work <= GPU_FLOPS else list(GPU_FEATURES)
    known = ("wasm", *GPU_FEATURES)
    if isinstance(engines, str) or any(name not in known for name in engines):
        raise ArgumentError(f"expected engines as a list of {list(known)}; received {engines!r}")
    kinds = [kind for kind in GPU_FEATURES if kind in engines]
    if kinds and deterministic:
        raise ArgumentError(
            "expected deterministic=True with engines=['wasm'], whose instructions give the same "
            f"bits everywhere; received {list(engines)!r}. Leave one of the two out"
        )
    return kinds


def _shaders(
    graphs: Sequence[Any], kinds: Sequence[str], asked: bool
) -> tuple[dict[str, dict[tuple[str, ...], bytes]], list[str]]:
    """Kernels of each kind of GPU by the features they need, and why there are none of others."""
    found: dict[str, dict[tuple[str, ...], bytes]] = {}
    refused = []
    for kind in kinds:
        try:
            plain = realize.compile_ahead(graphs, (), kind)
            halves = kind == "webgpu" and "halves" in json.loads(plain.binary)
            kernels: dict[tuple[str, ...], bytes] = {}
            for features in _gpu_sets(kind, halves):
                program = realize.compile_ahead(graphs, features, kind) if features else plain
                document = _document(program)
                if document not in kernels.values():  # features need not make a difference
                    kernels[features] = document
            found[kind] = kernels
        except NotSupportedError as error:
            if asked:
                raise
            refused.append(f"no kernels for {kind}: {error}")
    return found, refused


def _gpu_sets(kind: str, halves: bool) -> list[tuple[str, ...]]:
    """The features to write kernels for. Those that keep float16 in 16 bits come first among as
    many: a device that has the feature takes no others."""
    sets = GPU_FEATURES[kind]
    if not halves or kind != "webgpu":
        return sets
    return [*((*features, HALF) for features in sets), *sets]


def _document(program: Program) -> bytes:
    """A GPU's kernels with the constants that go with them, which are not those of others."""
    document = json.loads(program.binary)
    document["data"] = [
        [base64.b64encode(data).decode() for data in entry.constants] for entry in program.entries
    ]
    return json.dumps(document, separators=(",", ":")).encode()


class _Parts:
    """What goes into a page, before it is compiled."""

    def __init__(self) -> None:
        self.graphs: list[Any] = []  # entry graphs, as jit makes them and realize compiles them
        self.variables: dict[int, tuple[Variable, str]] = {}
        self.predict: dict[str, Any] | None = None
        self.training: dict[str, Any] | None = None
        self.initial: Initial | None = None
        self.classes: dict[str, int] = {}
        self.logits = False  # whether the outputs are before the softmax
        self._constants: dict[int, Variable] = {}

    def add(self, name: str, traced: Traced, roles: Mapping[int, str]) -> None:
        """One more entry. Tensors the function closed over become constants of the page."""
        self.graphs.append(traced.with_constants(name, self._constant))
        for variable in traced.variables:
            self.variables.setdefault(id(variable), (variable, roles.get(id(variable), "weight")))

    def _constant(self, value: Tensor) -> Variable:
        key = id(value.node)
        if key not in self._constants:
            name = f"constants/{len(self._constants)}"
            found = self._constants[key] = Variable(value, trainable=False, name=name)
            self.variables[id(found)] = (found, "constant")
        return self._constants[key]


def _of_model(model: Model, batch_sizes: Sequence[int] | None) -> _Parts:
    parts = _Parts()
    entries = model._entries()
    sizes = _sizes(model, batch_sizes)
    state = model._state()
    roles = {id(variable): role for variable, role in state}
    # What draws without a seed of its own goes on from here; no weight of the model.
    roles[id(global_generator().state)] = "random"
    for name, entry in entries.items():
        for size in sizes:
            traced = jit.trace(
                entry.function,
                [((size, *_known(spec.shape[1:])), spec.dtype, True) for spec in entry.inputs],
                name=name,
                names=[spec.name for spec in entry.inputs],
                output_names=entry.outputs,
            )
            parts.add(name, traced, roles)
    # Everything a training keeps is in the page, also what no exported entry happens to read.
    for variable, role in state:
        parts.variables.setdefault(id(variable), (variable, role))
    parts.predict = {"inputs": ["x"], "outputs": list(entries["predict"].outputs)}
    parts.training = model._training()
    if parts.training is not None:
        parts.training["batch_size"] = max(sizes)
        parts.initial = _initial(model, state, _changed_besides(parts, state))
        if "sparse_categorical" in parts.training["loss"]:
            classes = model.output_shape[-1]
            assert classes is not None
            parts.classes["y"] = classes
        parts.logits = model._predicts_logits()
    return parts


def _known(shape: Sequence[int | None]) -> list[int]:
    known = [n for n in shape if n is not None]
    if len(known) != len(shape):
        raise ArgumentError(f"expected known sizes after the batch axis; received {list(shape)}")
    return known


def _sizes(model: Model, batch_sizes: Sequence[int] | None) -> list[int]:
    if batch_sizes is None:
        return sorted({1, model._batch_size or DEFAULT_BATCH_SIZE})
    sizes = sorted(set(batch_sizes))
    if not sizes or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in sizes):
        raise ArgumentError(f"expected positive batch sizes; received {list(batch_sizes)}")
    return sizes


def _changed_besides(parts: _Parts, state: Sequence[tuple[Variable, str]]) -> list[Variable]:
    """What entries change and is no part of the model: the global generator, a counter."""
    own = {id(variable) for variable, _ in state}
    changed = {each.variable for g in parts.graphs for each in g.states if each.update is not None}
    return [v for v, _ in parts.variables.values() if id(v) not in own and v.path in changed]


def _initial(
    model: Model, state: Sequence[tuple[Variable, str]], besides: Sequence[Variable]
) -> Initial | None:
    """Fresh weights for training from scratch in the page: those of a newly built twin, and what
    is around the model as it then is."""
    try:
        twin: Any = type(model).from_config(model.get_config())
        twin._build_for(_known(model.input_shape[1:]))
        fresh = dict(zip((id(v) for v in model.variables), twin.variables, strict=True))
    except (TabgradError, TypeError, ValueError):
        return None  # a subclass that cannot be made anew; the page then only trains further
    arrays: dict[str, Array] = {}
    zeros: list[str] = []
    for variable, role in state:
        if role in ("optimizer", "metric"):
            if variable.path.endswith("learning_rate"):
                arrays[variable.path] = _array(variable)
            else:
                zeros.append(variable.path)
        elif id(variable) in fresh:
            arrays[variable.path] = _array(fresh[id(variable)])
    arrays |= {variable.path: _array(variable) for variable in besides}
    return Initial(arrays, zeros)


def _of_functions(functions: Mapping[str, Any]) -> _Parts:
    parts = _Parts()
    if not isinstance(functions, Mapping) or not functions:
        raise ArgumentError(
            "expected a model, or a dict from names to functions made by tg.compile; received "
            f"{type(functions).__name__}"
        )
    for name, function in functions.items():
        if not isinstance(function, Compiled):
            raise ArgumentError(
                f"expected {name!r} to be a function made by tg.compile; received "
                f"{type(function).__name__}"
            )
        calls = function.traces()
        if not calls:
            raise ArgumentError(
                f"expected {name!r} to have been called: an export holds the shapes a function was "
                "called with. Call it once on example data"
            )
        parts.add(name, calls[-1], {})
    return parts


def _variables(parts: _Parts) -> tuple[dict[str, Array], list[dict[str, Any]]]:
    arrays: dict[str, Array] = {}
    described: list[dict[str, Any]] = []
    for variable, role in parts.variables.values():
        if any(known["name"] == variable.path for known in described):
            raise ArgumentError(
                f"expected Variables with different names; two are called {variable.path!r}. "
                "Name them: tg.Variable(..., name=...)"
            )
        array = _array(variable)
        zero = not any(array.data)
        if not zero:
            arrays[variable.path] = array
        described.append(
            {
                "name": variable.path,
                "shape": list(variable.shape),
                "dtype": variable.dtype.name,
                "trainable": variable.trainable,
                "role": role,
                "zero": zero,
            }
        )
    return arrays, described


def _array(variable: Variable) -> Array:
    return Array(variable.shape, variable.dtype, realize.read(variable.node()))


def _entries(programs: Sequence[Program], classes: Mapping[str, int]) -> list[dict[str, Any]]:
    """The entries' headers, with memory enough for each of the programs."""
    headers = []
    for versions in zip(*(program.entries for program in programs), strict=True):
        header = versions[0].header()
        for field in ("arena", "scratch", "derived", "peak"):
            header[field] = max(getattr(entry, field) for entry in versions)
        # What no player asks for, or takes a missing one for.
        for name in ("kernels", "exact", "derived"):
            if name == "kernels" or not header[name]:
                del header[name]
        for port in (*header["inputs"], *header["outputs"]):
            if not port["scalar"]:
                del port["scalar"]
            if port["name"] in classes and port in header["inputs"]:
                port["classes"] = classes[port["name"]]
        headers.append(header)
    return headers


def _sample(data: Sequence[Any] | None) -> Data | None:
    if data is None:
        return None
    if len(data) not in (2, 4):
        raise ArgumentError(
            f"expected data as (x, y) or (x, y, x_test, y_test); received {len(data)} arrays"
        )
    arrays = []
    for values in data:
        value = tensor(values)
        arrays.append([Array(value.shape, value.dtype, realize.read(value.node))])
    return Data(*arrays)
