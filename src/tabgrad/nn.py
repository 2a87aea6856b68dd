"""Functions of neural networks: activations, convolution, pooling, normalisation, attention, and
losses.

What `keras.ops` has is the same function as in `tabgrad.ops`; the rest comes from TensorFlow and
TensorFlow.js, under Python names. Layers with weights of their own are in `tabgrad.layers`.
"""

from __future__ import annotations

from tabgrad.ops.activation import (
    celu,
    elu,
    gelu,
    glu,
    hard_shrink,
    hard_sigmoid,
    hard_silu,
    hard_swish,
    hard_tanh,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    mish,
    prelu,
    relu,
    relu6,
    selu,
    silu,
    soft_shrink,
    softmax,
    softplus,
    softsign,
    sparse_plus,
    sparse_sigmoid,
    sparsemax,
    squareplus,
    swish,
    tanh_shrink,
    threshold,
)
from tabgrad.ops.attention import dot_product_attention
from tabgrad.ops.blocks import (
    batch_to_space,
    depth_to_space,
    space_to_batch,
    space_to_depth,
)
from tabgrad.ops.complex_numbers import polar
from tabgrad.ops.convolution import conv, conv_transpose, depthwise_conv, separable_conv
from tabgrad.ops.ctc import ctc_decode, ctc_loss
from tabgrad.ops.elementwise import sigmoid, tanh
from tabgrad.ops.embedding import embedding_lookup, multi_hot, one_hot
from tabgrad.ops.losses import (
    absolute_difference,
    binary_crossentropy,
    categorical_crossentropy,
    compute_weighted_loss,
    cosine_distance,
    hinge_loss,
    huber_loss,
    log_loss,
    mean_squared_error,
    psnr,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
    sparse_categorical_crossentropy,
)
from tabgrad.ops.morphology import dilation2d, erosion2d
from tabgrad.ops.normalization import (
    batch_normalization,
    group_normalization,
    l2_normalize,
    layer_normalization,
    local_response_normalization,
    moments,
    normalize,
    rms_normalization,
)
from tabgrad.ops.order import in_top_k, top_k
from tabgrad.ops.patches import fold, unfold
from tabgrad.ops.pooling import (
    adaptive_average_pool,
    adaptive_max_pool,
    average_pool,
    global_average_pool,
    global_max_pool,
    max_pool,
    max_pool_with_argmax,
)
from tabgrad.ops.public import publish
from tabgrad.ops.recurrent import basic_lstm_cell, multi_rnn_cell
from tabgrad.ops.reduction import logsumexp
from tabgrad.random import dropout

__all__ = [
    "absolute_difference",
    "adaptive_average_pool",
    "adaptive_max_pool",
    "average_pool",
    "basic_lstm_cell",
    "batch_normalization",
    "batch_to_space",
    "binary_crossentropy",
    "categorical_crossentropy",
    "celu",
    "compute_weighted_loss",
    "conv",
    "conv_transpose",
    "cosine_distance",
    "ctc_decode",
    "ctc_loss",
    "depth_to_space",
    "depthwise_conv",
    "dilation2d",
    "dot_product_attention",
    "dropout",
    "elu",
    "embedding_lookup",
    "erosion2d",
    "fold",
    "gelu",
    "global_average_pool",
    "global_max_pool",
    "glu",
    "group_normalization",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "hinge_loss",
    "huber_loss",
    "in_top_k",
    "l2_normalize",
    "layer_normalization",
    "leaky_relu",
    "local_response_normalization",
    "log_loss",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "max_pool",
    "max_pool_with_argmax",
    "mean_squared_error",
    "mish",
    "moments",
    "multi_hot",
    "multi_rnn_cell",
    "normalize",
    "one_hot",
    "polar",
    "prelu",
    "psnr",
    "relu",
    "relu6",
    "rms_normalization",
    "selu",
    "separable_conv",
    "sigmoid",
    "sigmoid_cross_entropy",
    "silu",
    "soft_shrink",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "softsign",
    "space_to_batch",
    "space_to_depth",
    "sparse_categorical_crossentropy",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
    "top_k",
    "unfold",
]

publish(globals())
