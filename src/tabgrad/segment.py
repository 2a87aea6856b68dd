"""Rows folded by segment, sparse places and values, and ragged rows: `tg.segment`.

The implementations are in `tabgrad.ops.segment`, `tabgrad.ops.sparse` and `tabgrad.ops.ragged`;
`tabgrad.ops` has the first ones under Keras's names, too.
"""

from tabgrad.ops.public import publish
from tabgrad.ops.ragged import ragged_gather, ragged_range, ragged_tensor_to_tensor
from tabgrad.ops.segment import segment_max as max
from tabgrad.ops.segment import segment_mean as mean
from tabgrad.ops.segment import segment_min as min
from tabgrad.ops.segment import segment_prod as prod
from tabgrad.ops.segment import segment_sum as sum
from tabgrad.ops.sparse import (
    sparse_fill_empty_rows,
    sparse_reshape,
    sparse_segment_mean,
    sparse_segment_sum,
    sparse_to_dense,
)

__all__ = [
    "max",
    "mean",
    "min",
    "prod",
    "ragged_gather",
    "ragged_range",
    "ragged_tensor_to_tensor",
    "sparse_fill_empty_rows",
    "sparse_reshape",
    "sparse_segment_mean",
    "sparse_segment_sum",
    "sparse_to_dense",
    "sum",
]

publish(globals())
