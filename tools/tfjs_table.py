"""Writes docs/tfjs-operations.md: what each operation of TensorFlow.js is called in tabgrad.

    .venv/bin/python -m tools.tfjs_table

The names are those that TensorFlow.js 4.22 exports. A line of `OPERATIONS` is an operation, the
Python that does the same, and a remark. Python names are checked by tests/project, so a line
cannot outlive the function that it names.
"""

# ruff: noqa: E501  (a line of a table is a line)

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "tfjs-operations.md"

OPERATIONS = """
# Creation
tensor | tg.tensor(values, shape, dtype)
tensor1d | tg.tensor(values) | the rank is that of the values
tensor2d | tg.tensor(values, shape)
tensor3d | tg.tensor(values, shape)
tensor4d | tg.tensor(values, shape)
tensor5d | tg.tensor(values, shape)
tensor6d | tg.tensor(values, shape)
scalar | tg.tensor(value) | functions take Python numbers as they are
buffer | tg.zeros(shape).at[index].set(value) | or fill a list or a NumPy array and hand it to `tg.tensor`
clone | tg.ops.copy(x) | tensors never change, so a second name does too
complex | tg.complex(real, imag)
real | tg.real(x)
imag | tg.imag(x)
diag | tg.ops.diagflat(x).reshape(x.shape + x.shape) | for a vector, `tg.ops.diag(x)`
eye | tg.eye(rows, columns) | for a batch, `tg.broadcast_to(tg.eye(rows, columns), (*batch, rows, columns))`
fill | tg.full(shape, value, dtype)
zeros | tg.zeros(shape, dtype)
ones | tg.ones(shape, dtype)
zerosLike | tg.zeros_like(x)
onesLike | tg.ones_like(x)
linspace | tg.linspace(start, stop, num)
range | tg.arange(start, stop, step, dtype)
oneHot | tg.one_hot(indices, depth) | other values than 1 and 0: `tg.where(tg.one_hot(indices, depth, dtype="bool"), on, off)`
truncatedNormal | tg.random.truncated_normal(shape, mean, stddev, dtype, seed)
variable | tg.Variable(initial)
print | print(x)
# Random
rand | tg.random.uniform(shape) | any Python function: `tg.tensor([function() for _ in range(count)], shape)`
randomNormal | tg.random.normal(shape, mean, stddev, dtype, seed)
randomStandardNormal | tg.random.normal(shape)
randomUniform | tg.random.uniform(shape, minval, maxval, dtype, seed)
randomUniformInt | tg.random.randint(shape, minval, maxval)
randomGamma | tg.random.gamma(shape, alpha) / beta
multinomial | tg.random.categorical(logits, num_samples) | of probabilities, `tg.random.categorical(tg.log(p), num_samples)`
# Transformations
batchToSpaceND | tg.nn.batch_to_space(x, block_shape, crops)
spaceToBatchND | tg.nn.space_to_batch(x, block_shape, paddings)
broadcastArgs | tg.broadcast_shapes(s0, s1)
broadcastTo | tg.broadcast_to(x, shape)
cast | tg.cast(x, dtype)
depthToSpace | tg.nn.depth_to_space(x, block_size)
ensureShape | assert x.shape == shape | shapes are known before anything runs
expandDims | tg.expand_dims(x, axis)
mirrorPad | tg.pad(x, paddings, mode="reflect") | or `mode="symmetric"`
pad | tg.pad(x, paddings, constant_values=value)
reshape | tg.reshape(x, shape)
setdiff1dAsync | x[~tg.isin(x, y)] | and the indices: `tg.flatnonzero(~tg.isin(x, y))`
squeeze | tg.squeeze(x, axis)
# Slicing and joining
booleanMaskAsync | x[mask] | along another axis: `x[:, mask]`
concat | tg.concat(tensors, axis)
gather | tg.take(x, indices, axis) | with `batch_dims`, `tg.vmap(tg.take)(x, indices)`
reverse | tg.flip(x, axis)
slice | tg.ops.slice(x, begin, size) | or `x[begin:end]`; no -1 for the rest
split | tg.split(x, parts, axis) | a list says where to cut, not how long the parts are
stack | tg.stack(tensors, axis)
tile | tg.tile(x, reps)
unstack | tg.unstack(x, axis=axis)
gatherND | x[tuple(tg.unstack(indices, axis=-1))]
scatterND | tg.ops.scatter(indices, updates, shape)
tensorScatterUpdate | tg.scatter_update(tensor, indices, updates)
stridedSlice | x[begin:end:stride] | Python's index: None is a new axis, an integer drops one, ... stands for the rest
meshgrid | tg.meshgrid(x, y, indexing="xy")
einsum | tg.einsum(equation, *tensors)
# For a fixed number of axes
concat1d | tg.concat(tensors)
concat2d | tg.concat(tensors, axis)
concat3d | tg.concat(tensors, axis)
concat4d | tg.concat(tensors, axis)
slice1d | x[begin : begin + size]
slice2d | tg.ops.slice(x, begin, size)
slice3d | tg.ops.slice(x, begin, size)
slice4d | tg.ops.slice(x, begin, size)
reverse1d | tg.flip(x)
reverse2d | tg.flip(x, axis)
reverse3d | tg.flip(x, axis)
reverse4d | tg.flip(x, axis)
pad1d | tg.pad(x, paddings)
pad2d | tg.pad(x, paddings)
pad3d | tg.pad(x, paddings)
pad4d | tg.pad(x, paddings)
batchNorm2d | tg.nn.batch_normalization(x, mean, variance, -1, offset, scale, epsilon)
batchNorm3d | tg.nn.batch_normalization(x, mean, variance, -1, offset, scale, epsilon)
batchNorm4d | tg.nn.batch_normalization(x, mean, variance, -1, offset, scale, epsilon)
maxPool | tg.nn.max_pool(x, size, strides, padding)
raggedRange | tg.segment.ragged_range(starts, limits, deltas)
# Arithmetic
add | a + b | `tg.add`
addN | sum(tensors) | one kernel
sub | a - b | `tg.subtract`
mul | a * b | `tg.multiply`
div | a / b | `tg.divide`; whole numbers give floats, as in Python
divNoNan | tg.ops.divide_no_nan(a, b)
floorDiv | a // b | `tg.floor_divide`
maximum | tg.maximum(a, b)
minimum | tg.minimum(a, b)
mod | a % b | `tg.mod`
pow | base ** exponent | `tg.power`
squaredDifference | tg.square(a - b)
# Basic mathematics
abs | tg.abs(x)
acos | tg.acos(x)
acosh | tg.acosh(x)
asin | tg.asin(x)
asinh | tg.asinh(x)
atan | tg.atan(x)
atan2 | tg.atan2(a, b)
atanh | tg.atanh(x)
ceil | tg.ceil(x)
clipByValue | tg.clip(x, low, high)
cos | tg.cos(x)
cosh | tg.cosh(x)
elu | tg.nn.elu(x)
erf | tg.erf(x)
exp | tg.exp(x)
expm1 | tg.expm1(x)
floor | tg.floor(x)
isFinite | tg.isfinite(x)
isInf | tg.isinf(x)
isNaN | tg.isnan(x)
leakyRelu | tg.nn.leaky_relu(x, alpha)
log | tg.log(x)
log1p | tg.log1p(x)
logSigmoid | tg.nn.log_sigmoid(x)
neg | -x | `tg.negative`
prelu | tg.nn.prelu(x, alpha)
reciprocal | tg.reciprocal(x)
relu | tg.nn.relu(x)
relu6 | tg.nn.relu6(x)
round | tg.round(x) | halves go to the even neighbour
rsqrt | tg.rsqrt(x)
selu | tg.nn.selu(x)
sigmoid | tg.sigmoid(x)
sign | tg.sign(x)
sin | tg.sin(x)
sinh | tg.sinh(x)
softplus | tg.nn.softplus(x)
sqrt | tg.sqrt(x)
square | tg.square(x)
step | tg.where(x > 0, 1.0, alpha * x) | `tg.heaviside(x, 0.0)` where alpha is 0
tan | tg.tan(x)
tanh | tg.tanh(x)
# Matrices
dot | tg.dot(a, b)
euclideanNorm | tg.linalg.norm(x, axis=axis, keepdims=keepdims)
matMul | a @ b | transposed: `a.mT @ b`
norm | tg.linalg.norm(x, order, axis, keepdims)
outerProduct | tg.outer(a, b)
transpose | tg.transpose(x, order) | conjugated: `tg.conj(tg.transpose(x))`
# Convolution and pooling
avgPool | tg.nn.average_pool(x, size, strides, padding)
avgPool3d | tg.nn.average_pool(x, size, strides, padding)
conv1d | tg.nn.conv(x, kernel, strides, padding, dilation_rate=dilation)
conv2d | tg.nn.conv(x, kernel, strides, padding, dilation_rate=dilations) | NCHW: `data_format="channels_first"`
conv2dTranspose | tg.nn.conv_transpose(x, kernel, strides, padding, output_padding)
conv3d | tg.nn.conv(x, kernel, strides, padding, dilation_rate=dilations)
conv3dTranspose | tg.nn.conv_transpose(x, kernel, strides, padding, output_padding)
depthwiseConv2d | tg.nn.depthwise_conv(x, kernel, strides, padding, dilation_rate=dilations)
dilation2d | tg.nn.dilation2d(x, kernel, strides, padding, dilation_rate=dilations)
maxPool3d | tg.nn.max_pool(x, size, strides, padding)
maxPoolWithArgmax | tg.nn.max_pool_with_argmax(x, size, strides, padding, include_batch_in_index=False)
pool | tg.nn.max_pool(x, window, strides, padding, dilation_rate=dilations) | or `tg.nn.average_pool`
separableConv2d | tg.nn.separable_conv(x, depthwise, pointwise, strides, padding, dilation_rate=dilations)
# Fused
fused.matMul | tg.nn.relu(a @ b + bias) | with any activation: the compiler makes one kernel of it
fused.conv2d | tg.nn.relu(tg.nn.conv(x, kernel, strides, padding) + bias) | likewise
fused.depthwiseConv2d | tg.nn.relu(tg.nn.depthwise_conv(x, kernel, strides, padding) + bias) | likewise
# Reduction
all | tg.all(x, axis, keepdims)
any | tg.any(x, axis, keepdims)
argMax | tg.argmax(x, axis)
argMin | tg.argmin(x, axis)
bincount | tg.bincount(x, weights, length=size)
denseBincount | tg.bincount(x, weights, length=size) | rows are counted each for itself; binary: `tg.bincount(x, length=size) > 0`
logSumExp | tg.logsumexp(x, axis, keepdims)
max | tg.max(x, axis, keepdims)
mean | tg.mean(x, axis, keepdims)
min | tg.min(x, axis, keepdims)
prod | tg.prod(x, axis, keepdims)
sum | tg.sum(x, axis, keepdims)
# Running folds
cumprod | tg.cumprod(x, axis, reverse=True) | exclusive: `tg.cumulative_prod(x, axis=axis, include_initial=True)[:-1]`
cumsum | tg.cumsum(x, axis, reverse=True) | exclusive: `tg.cumsum(x, axis) - x`
# Normalization
batchNorm | tg.nn.batch_normalization(x, mean, variance, -1, offset, scale, epsilon)
localResponseNormalization | tg.nn.local_response_normalization(x, depth_radius, bias, alpha, beta)
logSoftmax | tg.nn.log_softmax(x, axis)
moments | tg.nn.moments(x, axes, keepdims)
softmax | tg.nn.softmax(x, axis)
sparseToDense | tg.segment.sparse_to_dense(indices, values, shape, default)
# Logical
bitwiseAnd | x & y | `tg.bitwise_and`
equal | x == y | `tg.equal`
greater | x > y | `tg.greater`
greaterEqual | x >= y | `tg.greater_equal`
less | x < y | `tg.less`
lessEqual | x <= y | `tg.less_equal`
logicalAnd | tg.logical_and(x, y)
logicalNot | tg.logical_not(x)
logicalOr | tg.logical_or(x, y)
logicalXor | tg.logical_xor(x, y)
notEqual | x != y | `tg.not_equal`
where | tg.where(condition, a, b)
whereAsync | tg.argwhere(condition) | in a compiled function, `tg.argwhere(condition, size=n)`
# Images
image.cropAndResize | tg.image.crop_and_resize(image, boxes, box_indices, crop_size, method, extrapolation_value)
image.flipLeftRight | tg.image.flip_left_right(image)
image.grayscaleToRGB | tg.image.grayscale_to_rgb(image)
image.nonMaxSuppression | tg.image.non_max_suppression(boxes, scores, max_output_size, iou_threshold, score_threshold)
image.nonMaxSuppressionAsync | tg.image.non_max_suppression(boxes, scores, max_output_size, iou_threshold, score_threshold)
image.nonMaxSuppressionPadded | tg.image.non_max_suppression_padded(boxes, scores, max_output_size, iou_threshold, score_threshold)
image.nonMaxSuppressionPaddedAsync | tg.image.non_max_suppression_padded(boxes, scores, max_output_size, iou_threshold, score_threshold)
image.nonMaxSuppressionWithScore | tg.image.non_max_suppression_with_scores(boxes, scores, max_output_size, iou_threshold, score_threshold, soft_nms_sigma)
image.nonMaxSuppressionWithScoreAsync | tg.image.non_max_suppression_with_scores(boxes, scores, max_output_size, iou_threshold, score_threshold, soft_nms_sigma)
image.resizeBilinear | tg.image.resize(images, size, "bilinear", half_pixel_centers=False) | TensorFlow.js's default has no half-pixel centres
image.resizeNearestNeighbor | tg.image.resize(images, size, "nearest", half_pixel_centers=False)
image.rgbToGrayscale | tg.image.rgb_to_grayscale(image)
image.rotateWithOffset | tg.image.rotate_with_offset(image, radians, fill_value, center)
image.threshold | tg.image.threshold(image, method, inverted, thresh_value)
image.transform | tg.image.transform(image, transforms, interpolation, fill_mode, fill_value, output_shape)
# Recurrent cells
basicLSTMCell | tg.nn.basic_lstm_cell(forget_bias, kernel, bias, data, c, h)
multiRNNCell | tg.nn.multi_rnn_cell(cells, data, c, h)
# Linear algebra
linalg.bandPart | tg.linalg.band_part(a, num_lower, num_upper)
linalg.gramSchmidt | tg.linalg.gram_schmidt(xs)
linalg.qr | tg.linalg.qr(x, mode="reduced") | full_matrices is `mode="complete"`
# Spectral
fft | tg.fft.fft(x)
ifft | tg.fft.ifft(x)
rfft | tg.fft.rfft(x, n=fft_length)
irfft | tg.fft.irfft(x)
# Signal
signal.frame | tg.signal.frame(signal, frame_length, frame_step, pad_end, pad_value)
signal.hammingWindow | tg.signal.hamming_window(length)
signal.hannWindow | tg.signal.hann_window(length)
signal.stft | tg.signal.stft(signal, frame_length, frame_step, fft_length)
# Segments
unsortedSegmentSum | tg.segment.sum(x, segment_ids, num_segments)
# Moving average
movingAverage | v + (x - v) * (1 - decay) / (1 - decay**step) | without `zero_debias`, leave the divisor away
# Dropout
dropout | tg.nn.dropout(x, rate, noise_shape, seed)
# Sparse
sparse.sparseFillEmptyRows | tg.segment.sparse_fill_empty_rows(indices, values, dense_shape, default)
sparse.sparseReshape | tg.segment.sparse_reshape(indices, shape, new_shape)
sparse.sparseSegmentMean | tg.segment.sparse_segment_mean(data, indices, segment_ids)
sparse.sparseSegmentSum | tg.segment.sparse_segment_sum(data, indices, segment_ids)
# Ragged
raggedGather | tg.segment.ragged_gather(nested_splits, values, indices)
raggedTensorToTensor | tg.segment.ragged_tensor_to_tensor(shape, values, default, row_partition_tensors, row_partition_types)
# Strings
string.staticRegexReplace | [re.sub(pattern, rewrite, s) for s in strings] | tensors hold no strings: Python's do it, before anything is made a tensor
string.stringNGrams | [separator.join(words[i : i + n]) for i in range(len(words) - n + 1)] | likewise
string.stringSplit | [s.split(delimiter) for s in strings] | likewise
string.stringToHashBucketFast | [zlib.crc32(s.encode()) % num_buckets for s in strings] | likewise; other buckets than FarmHash64 gives
# Evaluation
confusionMatrix | tg.bincount(labels * n + predictions, length=n * n).reshape((n, n))
inTopKAsync | tg.nn.in_top_k(targets, predictions, k)
lowerBound | tg.searchsorted(sequence, values, "left") | rows: `tg.vmap(tg.searchsorted)(sequence, values)`
searchSorted | tg.searchsorted(sequence, values, side) | likewise
topk | tg.top_k(x, k)
unique | tg.unique(x, return_inverse=True, axis=axis) | sorted, where TensorFlow.js keeps the order of appearance
upperBound | tg.searchsorted(sequence, values, "right") | rows as above
# Losses
losses.absoluteDifference | tg.nn.absolute_difference(labels, predictions, weights, reduction)
losses.computeWeightedLoss | tg.nn.compute_weighted_loss(losses, weights, reduction)
losses.cosineDistance | tg.nn.cosine_distance(labels, predictions, axis, weights, reduction)
losses.hingeLoss | tg.nn.hinge_loss(labels, predictions, weights, reduction)
losses.huberLoss | tg.nn.huber_loss(labels, predictions, weights, delta, reduction)
losses.logLoss | tg.nn.log_loss(labels, predictions, weights, epsilon, reduction)
losses.meanSquaredError | tg.nn.mean_squared_error(labels, predictions, weights, reduction)
losses.sigmoidCrossEntropy | tg.nn.sigmoid_cross_entropy(labels, logits, weights, label_smoothing, reduction)
losses.softmaxCrossEntropy | tg.nn.softmax_cross_entropy(labels, logits, weights, label_smoothing, reduction)
"""

