"""Programs of typical functions, as texts in tests/golden/programs for people to read.

Header and kernels, for the target without fused multiply-add. What the code computes is for other
tests; here a change of how things are cut into kernels shows.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tabgrad as tg
from examples import digits, seed
from tabgrad import naming, ops, random
from tests.compiler.programs import made_of, step_entry, traced, variable
from tests.compiler.typical import TYPICAL
from tests.golden.compare import FOLDER, check_golden


def seed_train_step():
    return step_entry(seed.make_model(), "train_step", 4)


def digits_train_step():
    return step_entry(digits.make_model(), "train_step", 32)


def relu_sum():
    """(x @ w).relu().sum() and its gradients."""

    def relu_sum(x, w):
        return tg.value_and_grad(lambda x, w: (x @ w).relu().sum(), (0, 1))(x, w)

    return traced(relu_sum, ((40, 80), "float32"), ((80, 20), "float32"))


def softmax_crossentropy():
    """Of a batch that may be partial, with the gradient."""

    def softmax_crossentropy(logits, labels):
        def loss(logits):
            hot = ops.one_hot(labels, 10)
            return ops.mean(-ops.sum(hot * ops.log_softmax(logits), axis=-1))

        return tg.value_and_grad(loss)(logits)

    return traced(softmax_crossentropy, ((32, 10), "float32", True), ((32,), "int32", True))


def batch_norm():
    """Normalisation in training with its gradient, and the moving mean."""
    moving = variable("moving", 16)

    def batch_norm(x):
        def loss(x):
            mean = ops.mean(x, axis=(0, 1, 2))
            centred = x - mean
            variance = ops.mean(ops.square(centred), axis=(0, 1, 2))
            y = centred * ops.rsqrt(variance + 1e-3)
            return ops.sum(y * ops.square(y)), mean

        slope, mean = tg.grad(loss, has_aux=True)(x)
        moving.assign(moving * 0.9 + mean * 0.1)
        return slope

    return traced(batch_norm, ((8, 6, 6, 16), "float32"))


def attention():
    """softmax(q @ k.T) @ v: the weights are stored once, not recomputed for each column of v."""

    def attention(q, k, v):
        scores = ops.matmul(q, ops.transpose(k, (0, 2, 1))) * 0.125
        return ops.matmul(ops.softmax(scores), v)

    return traced(attention, *[((4, 50, 64), "float32")] * 3)


def scan_with_gradient():
    """A recurrence h = tanh(h @ w + x) and its gradient: a loop there and a loop back."""

    def scan_with_gradient(w, xs):
        def loss(w):
            start = ops.zeros((3, 8))
            last, _ = ops.scan(lambda h, x: (ops.tanh(ops.matmul(h, w) + x), None), start, xs)
            return ops.sum(last)

        return tg.value_and_grad(loss)(w)

    return traced(scan_with_gradient, ((8, 8), "float32"), ((5, 3, 8), "float32"))


CASES = [
    seed_train_step, digits_train_step, relu_sum, softmax_crossentropy, batch_norm, attention,
    scan_with_gradient,
]  # fmt: skip

PROGRAMS = {case.__name__: case for case in CASES} | {
    case.__name__: lambda case=case: (lambda fn, specs: traced(fn, *specs))(*case())
    for case in TYPICAL
}


@pytest.fixture(autouse=True)
def _same_seeds_and_names():
    random.seed(0)
    naming.reset()


@pytest.mark.parametrize("name", PROGRAMS)
def test_golden(name):
    check_golden(f"programs/{name}", made_of(PROGRAMS[name]()).text())


def test_golden_programs_all_belong_to_a_case():
    assert {p.stem for p in (FOLDER / "programs").glob("*")} == set(PROGRAMS)


def digest():
    """All the bytes of the larger Programs."""
    naming.reset()
    code = [made_of(case()).program.binary for case in (digits_train_step, scan_with_gradient)]
    return hashlib.sha256(b"".join(code)).hexdigest()


def test_the_same_graph_gives_the_same_bytes_in_any_process():
    """Nothing depends on addresses of objects or the order of sets."""
    command = [sys.executable, "-c", f"from {__name__} import digest; print(digest())"]
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root), str(root / "src")])
    found = {digest()}
    for number in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": number, "PYTHONPATH": path}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=root)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout.strip())
    assert len(found) == 1
