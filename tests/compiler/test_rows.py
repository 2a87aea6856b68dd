"""Partial batches: a padded batch run with its true row count gives what the exact batch gives.

The exact batch is the same function captured at the smaller size, where no mask is needed; a few
cases are compared with NumPy as well.
"""

from __future__ import annotations

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import jit, ops, realize
from tabgrad.compiler.rows import mask_rows
from tabgrad.compiler.simplify import simplify
from tabgrad.engines.reference import ReferenceEngine, evaluate
from tabgrad.ir.graph import make, toposort
from tabgrad.ir.verify import verify_graph

FULL, TRUE = 8, 5
RNG = np.random.default_rng(3)
X = RNG.normal(size=(TRUE, 6)).astype(np.float32)
LABELS = np.array([0, 2, 1, 2, 0], np.int32)
IMAGES = RNG.normal(size=(TRUE, 6, 6, 2)).astype(np.float32)


@pytest.fixture(autouse=True)
def _on_reference():
    with realize.using(ReferenceEngine()):
        yield


def padded(array):
    """The full batch: the rows after the true ones repeat the last."""
    return np.concatenate([array, np.repeat(array[-1:], FULL - len(array), axis=0)])


def traced(fn, arrays, rows):
    specs = [
        (array.shape, array.dtype.name, marked) for array, marked in zip(arrays, rows, strict=True)
    ]
    return jit.trace(fn, specs)


def run(graph, arrays, variables, count):
    """Outputs, then new values of variables, as arrays."""
    leaves = dict(zip(graph.inputs, arrays, strict=True))
    leaves |= {n: np.asarray(v.value) for n, v in zip(graph.state, variables, strict=True)}
    leaves[make("rows")] = np.int32(count)
    roots = [*graph.outputs, *(node for _, node in graph.updates)]
    results = evaluate(simplify(roots), leaves)
    direct = evaluate(roots, leaves)
    for simple, plain in zip(results, direct, strict=True):
        np.testing.assert_allclose(simple, plain, rtol=2e-5, atol=1e-6)
    return direct


def compare(fn, *arrays, rows=None, rtol=2e-6, atol=1e-6, full=FULL):
    """Run `fn` both ways; returns the masked entry and the exact results."""
    rows = [True] * len(arrays) if rows is None else rows
    exact = traced(fn, arrays, rows)
    expected = run(exact.graph, arrays, exact.variables, TRUE)
    filled = [padded(a) if marked else a for a, marked in zip(arrays, rows, strict=True)]
    big = traced(fn, filled, rows)
    verify_graph(big.graph)
    masked = mask_rows(big.graph)
    assert not masked.exact, masked.reason
    verify_graph(masked.graph)
    got = run(masked.graph, filled, big.variables, TRUE)
    flags = masked.row_outputs + [False] * len(big.graph.updates)
    for value, want, has_rows in zip(got, expected, flags, strict=True):
        value = value[:TRUE] if has_rows else value
        assert value.shape == want.shape
        np.testing.assert_allclose(value, want, rtol=rtol, atol=atol)
    # With a full batch the masked entry is the plain one.
    whole = run(masked.graph, filled, big.variables, full)
    plain = run(big.graph, filled, big.variables, full)
    for value, want in zip(whole, plain, strict=True):
        np.testing.assert_allclose(value, want, rtol=rtol, atol=atol)
    return masked, expected


def masks(masked):
    """How many masks the entry has."""
    roots = [*masked.graph.outputs, *(node for _, node in masked.graph.updates)]
    return sum(
        node.prim.name == "select" and "iota" in [n.prim.name for n in toposort([node.srcs[0]])]
        for node in toposort(roots)
    )


def refused(fn, *arrays, rows=None):
    """The reason why an entry is for full batches only."""
    rows = [True] * len(arrays) if rows is None else rows
    entry = traced(fn, [padded(a) if m else a for a, m in zip(arrays, rows, strict=True)], rows)
    masked = mask_rows(entry.graph)
    assert masked.exact and masked.graph is entry.graph
    return masked.reason


