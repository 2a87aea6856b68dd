"""The reference: what every primitive means, executed with NumPy one node at a time.

This is the definition every target is compared with, so its code is the plainest that is right and
never the fastest: no fusion, no buffer plan, no reuse. Floating point follows three rules:
arithmetic is done in the dtype of the node; transcendental functions are computed in float64 and
rounded once, so that a float32 result is the correctly rounded one; sums and products of many terms
(reductions, dot, convolution, scatter-add) are accumulated in float64 and rounded once.

It is not a fast path for users, and it is not NumPy's own behaviour where the two differ: a cast
saturates, an integer division by zero is 0, indices out of range are clamped or dropped. Each rule
says so beside its code.
"""

from __future__ import annotations

from tabgrad.engines.reference.engine import ReferenceEngine
from tabgrad.engines.reference.interpret import evaluate, rule_names

__all__ = ["ReferenceEngine", "evaluate", "rule_names"]
