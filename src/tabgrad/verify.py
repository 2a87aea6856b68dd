"""`model.verify()`: every layer on every engine of this device, compared with float64.

Each call of a layer is made a function of its own, given what the model hands it (computed in
float64 and rounded), so that errors do not add up from layer to layer. It runs on each engine,
forwards and backwards, as a Program like those that predict and train; the same graph in float64
says what is right. Not here: float64 itself (`engines/reference/exact.py`), single kernels
(`TABGRAD_VALIDATE`).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tabgrad import jit, ops, realize, trees
from tabgrad.dtypes import DType
from tabgrad.errors import (
    ArgumentError,
    EngineError,
    MissingPackageError,
    NotSupportedError,
    TabgradError,
)
from tabgrad.layers import base
from tabgrad.layers.base import Layer
from tabgrad.tensor import Tensor
from tabgrad.transformations.reverse import value_and_grad

if TYPE_CHECKING:
    from tabgrad.models import Model

ENGINES = ("wasm", "webgpu", *(["webgl"] if sys.platform == "emscripten" else ()))
ROWS, MOST_ROWS = 4, 32  # of the inputs that are made up; of those that are given
TOLERANCE = {"float64": 1e-12, "float32": 1e-4, "float16": 2e-2}
REASONS = {
    "float64": "4,500 roundings of 2**-52",
    "float32": "some 800 roundings of 2**-23: long sums in another order and Winograd's products "
    "take some hundreds; a half float's single rounding is five times as much",
    "float16": "20 roundings of 2**-10, of which each operation makes one",
}
SPREADS = 32.0  # how often what the last bit of the inputs changes
# Where a relu's input is as good as 0, the slope is 0 on one engine and 1 on another, and both are
# right. That is rare, and over when the inputs are a little different; a wrong kernel stays wrong.
TRIALS, STEP = 3, 2.0**-7

OK, WRONG, FAILED, UNSUPPORTED = "ok", "WRONG", "FAILED", "not supported"


@dataclass(frozen=True)
class Row:
    """One layer on one engine, in one direction.

    `error` is the largest distance of an element from float64, relative to that element, or to the
    root mean square of all where that is larger; None where nothing could be computed. `verdict`
    is "ok", "WRONG" (further off than `tolerance`, and than what changing the last bit of the
    inputs does, 32 times), "FAILED" (the engine raised, `why` says what) or "not supported".
    """

    layer: str
    kind: str
    engine: str
    what: str
    error: float | None
    tolerance: float
    verdict: str
    why: str = ""


@dataclass
class Verification:
    """What `model.verify()` found; as text, a table."""

    model: str
    rows: list[Row] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no layer is wrong or failed on any engine."""
        return not any(row.verdict in (WRONG, FAILED) for row in self.rows)

    def __str__(self) -> str:
        cells = [("Layer (type)", "Engine", "Direction", "Max relative error", "Verdict")]
        cells += [
            (f"{r.layer} ({r.kind})", r.engine, r.what, _percent(r.error), r.verdict)
            for r in self.rows
        ]
        widths = [max(len(row[i]) for row in cells) for i in range(5)]
        lines = ["   ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in cells]
        rule = "─" * (sum(widths) + 12)
        text = [f'Model: "{self.model}"', rule, lines[0], rule, *lines[1:], rule]
        for name in dict.fromkeys(t for t in TOLERANCE if any(_of(r, t) for r in self.rows)):
            text.append(f"Tolerance of {name}: {TOLERANCE[name]:g}, {REASONS[name]}")
        text += [f"{r.layer} on {r.engine}, {r.what}: {r.why}" for r in self.rows if r.why]
        text += [f"Not checked: {name}. {why}" for name, why in self.missing.items()]
        text.append("Every layer is right" if self.ok else "Some layers are not right")
        return "\n".join(text)


def _of(row: Row, dtype: str) -> bool:
    return row.tolerance == TOLERANCE[dtype]


def _percent(error: float | None) -> str:
    return "-" if error is None else f"{error:.1e}" if error else "0"


def check(model: Model, engines: Sequence[Any] | None, x: Any) -> Verification:
    """Run every layer of a model on engines and compare; see `Model.verify`."""
    found = Verification(model.name)
    chosen = _engines(engines, found)
    exact = realize.make_engine("exact", False)
    try:
        for call in calls(model, example(model, x), exact):
            forward = Case(call, "forward", call.forward, call.specs, call.values)
            found.rows += forward.rows(exact, chosen)
            # Through many layers some relu is always at its kink; they are looked at one by one.
            if not call.inside:
                floats = [(shape, dtype) for shape, dtype in forward.results if dtype.is_float]
                given = [made_up(*spec, i).tobytes() for i, spec in enumerate(floats, 1)]
                gradient = Case(
                    call, "gradient", call.gradient, call.specs + floats, call.values + given
                )
                found.rows += gradient.rows(exact, chosen)
    finally:
        for _, engine in chosen:
            if not any(engine is given for given in engines or ()):
                engine.close()
        exact.close()
    return found


def _engines(wanted: Sequence[Any] | None, found: Verification) -> list[tuple[str, Any]]:
    """The engines by name. Of those nobody named, the ones that are there."""
    made: list[tuple[str, Any]] = []
    if isinstance(wanted, str):
        raise ArgumentError(
            f"expected a list of engines; received {wanted!r}. Write engines=[{wanted!r}]"
        )
    for each in ENGINES if wanted is None else wanted:
        if not isinstance(each, str):
            made.append((type(each).__name__, each))
            continue
        try:
            made.append((each, realize.make_engine(each, False)))
        except TabgradError as error:
            if wanted is not None:
                raise
            found.missing[each] = str(error)
    return made


def example(model: Model, x: Any) -> Any:
    """The inputs of the model, in their container: those given, or one made up in its shape."""
    if x is not None:
        leaves, structure = trees.flatten(x if isinstance(x, dict) else _tensors_of(x))
        tensors = [ops.convert_to_tensor(leaf)[:MOST_ROWS].realize() for leaf in leaves]
        return trees.unflatten(structure, tensors)
    shape = (ROWS, *model.input_shape[1:])
    if None in shape:
        raise ArgumentError(
            f"expected x for {model.name!r}, whose inputs {list(shape)} are not of one size; "
            "received none. Call verify(x=...) with some rows"
        )
    return ops.convert_to_tensor(made_up(shape, model._input_dtype(), 0)).realize()


def _tensors_of(x: Any) -> Any:
    """A list of tensors as it is; any other list is one tensor's numbers."""
    several = isinstance(x, (list, tuple)) and all(hasattr(each, "shape") for each in x)
    return x if several else ops.convert_to_tensor(x)


def made_up(shape: Sequence[int | None], dtype: DType, seed: int) -> Any:
    numpy = numpy_module()
    random = numpy.random.default_rng(seed)
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype.name)
    return random.integers(0, 2, shape).astype(dtype.name)