def softmax_loss(logits, labels):
    hot = ops.one_hot(labels, logits.shape[-1])
    return ops.mean(-ops.sum(hot * ops.log_softmax(logits), axis=-1))


def normalised(x, gamma, beta):
    mean, var = ops.mean(x, axis=0), ops.var(x, axis=0)
    return (x - mean) / ops.sqrt(var + 1e-3) * gamma + beta, mean, var


def test_mean_and_its_gradient_against_numpy():
    def fn(x, w):
        return tg.value_and_grad(lambda w: ops.mean(ops.square(ops.matmul(x, w))))(w)

    w = RNG.normal(size=(6, 2)).astype(np.float32)
    _, (loss, slope) = compare(fn, X, w, rows=[True, False])
    y = X.astype(np.float64) @ w
    np.testing.assert_allclose(loss, np.mean(y**2), rtol=1e-6)
    np.testing.assert_allclose(slope, X.T @ (2 * y / y.size), rtol=1e-5)


def test_training_step_with_batch_norm_and_dropout():
    weights = [
        tg.Variable(RNG.normal(size=shape).astype(np.float32) * 0.5, name=name)
        for name, shape in [("w1", (6, 7)), ("b1", (7,)), ("w2", (7, 3)), ("b2", (3,))]
    ]
    gamma, beta = tg.Variable(np.ones(7, np.float32)), tg.Variable(np.zeros(7, np.float32))
    moving = tg.Variable(np.zeros(7, np.float32), trainable=False)
    total, count = tg.Variable(0.0, trainable=False), tg.Variable(0.0, trainable=False)
    seeds = tg.random.SeedGenerator(5)
    trained = [*weights, gamma, beta]

    def forward(x, labels):
        w1, b1, w2, b2 = weights
        hidden = ops.matmul(x, w1) + b1
        hidden, mean, _ = normalised(hidden, gamma, beta)
        moving.assign(moving * 0.9 + mean * 0.1)
        hidden = tg.random.dropout(ops.relu(hidden), 0.3, seed=seeds)
        logits = ops.matmul(hidden, w2) + b2
        return softmax_loss(logits, labels), logits

    def step(x, labels):
        both = tg.value_and_grad(forward, has_aux=True, variables=trained)
        (loss, logits), slopes = both(x, labels)
        for variable, slope in zip(trained, slopes, strict=True):
            variable.assign(variable - 0.1 * slope)
        right = ops.cast(ops.equal(ops.argmax(logits, axis=-1), labels), "float32")
        total.assign(total + ops.sum(right))
        count.assign(count + ops.cast(ops.count(right), "float32"))
        return loss, logits

    masked, _ = compare(step, X, LABELS, rtol=1e-5)
    assert masked.row_outputs == [False, True]


def test_convolutional_step():
    kernel = tg.Variable(RNG.normal(size=(3, 3, 2, 4)).astype(np.float32) * 0.3)
    bias = tg.Variable(RNG.normal(size=(4,)).astype(np.float32))
    dense = tg.Variable(RNG.normal(size=(36, 3)).astype(np.float32) * 0.3)

    def forward(x, labels):
        y = ops.relu(ops.conv(x, kernel, padding="same") + bias)
        y, _, _ = normalised(ops.reshape(y, (-1, 4)), 1.0, 0.0)
        y = ops.reshape(y, (-1, 6, 6, 4))
        y = ops.max_pool(y, 2)
        return softmax_loss(ops.matmul(ops.reshape(y, (-1, 36)), dense), labels)

    def step(x, labels):
        variables = [kernel, bias, dense]
        loss, slopes = tg.value_and_grad(forward, variables=variables)(x, labels)
        for variable, slope in zip(variables, slopes, strict=True):
            variable.assign(variable - 0.1 * slope)
        return loss

    compare(step, IMAGES, LABELS, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pool", [ops.max_pool, ops.average_pool])
def test_overlapping_pooling_and_strided_convolution(pool):
    def fn(x, w):
        def loss(w):
            y = ops.conv(x, w, strides=2, padding="same")
            return ops.mean(ops.square(pool(y, 2, 1)))

        return tg.value_and_grad(loss)(w)

    w = RNG.normal(size=(3, 3, 2, 3)).astype(np.float32)
    compare(fn, IMAGES, w, rows=[True, False], rtol=1e-5)


REDUCTIONS = {
    "sum": ops.sum,
    "mean": ops.mean,
    "prod": ops.prod,
    "max": ops.max,
    "min": ops.min,
    "argmax": ops.argmax,
    "argmin": ops.argmin,
    "var": ops.var,
    "logsumexp": ops.logsumexp,
    "any": lambda x, axis: ops.any(x > 1, axis),
    "all": lambda x, axis: ops.all(x > -3, axis),
}


@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name, axis):
    fold = REDUCTIONS[name]
    x = np.abs(X) if name == "min" else X  # what is repeated is never the extremum by chance
    masked, (want,) = compare(lambda x: fold(x, axis), x, rtol=1e-5)
    assert masked.row_outputs == [axis == 1]
    if name in ("sum", "prod", "max", "min", "argmax", "argmin"):
        np.testing.assert_allclose(want, getattr(np, name)(x, axis=axis), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "float16", "float64"])
