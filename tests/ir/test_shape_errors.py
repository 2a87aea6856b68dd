"""Illegal sources of every primitive: the type of the error and the words of its message."""

from __future__ import annotations

from typing import Any

import pytest

from tabgrad import dtypes
from tabgrad.errors import DtypeError, ShapeError, TabgradError
from tabgrad.ir import build as b
from tabgrad.ir.graph import PRIMITIVES, Graph, make

F, D, I, U, B = dtypes.float32, dtypes.float64, dtypes.int32, dtypes.uint32, dtypes.bool_


def _conv(**options: Any) -> dict[str, Any]:
    order = (0, 1, 2, 3)
    plain = {
        "strides": (1, 1),
        "padding": ((0, 0), (0, 0)),
        "lhs_dilation": (1, 1),
        "rhs_dilation": (1, 1),
        "groups": 1,
        "batch_groups": 1,
        "dims": (order, order, order),
    }
    return plain | options


def _window(**options: Any) -> dict[str, Any]:
    plain = {
        "window": (2, 2),
        "strides": (1, 1),
        "padding": ((0, 0), (0, 0)),
        "dilation": (1, 1),
    }
    return plain | options


def _adding() -> Graph:
    carry, x = b.input((2,), F), b.input((2,), F)
    return Graph([carry, x], [b.add(carry, x)])


def _negating() -> Graph:
    x = b.input((2,), F)
    return Graph([x], [b.neg(x)])


def _doubling() -> Graph:
    cotangent, x = b.input((2,), F), b.input((2,), F)
    return Graph([cotangent, x], [b.add(cotangent, x)])


def _shrinking() -> Graph:
    carry = b.input((2,), F)
    return Graph([carry], [b.reduce("reduce_sum", carry, (0,))])


SCAN = {"n_const": 0, "n_carry": 1, "length": 3, "reverse": False}
FLOAT_ONLY = "floor ceil round trunc sqrt exp expm1 log log1p sin cos tan tanh sigmoid erf".split()
BINARY = "add sub mul floordiv mod pow max min eq ne lt le".split()
WHOLE = "gcd and or xor shl shr".split()