def numpy_module() -> Any:
    try:
        import numpy
    except ImportError as error:
        raise MissingPackageError(
            "expected NumPy, which computes what model.verify() compares with; it is not "
            "installed. Run: pip install numpy"
        ) from error
    return numpy


class Call:
    """One call of a layer: functions of the tensors it is given, and the bytes of those."""

    def __init__(self, layer: Layer, name: str, leaves: list[Any], structure: Any) -> None:
        self.layer, self.name = layer, name
        self.inside = any(each is not layer for each in layer._flatten_layers())
        self._leaves, self._structure = leaves, structure
        self.places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        self.specs = [(tuple(leaves[i].shape), leaves[i].dtype) for i in self.places]
        self.values: list[bytes] = []

    @property
    def tensors(self) -> list[Tensor]:
        return [self._leaves[i] for i in self.places]

    def forward(self, *tensors: Tensor) -> list[Tensor]:
        """The tensors the layer returns."""
        leaves = list(self._leaves)
        for place, given in zip(self.places, tensors, strict=True):
            leaves[place] = given
        inputs, args, kwargs = trees.unflatten(self._structure, leaves)
        kwargs = {key: value for key, value in kwargs.items() if key != "training"}
        outputs = self.layer(inputs, *args, training=False, **kwargs)
        return [leaf for leaf in trees.flatten(outputs)[0] if isinstance(leaf, Tensor)]

    def gradient(self, *given: Tensor) -> list[Tensor]:
        """The gradients of weights and inputs, given those and the cotangents of float outputs."""
        count = len(self.places)
        tensors, cotangents = given[:count], given[count:]
        floats = [i for i, tensor in enumerate(tensors) if tensor.dtype.is_float]
        weights = [v for v in self.layer.trainable_weights if v.dtype.is_float]
        if not (floats or weights) or not cotangents:
            return []

        def weighed(given: list[Tensor]) -> Tensor:
            every = list(tensors)
            for place, tensor in zip(floats, given, strict=True):
                every[place] = tensor
            outputs = [output for output in self.forward(*every) if output.dtype.is_float]
            sums = [ops.sum(y * g) for y, g in zip(outputs, cotangents, strict=True)]
            return functools.reduce(ops.add, sums)

        _, (to_inputs, to_weights) = value_and_grad(weighed, argnums=0, variables=weights)(
            [tensors[i] for i in floats]
        )
        return [*to_weights, *to_inputs]