BESIDE = """
# Helpers exported with the operations
op | def f(x): ... | a function of yours is an operation like any other
enclosingPowerOfTwo | 1 << (value - 1).bit_length()
cosineWindow | tg.signal.cosine_window(length, a, b)
spectral.fft | tg.fft.fft(x) | the other three of tf.spectral likewise
# Gradients
grad | tg.grad(f)
grads | tg.grad(f, argnums=(0, 1))
valueAndGrad | tg.value_and_grad(f)
valueAndGrads | tg.value_and_grad(f, argnums=(0, 1))
variableGrads | tg.value_and_grad(f, variables=variables)
customGrad | tg.custom_gradient(f)
# Memory
tidy | f() | buffers go when Python drops the last name for them
keep | x = f() | likewise
dispose | del x | likewise
disposeVariables | del variables | likewise
memory | tg.memory()
# Timing, debugging, environment
time | tg.compile(f) | then time it as any Python; `TABGRAD_DEBUG=5` prints how long each run took, and on the laptop's GPU each kernel
profile | tg.memory() | with `TABGRAD_DEBUG=3` the kernels are printed, with 4 the memory plan
nextFrame | await x.data() | a page lives on while Python waits
enableDebugMode | TABGRAD_DEBUG=2 | an environment variable; 0 to 5 says how much is printed
enableProdMode | TABGRAD_DEBUG=0
setBackend | tg.set_engine(name)
# Optimizers
train.sgd | tg.optimizers.SGD(learning_rate)
train.momentum | tg.optimizers.SGD(learning_rate, momentum, nesterov=False)
train.rmsprop | tg.optimizers.RMSprop(learning_rate, rho=decay)
train.adam | tg.optimizers.Adam(learning_rate)
"""

