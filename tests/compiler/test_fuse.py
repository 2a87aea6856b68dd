"""How graphs are cut into kernels: how many there are, what each holds, what is stored between."""

from __future__ import annotations

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import ops
from tabgrad.compiler import fuse
from tabgrad.compiler.driver import simplified
from tabgrad.ir import build as b
from tabgrad.ir.entry import Argument, EntryGraph, Result
from tabgrad.ir.graph import make
from tabgrad.ir.kernel import walk
from tests.compiler.programs import made, made_of, step_entry, stored, traced, variable

F = "float32"


def line(result, start):
    """The one line of the kernels that begins so."""
    text = "\n".join(kernel.text() for kernel in result.kernels)
    (found,) = (each.strip() for each in text.splitlines() if each.strip().startswith(start))
    return found


# Epilogues and prologues


def test_bias_and_activation_are_part_of_a_convolution():
    def conv(x, w, bias):
        return ops.relu(ops.conv(x, w, padding="same") + bias)

    result = made(conv, ((2, 8, 8, 3), F), ((3, 3, 3, 4), F), ((4,), F))
    # The map copies the image with a border of zeros.
    assert result.kinds == ["map", "contract"] and result.plan.arena < 2 * 2 * 8 * 8 * 3 * 4
    assert line(result, "y0[") == "y0[n1+m4*4+m3*32+m2*256] = select(le(v0, 0.0), 0.0, v0)"


def test_a_residual_and_a_dense_layer_of_gelu_are_one_kernel_each():
    def block(x, w, out):
        return (x + ops.gelu(x @ w)) @ out

    result = made(block, ((40, 64), F), ((64, 64), F), ((64, 10), F))
    assert result.kinds == ["contract", "contract"]
    assert len(result.plan.temporaries) == 1


def test_an_operand_of_a_contraction_is_computed_once_before():
    """A panel of it is read many times."""

    def dense(x, w):
        return ops.exp(x) @ w

    result = made(dense, ((40, 64), F), ((64, 20), F))
    assert result.kinds == ["map", "contract"]
    assert line(result, "t0[") == "t0[i0] = exp(x0[i0])"


def test_views_of_operands_are_read_where_they_are():
    def views(x, w):
        return ops.flip(ops.transpose(x), 0)[:, 1:] @ ops.reshape(w, (39, 20))

    result = made(views, ((40, 64), F), ((78, 10), F))
    assert result.kinds == ["contract"] and not result.plan.temporaries


def test_arithmetic_before_and_after_a_sum_is_in_its_kernel():
    def norm(x):
        return ops.sqrt(ops.sum(ops.square(x - 1), axis=1) + 3)

    result = made(norm, ((30, 40), F))
    assert result.kinds == ["reduce"] and not result.plan.temporaries


def test_a_sum_and_what_follows_it_are_stores_of_one_kernel():
    """The sum itself is an output, so the epilogue ends there; the map after it is taken in."""

    def both(x):
        total = ops.sum(x, axis=1)
        return total, ops.exp(total)

    result = made(both, ((30, 40), F))
    assert result.kinds == ["reduce"]
    assert len(result.kernels[0].stores) == 2


def test_a_permutation_after_a_fold_is_where_its_results_go():
    """Unless it moves the last axis, or somebody wants the results where they were."""

    def turned(x, w):
        return ops.reshape(ops.transpose(ops.relu(x @ w), (1, 0, 2)), (30, 100))

    specs = ((5, 30, 40), F), ((5, 40, 20), F)
    assert made(turned, *specs).kinds == ["contract"]
    last = made(lambda x, w: ops.transpose(ops.relu(x @ w), (1, 2, 0)), *specs)
    assert last.kinds == ["contract", "map"]
    both = made(lambda x, w: (x @ w, ops.transpose(x @ w, (1, 0, 2))), *specs)
    assert both.kinds == ["contract", "map"]
    x = np.arange(5 * 30 * 40, dtype=np.float32).reshape(5, 30, 40) % 7 - 3
    w = np.arange(5 * 40 * 20, dtype=np.float32).reshape(5, 40, 20) % 5 - 2
    expected = np.maximum(x @ w, 0).transpose(1, 0, 2).reshape(30, 100)
    np.testing.assert_array_equal(tg.compile(turned)(tg.tensor(x), tg.tensor(w)), expected)


