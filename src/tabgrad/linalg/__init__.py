"""Linear algebra: the Array API's `linalg` extension (2024.12), the functions of
`keras.ops.linalg`, and `lu`, `expm`, `gram_schmidt`, `band_part`.

All work on stacks of matrices (the last two axes), inside compiled functions, and under gradients;
float16 is computed in float32. The algorithms are loops of fixed size in the graph (`scan`), so
that a program for 500 rows is as small as one for 5.
"""

from tabgrad.linalg.elimination import det, inv, lu, lu_factor, slogdet, solve
from tabgrad.linalg.functions import cross, expm, matrix_power, multi_dot
from tabgrad.linalg.general import eig, eigvals
from tabgrad.linalg.norms import cond, matrix_norm, norm, vector_norm
from tabgrad.linalg.orthogonal import gram_schmidt, qr
from tabgrad.linalg.singular import lstsq, matrix_rank, pinv, svd, svdvals
from tabgrad.linalg.spectral import eigh, eigvalsh
from tabgrad.linalg.triangular import cholesky, cholesky_inverse, solve_triangular
from tabgrad.linalg.views import band_part, diagonal, trace
from tabgrad.ops.linear import matmul, outer, tensordot, vecdot
from tabgrad.ops.manipulation import matrix_transpose
from tabgrad.ops.public import publish

__all__ = [
    "band_part",
    "cholesky",
    "cholesky_inverse",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "expm",
    "gram_schmidt",
    "inv",
    "lstsq",
    "lu",
    "lu_factor",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]

publish(globals())