# (primitive, sources as (shape, dtype), parameters, error, words its message must contain)
ILLEGAL: list[tuple[str, list[tuple[tuple[int, ...], Any]], dict[str, Any], Any, str]] = [
    *((name, [((2,), I)], {}, DtypeError, "int32") for name in FLOAT_ONLY),
    *((name, [((2,), B)], {}, DtypeError, "bool") for name in ("neg", "abs", "sign")),
    ("not", [((2,), F)], {}, DtypeError, "float32"),
    *((n, [((2, 3), F), ((3,), F)], {}, ShapeError, r"\[2, 3\], \[3\]") for n in BINARY),
    *((n, [((2,), F), ((2,), I)], {}, DtypeError, "'float32', 'int32'") for n in BINARY),
    *((n, [((2,), F), ((2,), F)], {}, DtypeError, "float32") for n in WHOLE),
    *((n, [((2,), I), ((2,), I)], {}, DtypeError, "int32") for n in ("div", "atan2")),
    ("select", [((2,), F), ((2,), F), ((2,), F)], {}, DtypeError, "float32"),
    ("select", [((), B), ((2,), F), ((2,), F)], {}, ShapeError, r"\[\], \[2\], \[2\]"),
    ("select", [((2,), B), ((2,), F), ((2,), I)], {}, DtypeError, "float32, int32"),
    ("bitcast", [((2,), F)], {"dtype": D}, DtypeError, "4 bytes.*float64"),
    ("threefry", [((2,), I)] * 4, {}, DtypeError, "int32"),
    ("threefry", [((2,), U)] * 3 + [((), U)], {}, ShapeError, r"\[2\], \[\]"),
    ("reshape", [((2, 3), F)], {"shape": (4,)}, ShapeError, r"6 elements.*\[4\]"),
    ("reshape", [((2, 3), F)], {"shape": (-2, -3)}, ShapeError, r"\[-2, -3\]"),
    ("permute", [((2, 3), F)], {"axes": (0, 0)}, ShapeError, r"2 axes.*\(0, 0\)"),
    ("permute", [((2, 3), F)], {"axes": (0,)}, ShapeError, r"\(0,\)"),
    ("broadcast", [((2,), F)], {"shape": (3,), "dims": (0,)}, ShapeError, r"\[2\] to \[3\]"),
    ("broadcast", [((2,), F)], {"shape": (2,), "dims": ()}, ShapeError, r"\[2\]"),
    ("broadcast", [((2, 2), F)], {"shape": (2, 2), "dims": (1, 0)}, ShapeError, r"\(1, 0\)"),
    ("broadcast_like", [((2,), F), ((3, 4), F)], {"dims": (0,)}, ShapeError, r"\[3, 4\]"),
    ("pad", [((2,), F), ((1,), F)], {"low": (0,), "high": (0,), "interior": (0,)}, DtypeError,
     r"0-d float32 fill; received float32 \[1\]"),
    ("pad", [((2,), F), ((), I)], {"low": (0,), "high": (0,), "interior": (0,)}, DtypeError,
     "int32"),
    ("pad", [((2,), F), ((), F)], {"low": (0, 0), "high": (0,), "interior": (0,)}, ShapeError,
     r"1 entries for \[2\]"),
    ("pad", [((2,), F), ((), F)], {"low": (-2,), "high": (-1,), "interior": (0,)}, ShapeError,
     "less than nothing"),
    ("slice", [((4,), F)], {"start": (0,), "stop": (5,), "step": (1,)}, ShapeError, r"\(5,\)"),
    ("slice", [((4,), F)], {"start": (0,), "stop": (4,), "step": (-1,)}, ShapeError, r"\(-1,\)"),
    ("slice", [((4, 4), F)], {"start": (0,), "stop": (4,), "step": (1,)}, ShapeError, r"\[4, 4\]"),
    ("flip", [((4,), F)], {"axes": (1,)}, ShapeError, r"\(1,\)"),
    ("concatenate", [((2,), F), ((2,), I)], {"axis": 0}, DtypeError, "'float32', 'int32'"),
    ("concatenate", [((2, 3), F), ((2, 4), F)], {"axis": 0}, ShapeError, r"\[2, 3\], \[2, 4\]"),
    ("concatenate", [((2,), F)], {"axis": 1}, ShapeError, "received 1"),
    ("dynamic_slice", [((4,), F), ((), F)], {"sizes": (2,)}, DtypeError, "float32"),
    ("dynamic_slice", [((4,), F), ((), I)], {"sizes": (5,)}, ShapeError, r"\[4\].*\[5\]"),
    ("dynamic_slice", [((4, 4), F), ((), I)], {"sizes": (2, 2)}, DtypeError, "2 int32 scalars"),
    ("dynamic_update_slice", [((4,), F), ((5,), F), ((), I)], {}, ShapeError, r"\[4\].*\[5\]"),
    ("dynamic_update_slice", [((4,), F), ((2,), I), ((), I)], {}, DtypeError, "int32"),
    *((f"reduce_{n}", [((2, 3), F)], {"axes": (2,)}, ShapeError, r"\[2, 3\]")
      for n in ("sum", "prod", "max", "min")),
    *((f"reduce_{n}", [((2,), B)], {"axes": (0,)}, DtypeError, "bool") for n in ("sum", "prod")),
    *((f"reduce_{n}", [((2, 0), F)], {"axes": (1,)}, ShapeError, "nothing has no extremum")
      for n in ("max", "min")),
    *((n, [((2, 3), F)], {"axis": 2}, ShapeError, r"\[2, 3\]") for n in ("argmax", "argmin")),
    *((n, [((2, 0), F)], {"axis": 1}, ShapeError, "nothing") for n in ("argmax", "argmin")),
    ("size", [((2, 3), F)], {"axes": (0, 0)}, ShapeError, r"\(0, 0\)"),
    ("window_reduce", [((4,), F)], {"op": "sum", **_window()}, ShapeError, r"\[4\]"),
    ("window_reduce", [((4, 1), F)], {"op": "max", **_window()}, ShapeError, "does not fit into 1"),
    ("window_reduce", [((4, 4), F)], {"op": "sum", **_window(strides=(0, 1))}, ShapeError,
     "strides"),
    ("window_argmax", [((4, 4), F)], _window(dilation=(4, 1)), ShapeError, "window of 5"),
    ("dot", [((2, 3), F), ((4, 5), F)], {"contract": ((1,), (0,)), "batch": ((), ())}, ShapeError,
     r"\[3\] and \[4\] in \[2, 3\] and \[4, 5\]"),
    ("dot", [((2, 3), F), ((3, 5), D)], {"contract": ((1,), (0,)), "batch": ((), ())}, DtypeError,
     "float32 and float64"),
    ("dot", [((2, 3), F), ((3, 3), F)], {"contract": ((1,), (1,)), "batch": ((0,), (0,))},
     ShapeError, r"batch.*\[2\] and \[3\]"),
    ("conv", [((1, 3, 4, 4), F), ((2, 4, 2, 2), F)], _conv(), ShapeError, r"\[1, 3, 4, 4\]"),
    ("conv", [((1, 3, 4, 4), F), ((2, 3, 5, 2), F)], _conv(), ShapeError, "5 does not fit into 4"),
    ("conv", [((1, 3, 4), F), ((2, 3, 2), F)], _conv(), ShapeError, "ranks 4"),
    ("conv", [((1, 3, 4, 4), F), ((2, 3, 2, 2), D)], _conv(), DtypeError, "float64"),
    ("conv", [((1, 4, 4, 4), F), ((3, 2, 2, 2), F)], _conv(groups=2), ShapeError, "2 equal groups"),
    ("conv", [((3, 2, 4, 4), F), ((2, 2, 2, 2), F)], _conv(batch_groups=2), ShapeError, "3"),
    ("gather", [((4,), F), ((2,), F)], {"axis": 0}, DtypeError, "int32 indices.*float32"),
    ("gather", [((0,), F), ((2,), I)], {"axis": 0}, ShapeError, "non-empty axis"),
    ("gather", [((4,), F), ((2,), I)], {"axis": 1}, ShapeError, "received 1"),
    ("scatter", [((4,), F), ((2,), I), ((3,), F)], {"axis": 0, "op": "add"}, ShapeError,
     r"float32 \[2\].*float32 \[3\]"),
    ("scatter", [((4,), F), ((2,), I), ((2,), I)], {"axis": 0, "op": "add"}, ShapeError, "int32"),
    ("custom", [((2,), F), ((3,), F)], {"back": _doubling(), "n_out": 1, "n_x": 1}, ShapeError,
     r"float32 \[2\]', 'float32 \[3\]'.*float32 \[2\]', 'float32 \[2\]'"),
    ("scan", [((2,), F), ((4, 2), F)], {"body": _adding(), **SCAN}, ShapeError,
     r"leading axis of 3.*float32 \[4, 2\]"),
    ("scan", [((2,), F), ((3, 3), F)], {"body": _adding(), **SCAN}, ShapeError,
     r"float32 \[3, 3\]"),
    ("scan", [((2,), F)], {"body": _shrinking(), **SCAN}, ShapeError,
     r"float32 \[2\].*float32 \[\]"),
    ("while", [((2,), F)], {"test": _negating(), "body": _negating(), "n_const": 0}, ShapeError,
     r"test that gives bool \[\]; received \['float32 \[2\]'\]"),
    ("cond", [((), F), ((2,), F)], {"branches": 1, "branch0": _negating()}, ShapeError,
     r"index int32 \[\]; received float32 \[\]"),
    ("cond", [((), I), ((2,), F)],
     {"branches": 2, "branch0": _negating(), "branch1": _shrinking()}, ShapeError,
     r"same shapes and dtypes; received \['float32 \[2\]'\] and \['float32 \[\]'\]"),
    ("sort", [((2,), F), ((3,), I)], {}, ShapeError, r"one shape.*\[\[2\], \[3\]\]"),
    ("sort", [((), F)], {}, ShapeError, r"with an axis; received \[\[\]\]"),
    ("cumulative", [((2,), F)], {"axis": 1, "op": "sum", "reverse": False}, ShapeError,
     r"axis of \[2\]; received 1"),
    ("cumulative", [((2,), B)], {"axis": 0, "op": "sum", "reverse": False}, DtypeError,
     "sum does not take bool"),
]  # fmt: skip

ANYTHING_GOES = {"barrier", "cast", "stop", "tag", "proj"}


@pytest.mark.parametrize(
    ("name", "sources", "params", "error", "words"), ILLEGAL, ids=[row[0] for row in ILLEGAL]
)
def test_illegal_sources_are_refused(name, sources, params, error, words):
    nodes = [b.input(shape, dtype) for shape, dtype in sources]
    with pytest.raises(error, match=words) as caught:
        make(name, *nodes, **params)
    assert isinstance(caught.value, TabgradError)
    assert name.removesuffix("_like") in str(caught.value)


def test_every_primitive_with_sources_is_here():
    takes_sources = {n for n, p in PRIMITIVES.items() if p.family != "leaf"}
    assert {row[0] for row in ILLEGAL} | ANYTHING_GOES == takes_sources