def test_two_folds_of_one_epilogue_meet_in_one_of_them():
    def ratio(x, y):
        return ops.sum(x, axis=1) / ops.sum(y, axis=1)

    result = made(ratio, ((30, 40), F), ((30, 40), F))
    assert result.kinds == ["reduce", "reduce"]
    assert sum("div" in kernel.text() for kernel in result.kernels) == 1


# What is stored


def test_softmax():
    def softmax(x):
        return ops.softmax(x)

    result = made(softmax, ((32, 10), F))
    assert result.kinds == ["reduce", "map", "reduce", "map"]
    assert sum("exp(" in kernel.text() for kernel in result.kernels) == 1


def test_layer_norm_is_two_sums_and_a_map():
    def norm(x, gamma, beta):
        mean = ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(x - mean), axis=-1, keepdims=True)
        return (x - mean) * ops.rsqrt(variance + 1e-5) * gamma + beta

    result = made(norm, ((32, 64), F), ((64,), F), ((64,), F))
    assert result.kinds == ["reduce", "reduce", "map"]
    # Only the two numbers of each row are kept, not the centred rows.
    assert sorted(buffer.size for buffer in result.plan.temporaries) == [32, 32]


def test_attention_stores_its_weights_once():
    def attention(q, k, v):
        return ops.matmul(ops.softmax(ops.matmul(q, ops.transpose(k, (0, 2, 1)))), v)

    result = made(attention, *[((4, 50, 64), F)] * 3)
    assert [k.kind for k in result.kernels if "pack" not in k.name] == [
        "contract", "reduce", "map", "reduce", "map", "contract",
    ]  # fmt: skip
    assert sum("exp(" in kernel.text() for kernel in result.kernels) == 1


def test_what_is_dear_and_used_twice_is_stored_and_what_is_cheap_is_not():
    def dear(x):
        y = ops.exp(x)
        return ops.sum(y, axis=0), ops.sum(y, axis=1)

    def cheap(x):
        y = x + 1
        return ops.sum(y, axis=0), ops.sum(y, axis=1)

    assert made(dear, ((30, 40), F)).kinds == ["map", "reduce", "reduce"]
    assert made(cheap, ((30, 40), F)).kinds == ["reduce", "reduce"]


def test_what_a_broadcast_would_compute_again_is_stored():
    def outer(x, y):
        return ops.exp(x)[:, None] * ops.exp(y)[None, :]

    result = made(outer, ((30,), F), ((40,), F))
    assert all("exp" not in k.text() for k in result.kernels if len(k.space) == 2)


def test_overlapping_windows_read_a_stored_operand_others_do_not():
    def pool(x):
        return ops.max_pool(ops.exp(x), 2)

    def overlapping(x):
        return ops.max_pool(ops.exp(x), 3, strides=1)

    assert made(pool, ((2, 8, 8, 3), F)).kinds == ["reduce"]
    assert made(overlapping, ((2, 8, 8, 3), F)).kinds == ["map", "reduce"]


def test_random_bits_are_drawn_where_they_are_used():
    def dropout(x):
        return tg.random.dropout(x, 0.5, seed=7)

    result = made(dropout, ((40, 64), F))
    assert result.kinds == ["map"] and not result.plan.temporaries


def test_normal_numbers_are_drawn_in_one_kernel():
    """What a long expression has more than once counts once: two kernels would draw them twice."""
    result = made(lambda x: x + tg.random.normal((1000,), seed=7), ((1000,), F))
    assert result.kinds == ["map"]
    drawn = [x for x in walk(result.kernels[0].expressions()) if x.op == "threefry"]
    assert len(drawn) == 1 and len(result.kernels[0].stores) == 1


def test_the_mask_of_dropout_is_not_drawn_twice_for_the_gradient():
    """Threefry is the dearest primitive: what both directions need is stored."""

    def step(x, w):
        return tg.grad(lambda w: ops.sum(ops.square(tg.random.dropout(x @ w, 0.5, seed=7))))(w)

    result = made(step, ((40, 64), F), ((64, 30), F))
    assert sum("threefry" in kernel.text() for kernel in result.kernels) == 1


# Maps together


def test_results_that_share_what_they_read_are_stored_by_one_kernel():
    def several(x, y):
        total = x + y
        return total, total * x, total > y

    result = made(several, ((300,), F), ((300,), F))
    assert result.kinds == ["map"]
    assert [store.buffer.role for store in result.kernels[0].stores] == ["output"] * 3