HEAD = """# TensorFlow.js's operations in tabgrad

Every operation that TensorFlow.js 4.22 exports, and the Python that does the same. `tg` is
`import tabgrad as tg`. Functions that Keras 3 has are in `tg.ops` too, under Keras's names.
Functions with `Async` need no `await` on a laptop; in a page, see `Tensor.data`.

This file is written by `tools/tfjs_table.py`: change that and run `python -m tools.tfjs_table`.
"""


class Operation(NamedTuple):
    """One line: TensorFlow.js's name, Python, and a remark that may be empty."""

    heading: str
    name: str
    python: str
    remark: str


def parsed(text: str) -> Iterator[Operation]:
    """The lines of a list, each with the heading that it stands under."""
    heading = ""
    for line in text.strip().splitlines():
        if line.startswith("# "):
            heading = line.removeprefix("# ")
            continue
        name, python, *remark = (part.strip() for part in line.split(" | "))
        yield Operation(heading, name, python, remark[0] if remark else "")


def _tables(operations: list[Operation]) -> str:
    lines = []
    heading = ""
    for operation in operations:
        if operation.heading != heading:
            heading = operation.heading
            lines += [f"\n## {heading}\n", "| TensorFlow.js | tabgrad | |", "|---|---|---|"]
        code = operation.python.replace("|", "\\|")
        lines.append(
            f"| {operation.name} | `{code}` | {operation.remark} |".replace(" |  |", " | |")
        )
    return "\n".join(lines)


def document() -> str:
    """The whole document."""
    operations = list(parsed(OPERATIONS))
    head = f"{HEAD}\n{len(operations)} operations, then what is exported beside them.\n"
    beside = "# Beside the operations\n" + _tables(list(parsed(BESIDE)))
    return f"{head}{_tables(operations)}\n\n{beside}\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