def calls(model: Model, inputs: Any, exact: Any) -> list[Call]:
    """The calls of layers while the model predicts, with what they are given."""
    from tabgrad.models import Sequential

    found: list[Call] = []

    def observe(layer: Layer, given: Any, outputs: Any, args: Any, kwargs: Any) -> None:
        if layer is not model and isinstance(layer, Sequential):
            return  # it computes what the layers in it do
        leaves, structure = trees.flatten((given, args, kwargs))
        count = sum(call.layer is layer for call in found)
        name = layer.path or layer.name
        found.append(Call(layer, f"{name}, call {count + 1}" if count else name, leaves, structure))

    def whole(*tensors: Tensor) -> list[Tensor]:
        found.clear()
        base.observers.append(observe)
        try:
            model(trees.unflatten(structure, tensors), training=False)
        finally:
            base.observers.remove(observe)
        return [tensor for call in found for tensor in call.tensors]

    tensors, structure = trees.flatten(inputs)
    if not model.built:
        model(inputs, training=False)
    specs = [(tuple(tensor.shape), tensor.dtype) for tensor in tensors]
    traced = jit.trace(whole, [(*spec, False) for spec in specs], name="inputs of layers")
    values = iter(_run(exact, traced, [realize.read(tensor.node) for tensor in tensors]))
    for call in found:
        call.values = [next(values) for _ in call.places]
    return found