def test_what_only_its_own_kernel_reads_is_not_stored():
    """It was to be shared, until both users came into one kernel."""

    def twice(x):
        y = ops.exp(x)
        return y * 2, y * 3

    result = made(twice, ((300,), F))
    assert result.kinds == ["map"] and not result.plan.temporaries
    assert result.kernels[0].text().count("exp(") == 1


def test_maps_that_share_nothing_stay_apart():
    def apart(x, y):
        return x * 2, y * 2

    assert made(apart, ((300,), F), ((300,), F)).kinds == ["map", "map"]


def test_a_map_that_depends_on_the_other_by_a_fold_comes_after_it():
    def around(x):
        y = ops.exp(x)
        return y, y / ops.sum(y)

    result = made(around, ((300,), F))
    assert result.kinds == ["map", "reduce", "map"]


def test_a_map_that_depends_on_the_other_by_what_a_third_holds_stays_apart():
    """`c` and `z` are one kernel, so what reads `c` comes after `u`, which `z` reads."""

    def tangled(x, y, w):
        c = ops.tanh(x)
        product = c @ w
        u = ops.tanh(y)
        z = c * ops.transpose(u)
        other = product @ w
        return product, z, other, ops.tanh(other) * y, u

    result = made(tangled, *[((40, 40), F)] * 3)
    assert result.kinds == ["map", "map", "contract", "contract", "map"]


def test_kernels_stay_bounded_however_long_the_chain():
    x = y = b.input((64,), tg.float32)
    for i in range(1000):
        y = b.add(make("sin" if i % 2 else "exp", y), x)
    result = made_of(EntryGraph("chain", [Argument(x, "x")], [], [Result(y, "y")]))
    for kernel in result.kernels:
        cost = sum(fuse.COSTS.get(expr.op, 1) for expr in walk(kernel.expressions()))
        assert cost <= len(kernel.stores) * fuse.MAX_COST
        assert len(kernel.stores) <= fuse.MAX_STORES


def test_kernels_read_a_bounded_number_of_buffers():
    inputs = [b.input((64,), tg.float32) for _ in range(200)]
    total = inputs[0]
    for node in inputs[1:]:
        total = b.add(total, node)
    arguments = [Argument(node, f"x{i}") for i, node in enumerate(inputs)]
    result = made_of(EntryGraph("sum", arguments, [], [Result(total, "y")]))
    assert max(len(k.reads()) + len(k.writes()) for k in result.kernels) <= 2 * fuse.MAX_SOURCES
    assert len(result.kernels) < 20


# State


def roles(result):
    """Where each kernel writes."""
    return [sorted({b.root.role for b in kernel.writes()}) for kernel in result.kernels]


def test_adam_updates_a_weight_and_its_slots_in_one_kernel_in_place():
    w, m, v = variable("w", 50), variable("m", 50), variable("v", 50)

    def adam(slope, rate):
        mean = m * 0.9 + slope * 0.1
        square = v * 0.999 + ops.square(slope) * 0.001
        w.assign(w - rate * mean / (ops.sqrt(square) + 1e-7))
        m.assign(mean)
        v.assign(square)

    result = made(adam, ((50,), F), ((), F))
    assert result.kinds == ["map"] and result.plan.arena == 0
    (kernel,) = result.kernels
    assert [store.buffer.role for store in kernel.stores] == ["state"] * 3


def test_a_gradient_step_writes_into_the_weights():
    """The product of the weight gradient, the update, and no buffer for either."""
    w = variable("w", 64, 32)

    def step(x, slope):
        w.assign(w - 0.1 * (ops.transpose(x) @ slope))

    result = made(step, ((40, 64), F), ((40, 32), F))
    assert result.kinds == ["contract"] and roles(result) == [["state"]]
    assert not result.plan.temporaries