@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "argmax", "argmin"])
def test_reductions_of_other_dtypes(name, dtype):
    fold = REDUCTIONS[name]
    x = np.array([[-3, 2], [-3, 2], [-1, 5], [-2, 5], [-4, 1]]).astype(dtype)
    compare(lambda x: fold(x, 0), x)


@pytest.mark.parametrize("name", ["max", "min", "prod"])
def test_gradients_of_folds_over_rows(name):
    fold = REDUCTIONS[name]
    tied = np.concatenate([X[:4], X[3:4]])  # the repeated row is part of a tie
    compare(tg.grad(lambda x: ops.sum(ops.square(fold(x, 0)))), tied, rtol=1e-5)


def test_extrema_where_every_true_row_is_the_limit():
    x = np.full((TRUE, 2), -np.inf, np.float32)
    compare(lambda x: (ops.max(x, 0), ops.argmax(x, 0), ops.argmin(-x, 0)), x)


def test_rows_inside_a_flattened_axis():
    def fn(x):
        flat = ops.reshape(x, (-1,))
        back = ops.reshape(flat, (-1, 2, 3))
        return ops.mean(flat), ops.argmax(flat), ops.sum(back, axis=(0, 2)), back

    masked, _ = compare(fn, X)
    assert masked.row_outputs == [False, False, False, True]


def test_counts():
    def fn(x):
        pairs = ops.reshape(x, (-1, 3))  # two of these per row
        return ops.count(x), ops.count(x, 0), ops.count(x, 1), ops.count(pairs, 0)

    _, counts = compare(fn, X)
    assert [int(c) for c in counts] == [30, 5, 6, 10]


def test_embedding_and_its_gradient():
    table = RNG.normal(size=(4, 3)).astype(np.float32)

    def fn(table, words):
        loss = lambda t: ops.mean(ops.square(ops.take(t, words, axis=0)))  # noqa: E731
        return tg.value_and_grad(loss)(table)

    words = np.array([[0, 1], [1, 3], [3, 3], [2, 0], [1, 1]], np.int32)
    compare(fn, table, words, rows=[False, True])


def test_covariance_folds_rows_of_both_factors():
    masked, (want,) = compare(lambda x: ops.matmul(ops.transpose(x), x), X, rtol=1e-5)
    np.testing.assert_allclose(want, X.T @ X, rtol=1e-5)
    assert masks(masked) == 1


def test_attention_over_a_short_sequence():
    shape = (TRUE, 4, 3)
    x = RNG.normal(size=shape).astype(np.float32)
    w = RNG.normal(size=(3, 9)).astype(np.float32)

    def fn(x, w):
        def loss(w):
            q, k, v = ops.split(ops.matmul(x, w), 3, axis=-1)
            scores = ops.softmax(ops.einsum("bqd,bkd->bqk", q, k))
            return ops.mean(ops.square(ops.einsum("bqk,bkd->bqd", scores, v)))

        return tg.value_and_grad(loss)(w)

    compare(fn, x, w, rows=[True, False], rtol=1e-4)