class Case:
    """A layer in one direction: a function of tensors, their shapes and dtypes, and their bytes."""

    def __init__(
        self,
        call: Call,
        what: str,
        function: Callable[..., list[Tensor]],
        specs: Sequence[tuple[tuple[int, ...], DType]],
        values: Sequence[bytes],
    ) -> None:
        self.call, self.what, self._values = call, what, values
        self._dtypes = [dtype for _, dtype in specs]
        given = [(shape, dtype, False) for shape, dtype in specs]
        self.traced = jit.trace(function, given, name=f"{what} of {call.name}")
        self.results = [r.node.outs[0] for r in self.traced.graph.results]

        def in_float64(*tensors: Tensor) -> list[Tensor]:
            return [ops.cast(y, "float64") if y.dtype.is_float else y for y in function(*tensors)]

        self._doubled = jit.trace(in_float64, given, name=f"{what} of {call.name}")

    @property
    def tolerance(self) -> float:
        """That of the least exact of its results; 0 where all are whole numbers."""
        return max(TOLERANCE.get(dtype.name, 0.0) for _, dtype in self.results)

    def rows(self, exact: Any, engines: Sequence[tuple[str, Any]]) -> list[Row]:
        """What comes of it on each engine; nothing where there is nothing to compute."""
        if not self.results:
            return []
        tolerance = self.tolerance
        trials: list[Trial] = []
        rows = []
        for name, engine in engines:
            error, verdict, why = None, OK, ""
            try:
                for number in range(TRIALS if self.what == "gradient" else 1):
                    if number == len(trials):
                        trials.append(self.trial(exact, number))
                    got = _run(engine, self.traced, trials[number].values)
                    error, why = trials[number].compare(got, [d.name for _, d in self.results])
                    verdict = WRONG if why else OK
                    if not why:
                        break
            except NotSupportedError as unsupported:
                verdict, why = UNSUPPORTED, str(unsupported)
            except EngineError as failure:
                # In a page, Python may be unable to wait for a GPU; its numbers may be right.
                verdict, why = UNSUPPORTED if failure.code == "async" else FAILED, str(failure)
            except Exception as failure:  # whatever an engine raises, the others are still checked
                verdict, why = FAILED, f"{type(failure).__name__}: {failure}"
            kind = type(self.call.layer).__name__
            rows.append(Row(self.call.name, kind, name, self.what, error, tolerance, verdict, why))
        return rows

    def trial(self, exact: Any, number: int = 0) -> Trial:
        """What is right on the exact engine: for the inputs, or where `number` is not 0 for inputs
        that are a little different."""
        pairs = list(zip(self._values, self._dtypes, strict=True))
        values = [
            _stepped(raw, dtype, 10 * number + i) if number else raw
            for i, (raw, dtype) in enumerate(pairs)
        ]
        moved = [_moved(raw, dtype, i) for i, (raw, dtype) in enumerate(zip(values, self._dtypes))]
        names = [result.node.dtype.name for result in self._doubled.graph.results]

        def right(inputs: Sequence[bytes], moved: bool = False) -> list[Any]:
            results = _run(exact, self._doubled, inputs, moved)
            return list(map(numpy_module().frombuffer, results, names))

        return Trial(values, right(values), lambda: right(moved, True))


class Trial:
    """Inputs of a function, what is right for them, and for inputs whose last bits differ."""

    def __init__(
        self, values: list[bytes], wanted: list[Any], others: Callable[[], list[Any]]
    ) -> None:
        self.values, self.wanted = values, wanted
        self._others = others

    @functools.cached_property
    def others(self) -> list[Any]:
        """Rarely asked for, and as much work as `wanted`."""
        return self._others()

    def _other(self, i: int) -> Any:
        return self.others[i]

    def compare(self, results: Sequence[bytes], dtypes: Sequence[str]) -> tuple[float, str]:
        """The largest relative error of results, and where one is further off than may be."""
        errors, why = [], ""
        for i, (raw, dtype) in enumerate(zip(results, dtypes, strict=True)):
            got = numpy_module().frombuffer(raw, dtype)
            error, bad = _compare(got, self.wanted[i], functools.partial(self._other, i))
            errors.append(error)
            why = why or bad
        return max(errors), why