def test_no_optimizer_of_a_model_keeps_copies_of_weights():
    for optimizer in ("sgd", "rmsprop", "adam"):
        model = tg.Sequential([tg.Input((64,)), tg.layers.Dense(48, activation="relu"),
                               tg.layers.Dense(10)])  # fmt: skip
        model.compile(optimizer, "mse")
        result = made_of(step_entry(model, "train_step", 32))
        shapes = {(64, 48), (48, 10), (48,), (10,)}
        states = [n for n in result.plan.graph.state if n.shape in shapes]
        assert len(states) >= 4
        for kernel in result.kernels:
            for node, store in zip(kernel.nodes, kernel.stores, strict=bool(kernel.nodes)):
                if any(node is new for _, new in result.plan.graph.updates):
                    assert store.buffer.role == "state", kernel.text()


def test_a_state_read_elsewhere_goes_through_a_copy():
    """Written back to front, every element but the middle one is read after it is overwritten."""
    w = variable("w", 50)

    def flip():
        w.assign(ops.flip(w.value, 0))

    result = made(flip)
    assert roles(result) == [["temp"], ["state"]]
    assert line(result, "t0[") == "t0[i0] = s0[i0*-1+49]"


def test_a_state_multiplied_by_itself_goes_through_a_copy():
    w = variable("w", 40, 40)

    def square():
        w.assign(w @ w + w)

    assert roles(made(square))[-2:] == [["temp"], ["state"]]


def test_states_can_change_places():
    v, w = variable("v", 9), variable("w", 9)

    def swap():
        before = v.value
        v.assign(w)
        w.assign(before)

    result = made(swap)
    # One of them has to wait in a temporary, the other need not.
    assert [where for (where,) in roles(result)] == ["temp", "state", "state"]


def test_who_reads_the_old_value_runs_before_it_is_overwritten():
    w = variable("w", 500)

    def step(x):
        before = w.value
        w.assign(w + x)
        return before * 3, ops.sum(ops.square(before))

    result = made(step, ((500,), F))
    assert not result.plan.temporaries
    order = [any(b.role == "state" for b in kernel.writes()) for kernel in result.kernels]
    assert order.index(True) == len(order) - 1
    (last,) = (k for k in result.kernels if any(b.role == "state" for b in k.writes()))
    assert any(b.role == "output" for b in last.writes())  # beside the update: one pass over w


def test_a_new_value_that_is_also_an_output_is_stored_twice_and_computed_once():
    w = variable("w", 50)

    def step(x):
        new = ops.exp(w * x)
        w.assign(new)
        return new

    result = made(step, ((50,), F))
    (kernel,) = result.kernels
    assert sorted(store.buffer.role for store in kernel.stores) == ["output", "state"]
    assert kernel.text().count("exp(") == 1


def test_an_untouched_state_is_only_read():
    w, unused = variable("w", 50), variable("unused", 50)

    def read(x):
        unused.assign(unused)
        return x + w

    result = made(read, ((50,), F))
    assert result.kinds == ["map"] and roles(result) == [["output"]]


# Where nodes went


@pytest.mark.parametrize("name", ["train_step", "evaluate", "predict"])
def test_every_root_is_stored_by_one_kernel(name):
    """The nodes that kernels name as theirs are all there, each once."""
    model = tg.Sequential([tg.Input((8, 8, 1)), tg.layers.Conv2D(4, 3, activation="relu"),
                           tg.layers.BatchNormalization(), tg.layers.Flatten(),
                           tg.layers.Dense(10)])  # fmt: skip
    model.compile("adam", "mse")
    result = made_of(step_entry(model, name, 16))
    graph = result.plan.graph
    found = [id(node) for kernel in result.kernels for node in stored(kernel)]
    assert len(found) == len(set(found))
    for root in (*graph.outputs, *(node for _, node in graph.updates)):
        assert id(root) in found


def test_constants_and_inputs_can_be_outputs():
    def through(x):
        return x, ops.ones((3,)), ops.arange(5), tg.tensor(np.float32([1, 5]))

    result = made(through, ((4,), F))
    assert [b.role for kernel in result.kernels for b in kernel.writes()] == ["output"] * 4


def test_units_come_in_an_order_that_can_run():
    def tangled(x):
        y = ops.exp(x)
        low, high = ops.sum(y, axis=0), ops.sum(y, axis=1)
        z = y * low + ops.reshape(high, (40, 1))
        return ops.sum(z), z @ ops.transpose(y), ops.exp(z)

    graph = simplified(traced(tangled, ((40, 40), F)))
    done = {id(node) for node in graph.inputs}
    for unit in fuse.fuse(graph):
        assert unit.needs <= done
        done |= {id(node) for node in unit.stored}
