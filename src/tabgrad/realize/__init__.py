"""The one seam between graphs and machines: values of nodes, engines, compiled Programs.

`realize` computes pending nodes on the current engine; `upload` and `read` move bytes. Everything
above (tensors, variables, compiled functions) goes through this package; nothing below it knows
nodes have values. Compilation itself is `compiler/driver.py`, running is the engine's.
"""

from tabgrad.compiler.program import Program
from tabgrad.engines.auto import Choice
from tabgrad.realize.absent import READ_OUTSIDE, foreign_value, missing_value
from tabgrad.realize.candidates import failed_choice, faster, worth_timing
from tabgrad.realize.current import (
    automatic,
    engine,
    load,
    make_engine,
    may_fail,
    memory,
    set_engine,
    take_over,
    using,
)
from tabgrad.realize.moving import fetch, fetch_now, read, read_async, upload
from tabgrad.realize.pending import handle_of, realize, watch
from tabgrad.realize.programs import compile_ahead, unload
from tabgrad.realize.scopes import (
    capture_scope,
    capturing,
    differentiating,
    gradient_scope,
    rule_scope,
    wants_rules,
)
from tabgrad.realize.values import Buffer, Scalar, gone, host_bytes, is_abstract, value_node

__all__ = [
    "READ_OUTSIDE",
    "Buffer",
    "Choice",
    "Program",
    "Scalar",
    "automatic",
    "capture_scope",
    "capturing",
    "compile_ahead",
    "differentiating",
    "engine",
    "failed_choice",
    "faster",
    "fetch",
    "fetch_now",
    "foreign_value",
    "gone",
    "gradient_scope",
    "handle_of",
    "host_bytes",
    "is_abstract",
    "load",
    "make_engine",
    "may_fail",
    "memory",
    "missing_value",
    "read",
    "read_async",
    "realize",
    "rule_scope",
    "set_engine",
    "take_over",
    "unload",
    "upload",
    "using",
    "value_node",
    "wants_rules",
    "watch",
    "worth_timing",
]
