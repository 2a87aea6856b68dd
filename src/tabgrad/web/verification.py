"""What an export has for `await model.verify()` in its page: cases, kernels and what is right.

Each layer is a case forwards and one backwards, as in `tabgrad/verify.py`, with the weights of the
export. A page makes the inputs itself, of numbers like those that the model hands to the layer, and
looks at some elements of each result, so that the files stay small; `player/tabgrad/verify.js` does
that. How numbers and places are drawn is the same there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tabgrad import dtypes, ops, realize
from tabgrad.dtypes import DType
from tabgrad.errors import NotSupportedError
from tabgrad.formats import safetensors
from tabgrad.formats.safetensors import Array
from tabgrad.jit import Traced
from tabgrad.models import Model
from tabgrad.verify import REASONS, SPREADS, TOLERANCE, TRIALS, Call, Case, calls, numpy_module
from tabgrad.web.variants import variants

ROWS = 2
SAMPLES = 512  # elements of each result that are looked at
NAME = "verify.json"


def verification(
    model: Model,
    kinds: Mapping[str, Sequence[tuple[str, ...]]],
    named: Callable[[str, Traced], Any],
) -> dict[str, bytes]:
    """The files by name, "verify.json" among them, which names the others.

    Args:
        model: a built model.
        kinds: the kinds of engines and, for each, the sets of features to compile for.
        named: makes an entry's graph under a name of what was captured, as the export does.
    """
    shape = (ROWS, *model.input_shape[1:])
    random = numpy_module().random.default_rng(0)
    dtype = model._input_dtype()
    given = random.standard_normal(shape) if dtype.is_float else random.integers(0, 2, shape)
    inputs = ops.convert_to_tensor(given.astype(dtype.name)).realize()
    exact = realize.make_engine("exact", False)
    arrays: dict[str, Array] = {}
    graphs: list[Any] = []
    cases: list[dict[str, Any]] = []
    try:
        for call in calls(model, inputs, exact):
            _add(call, "forward", call.specs, exact, named, arrays, graphs, cases)
            if not call.inside:
                floats = [(s, d) for s, d in _results(call) if d.is_float]
                specs = [*call.specs, *floats]
                _add(call, "gradient", specs, exact, named, arrays, graphs, cases)
    finally:
        exact.close()
    contents: dict[str, bytes] = {}

    def part(path: str, content: bytes) -> dict[str, Any]:
        contents[path] = content
        return {"file": path, "nbytes": len(content)}

    programs: dict[str, list[dict[str, Any]]] = {}
    for kind, sets in kinds.items():
        wanted, refused = _supported(graphs, sets[0], kind)
        programs[kind] = []
        for features, program in variants([graphs[i] for i in wanted], sets, kind):
            ending = "wasm" if kind == "wasm" else "json"
            name = ".".join(["verify", *(() if kind == "wasm" else (kind,)), *features, ending])
            programs[kind].append(
                {
                    "features": list(features),
                    **part(name, program.binary),
                    "cases": wanted,
                    "refused": refused,
                    "entries": [entry.header() for entry in program.entries],
                }
            )
    described = {
        "model": model.name,
        "spreads": SPREADS,
        "samples": SAMPLES,
        "tolerances": TOLERANCE,
        "reasons": REASONS,
        "cases": cases,
        "programs": programs,
        "arrays": part("verify.safetensors", safetensors.dumps(arrays)),
    }
    contents[NAME] = json.dumps(described, separators=(",", ":")).encode()
    return contents


def _results(call: Call) -> list[tuple[tuple[int, ...], DType]]:
    found = Case(call, "forward", call.forward, call.specs, call.values).results
    return [(tuple(shape), dtype) for shape, dtype in found]


def _add(
    call: Call,
    what: str,
    specs: Sequence[tuple[tuple[int, ...], DType]],
    exact: Any,
    named: Callable[[str, Traced], Any],
    arrays: dict[str, Array],
    graphs: list[Any],
    cases: list[dict[str, Any]],
) -> None:
    """One more case: its graph, what its inputs are drawn from, and what is right."""
    function = call.forward if what == "forward" else call.gradient
    index = len(cases)
    trials = []
    case = None
    for number in range(TRIALS if what == "gradient" else 1):
        inputs, values = [], []
        for i, (shape, dtype) in enumerate(specs):
            seed = 1 + i + 100 * number + 1000 * index
            # What comes after the inputs are cotangents.
            like = call.values[i] if i < len(call.values) else b""
            drawn = _like(like, dtype, seed)
            size = 1
            for n in shape:
                size *= n
            if drawn is None:
                name = f"{index}.{number}.in{i}"
                values.append(like or numpy_module().ones(size, dtype.name).tobytes())
                arrays[name] = Array((size,), dtype, values[-1])
                inputs.append({"array": name})
            else:
                values.append(draw(drawn, size))
                inputs.append(drawn)
        case = Case(call, what, function, specs, values)
        if not case.results:
            return
        trial = case.trial(exact)
        for j, (right, other) in enumerate(zip(trial.wanted, trial.others, strict=True)):
            at = places(right.size)
            for name, some in (("wanted", right), ("other", other)):
                data = some[at].astype("float64")
                arrays[f"{index}.{number}.{name}{j}"] = Array(
                    (data.size,), dtypes.float64, data.tobytes()
                )
        trials.append({"inputs": inputs})
    assert case is not None
    graphs.append(named(f"verify{index}", case.traced))
    cases.append(
        {
            "layer": call.name,
            "type": type(call.layer).__name__,
            "what": what,
            "tolerance": case.tolerance,
            "trials": trials,
        }
    )


def _like(raw: bytes, dtype: DType, seed: int) -> dict[str, Any] | None:
    """How to draw numbers like those of an array; None for what is stored as it is."""
    if dtype is not dtypes.float32:
        return None
    numpy = numpy_module()
    values = numpy.frombuffer(raw, "float32").astype("float64")
    sound = values[numpy.isfinite(values)]
    if not sound.size:
        return {"seed": seed, "mean": 0.0, "spread": 1.0, "low": -9.0, "high": 9.0}
    return {
        "seed": seed,
        "mean": float(sound.mean()),
        "spread": float(sound.std()),
        "low": float(sound.min()),
        "high": float(sound.max()),
    }


def draw(like: Mapping[str, Any], size: int) -> bytes:
    """float32 numbers of a mean and a standard deviation, between two others, by a hash of their
    place (the finalizer of MurmurHash3): uniform before they are cut off."""
    numpy = numpy_module()
    h = numpy.arange(size, dtype=numpy.uint32) * numpy.uint32(0x9E3779B1)
    h ^= numpy.uint32(like["seed"] * 0x85EBCA6B % 2**32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h ^= h >> numpy.uint32(shift)
        h *= numpy.uint32(factor)
    h ^= h >> numpy.uint32(16)
    uniform = h / 2.0**31 - 1.0
    found = numpy.clip(like["mean"] + like["spread"] * (1.75 * uniform), like["low"], like["high"])
    return bytes(found.astype("float32").tobytes())


def places(size: int) -> Any:
    """Which elements of a result are looked at: all of a few, else one at random in each of equal
    pieces, as steps of one length might meet one channel only."""
    numpy = numpy_module()
    if size <= SAMPLES:
        return numpy.arange(size)
    piece = size // SAMPLES
    turn = numpy.arange(SAMPLES, dtype="int64")
    return turn * size // SAMPLES + turn * 40503 % 65536 * piece // 65536


def _supported(
    graphs: Sequence[Any], features: tuple[str, ...], kind: str
) -> tuple[list[int], dict[int, str]]:
    """Which cases a kind of engine can run, and why not the others."""
    every = list(range(len(graphs)))
    try:
        realize.compile_ahead(graphs, features, kind)
    except NotSupportedError:
        refused = {}
        for i in every:
            try:
                realize.compile_ahead([graphs[i]], features, kind)
            except NotSupportedError as error:
                refused[i] = str(error)
        return [i for i in every if i not in refused], refused
    return every, {}