def test_one_mask_serves_a_whole_backward_pass():
    """A cotangent that is zero beyond the true rows stays so through all layers."""
    weights = [RNG.normal(size=(6, 6)).astype(np.float32) for _ in range(4)]

    biases = [RNG.normal(size=(6,)).astype(np.float32) for _ in range(4)]

    def fn(x, *weights):
        def loss(weights):
            y = x
            for w, bias in zip(weights[:4], weights[4:], strict=True):
                y = ops.relu(ops.matmul(y, w) + bias)
            return ops.mean(ops.square(y))

        return tg.value_and_grad(loss)(list(weights))

    masked, _ = compare(fn, X, *weights, *biases, rows=[True] + [False] * 8, rtol=1e-4)
    assert masks(masked) == 2  # in the loss, and in its cotangent


def test_padded_rows_that_are_not_finite_stay_out_of_weight_gradients():
    """Dropout may drop all of a padded row; its norm is 0 then, and 0 / 0 is NaN."""
    x = np.abs(X[:, :2]) + 1
    w = RNG.normal(size=(2, 3)).astype(np.float32)

    def fn(x, w, keep):
        def loss(w):
            kept = x * keep  # as a mask drawn for this batch, it does not repeat a true row
            unit = kept / ops.norm(kept, axis=1, keepdims=True)
            return ops.mean(ops.square(ops.matmul(unit, w)))

        return tg.value_and_grad(loss)(w)

    # `keep` is no input of rows: each batch size draws its own.
    keep = np.ones((FULL, 2), np.float32)
    keep[TRUE:] = 0
    big = traced(fn, [padded(x), w, keep], [True, False, False])
    masked = mask_rows(big.graph)
    loss, slope = run(masked.graph, [padded(x), w, keep], [], TRUE)
    small = traced(fn, [x, w, keep[:TRUE]], [True, False, False])
    want_loss, want_slope = run(small.graph, [x, w, keep[:TRUE]], [], TRUE)
    np.testing.assert_allclose(loss, want_loss, rtol=1e-6)
    np.testing.assert_allclose(slope, want_slope, rtol=1e-5)


def test_gradient_penalty_divides_by_a_norm_of_cotangents():
    """The cotangent of a padded row is zero, and so is its norm."""
    w1 = RNG.normal(size=(6, 5)).astype(np.float32)
    w2 = RNG.normal(size=(5, 1)).astype(np.float32)

    def fn(x, w1, w2):
        def penalty(w1, w2):
            slope = tg.grad(lambda x: ops.sum(ops.matmul(ops.tanh(ops.matmul(x, w1)), w2)))(x)
            return ops.mean(ops.square(ops.norm(slope, axis=1) - 1))

        return tg.value_and_grad(penalty, argnums=(0, 1))(w1, w2)

    compare(fn, X, w1, w2, rows=[True, False, False], rtol=1e-4)


def test_dropout_of_a_row_does_not_depend_on_the_batch_size():
    seeds = tg.random.SeedGenerator(1)
    masked, _ = compare(lambda x: tg.random.dropout(x, 0.5, seed=seeds), X)
    assert masked.row_outputs == [True]


MIXING = {
    "flip": lambda x: ops.flip(x, 0),
    "slice": lambda x: x[:3],
    "pick": lambda x: x[2],
    "gather": lambda x: ops.take(x, ops.argmax(x, axis=0), axis=0),
    "similarity": lambda x: ops.matmul(x, ops.transpose(x)),
    "both ways": lambda x: ops.sum(ops.matmul(ops.transpose(x), x)) + ops.matmul(
        x, ops.transpose(x)
    ),
    "append": lambda x: ops.concatenate([x, x], axis=0),
    "pad": lambda x: ops.pad(x, ((1, 0), (0, 0))),
    "cut": lambda x: ops.reshape(x, (4, 12)),
    "across": lambda x: x[:, :1] + ops.reshape(x[:, 0], (1, -1)),
    "pool": lambda x: ops.max_pool(ops.reshape(x, (1, -1, 6)), 2, data_format="channels_last"),
    "scan": lambda x: ops.scan(lambda c, r: (c + r, c), ops.sum(x[:, 0]), x[:, 0])[0],
    "while": lambda x: ops.while_loop(lambda v: ops.sum(v) < 9, lambda v: v + 1, x),
    "cond": lambda x: ops.cond(True, lambda: x, lambda: x + 1),
    "sort": lambda x: ops.sort(x, 0),
    "cumsum": lambda x: ops.cumsum(x, 0),
    "moved": lambda x: ops.transpose(x),
}  # fmt: skip


