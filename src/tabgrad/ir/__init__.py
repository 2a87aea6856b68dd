"""The graph every other part speaks: nodes, primitives by family, gradients, text, checks.

Importing this package registers all primitives. Nothing here imports NumPy, an engine or a target.
"""

from tabgrad.ir import (  # noqa: F401  (imported for their registrations)
    contract,
    control,
    cumulative,
    custom,
    elementwise,
    indexing,
    leaf,
    movement,
    order,
    reduce,
    scan,
    window,
)