def _compare(got: Any, wanted: Any, other: Callable[[], Any]) -> tuple[float, str]:
    """The relative error of an array, and what is further off than may be. `other` gives what is
    right for inputs that differ in their last bit."""
    numpy = numpy_module()
    if not got.size:
        return 0.0, ""
    if got.dtype.kind != "f":
        differ = got != wanted
        if not differ.any():
            return 0.0, ""
        return 1.0, _worst(got, wanted, differ & (wanted == other()))
    with numpy.errstate(all="ignore"):
        rounded = wanted.astype(got.dtype)  # what is too large for it is infinite
        same = (got == rounded) | (numpy.isnan(got) & numpy.isnan(rounded))
        sound = numpy.isfinite(wanted) & numpy.isfinite(rounded)
        typical = numpy.sqrt(numpy.mean(numpy.square(wanted[sound]))) if sound.any() else 0.0
        size = numpy.maximum(numpy.abs(wanted), max(float(typical), numpy.finfo(got.dtype).tiny))
        off = numpy.where(same, 0.0, numpy.abs(got.astype("float64") - wanted) / size)
        off = numpy.where(numpy.isnan(off), numpy.inf, off)
        tolerance = TOLERANCE[got.dtype.name]
        if off.max() <= tolerance:
            return float(off.max()), ""
        spread = numpy.abs(other() - wanted)
        sure = numpy.isfinite(spread)
        # Of one element two such differences may cancel; of all they do not.
        usual = numpy.sqrt(numpy.mean(numpy.square(spread[sure]))) if sure.any() else 0.0
        allowed = SPREADS * numpy.maximum(numpy.where(sure, spread, 0.0), usual) / size
    bad = off > numpy.maximum(allowed, tolerance)
    return float(off.max()), _worst(got, wanted, numpy.where(bad, off, 0.0))


def _worst(got: Any, wanted: Any, off: Any) -> str:
    """Where an array is furthest off, in words; nothing where it is nowhere."""
    if not off.any():
        return ""
    at = int(off.argmax())
    return (
        f"{int((off > 0).sum())} of {got.size} elements are too far off; element {at} is "
        f"{got[at]!s}, expected {wanted[at]!s}"
    )


def _moved(raw: bytes, dtype: DType, seed: int) -> bytes:
    """Bytes of an array whose floats are each one unit in the last place off."""
    if not dtype.is_float:
        return raw
    numpy = numpy_module()
    values = numpy.frombuffer(raw, dtype.name)
    signs = numpy.random.default_rng(seed).choice((-1, 1), values.size)
    with numpy.errstate(all="ignore"):
        found = numpy.nextafter(
            values, numpy.where(signs > 0, numpy.inf, -numpy.inf).astype(dtype.name)
        )
    # A zero is exact: what is next to it is none of its roundings.
    return bytes(numpy.where((values == 0) | ~numpy.isfinite(found), values, found).tobytes())


def _stepped(raw: bytes, dtype: DType, seed: int) -> bytes:
    """Bytes of an array whose floats are each a little larger or smaller."""
    if not dtype.is_float:
        return raw
    numpy = numpy_module()
    values = numpy.frombuffer(raw, dtype.name)
    factors = 1 + STEP * numpy.random.default_rng(seed).uniform(-1, 1, values.size)
    return bytes((values * factors).astype(dtype.name).tobytes())


def _run(
    engine: Any, traced: jit.Traced, inputs: Sequence[bytes], moved: bool = False
) -> list[bytes]:
    """The results of a captured function on an engine; Variables stay where they are, and what they
    hold is copied. With `moved` their last bits are changed."""
    kept = [(v.node(), 1000 + i) for i, v in enumerate(traced.variables)]
    closed = [(node, 2000 + i) for i, node in enumerate(traced.captured)]
    state = []
    for node, seed in (*closed, *kept):
        raw = realize.read(node)
        state.append(_moved(raw, node.dtype, seed) if moved else raw)
    given = [*inputs, *state]
    with realize.using(engine):
        program, loaded = realize.load([traced.graph])
        try:
            entry = program.entries[0]
            buffers = []
            dtypes = [port.dtype for port in entry.inputs]
            dtypes += [node.dtype.name for node, _ in kept]
            for raw, dtype in zip(given, dtypes, strict=True):
                buffers.append(realize.Buffer(engine, len(raw), dtype))
                engine.write(buffers[-1].handle, raw)
            outputs = [
                realize.Buffer(engine, result.node.nbytes, result.node.dtype.name)
                for result in traced.graph.results
            ]
            engine.run(loaded, 0, [buffer.handle for buffer in (*buffers, *outputs)], 0)
            return [bytes(engine.read(buffer.handle, buffer.nbytes)) for buffer in outputs]
        finally:
            realize.unload(loaded, engine)