def test_order_within_rows_needs_no_mask():
    def fn(x):
        values, places = ops.top_k(x, 3)
        return ops.sort(x, 1), values, places, ops.sum(ops.cumsum(ops.sort(x), 1), 0)

    compare(fn, X, rtol=1e-5)


@pytest.mark.parametrize("name", MIXING)
def test_mixing_rows_makes_an_entry_exact(name):
    assert refused(MIXING[name], X)


def test_the_reason_names_what_mixes():
    assert "flip" in refused(MIXING["flip"], X)
    assert "first axis" in refused(MIXING["moved"], X)


def test_rows_put_into_state_make_an_entry_exact():
    last = tg.Variable(np.zeros((FULL, 6), np.float32), name="last")

    def fn(x):
        last.assign(x)

    assert "last" in refused(fn, X)


def test_cotangents_of_weights_as_large_as_the_batch_make_an_entry_exact():
    """A weight for each place in the batch has a gradient of rows, where it has none itself."""

    def fn(x, w):
        return tg.grad(lambda w: ops.sum(ops.sum(w, axis=1) * x[:, 0]))(w)

    w = np.ones((FULL, 3), np.float32)
    assert "loses sight" in refused(fn, X, w, rows=[True, False])


def test_outputs_of_exact_entries_are_told_by_their_shape():
    entry = traced(lambda x: (ops.flip(x, 0), ops.sum(x)), [padded(X)], [True])
    assert mask_rows(entry.graph).row_outputs == [True, False]


def test_nothing_to_do_without_rows_or_with_a_single_one():
    plain = traced(ops.mean, [X], [False])
    assert mask_rows(plain.graph) == (plain.graph, False, [False], "")
    single = traced(lambda x: (x + 1, ops.flip(x, 0)), [X[:1]], [True])
    found = mask_rows(single.graph)
    assert (found.graph, found.exact) == (single.graph, False)
    clean = traced(lambda x: (x + 1, ops.sum(x)), [X[:1]], [True])
    assert mask_rows(clean.graph).row_outputs == [True, False]


@pytest.mark.parametrize("shape", [(1, 12), (1, 1, 12), (1, 3, 4, 1)])
def test_a_reshape_of_a_single_row_keeps_it_on_the_first_axis(shape):
    """Any axis of size 1 could be the batch there; flattening and new axes keep the first."""
    x = np.ones((1, 3, 4), np.float32)
    entry = traced(lambda x: ops.sum(ops.reshape(x, shape), axis=-1), [x], [True])
    assert mask_rows(entry.graph).row_outputs == [True]


def test_custom_gradients_and_checkpoints():
    """A custom gradient is gone before rows are followed; a barrier lets them through."""
    x, w = X, RNG.normal(size=(6, 3)).astype(np.float32)

    @tg.custom_gradient
    def scaled(x):
        both = (x * 2, ops.sum(x))
        return both, lambda g: g[0] * 3 + g[1]

    def loss(x, w):
        y, total = scaled(x @ w)
        return ops.mean(ops.square(y)) + total

    def deep(x, w):
        block = tg.checkpoint(lambda x: ops.tanh(ops.tanh(x @ w)))
        return ops.mean(ops.square(block(x)))

    for fn in (loss, deep):
        compare(tg.value_and_grad(fn, (0, 1)), x, w, rows=[True, False], rtol=1e-5)
