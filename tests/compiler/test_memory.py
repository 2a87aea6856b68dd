"""Temporaries share one arena without ever meeting: followed byte by byte through whole runs."""

from __future__ import annotations

import random

import numpy as np
import pytest

import tabgrad as tg
from examples import digits
from tabgrad import ops
from tabgrad.compiler import memory
from tabgrad.dtypes import float32
from tabgrad.ir import build as b
from tabgrad.ir.entry import Argument, EntryGraph, Result
from tabgrad.ir.index import Index, Var
from tabgrad.ir.kernel import Branch, Buffer, Expr, Kernel, Loop, Store, While, kernels_of
from tests.compiler.programs import made, made_of, overlay_temporaries, step_entry
from tests.compiler.random_graphs import Maker

F = "float32"


class Arena:
    """Which buffer every byte of the arena belongs to, while launches run."""

    def __init__(self, size):
        self.owner = np.full(size, -1)
        self.numbers = {}
        self.turns = {}

    def bytes_of(self, buffer):
        """The place of a temporary, or of the slice of one that is current; None elsewhere."""
        if buffer.root.role != "temp":
            return None
        begin = 0
        at = buffer
        while at.parent is not None:
            begin += self.turns[id(at.loop)] * at.nbytes
            at = at.parent
        begin += at.offset
        assert begin + buffer.nbytes <= len(self.owner)
        return slice(begin, begin + buffer.nbytes)

    def number(self, buffer):
        return self.numbers.setdefault(id(buffer.root), len(self.numbers))

    def check(self, buffers, launch):
        for buffer in buffers:
            where = self.bytes_of(buffer)
            if where is not None:
                mine = self.owner[where] == self.number(buffer)
                assert mine.all(), f"{buffer} was overwritten before\n{launch.text()}"

    def run(self, launches):
        for launch in launches:
            if isinstance(launch, Loop):
                for turn in range(launch.length):
                    self.turns[id(launch)] = launch.length - 1 - turn if launch.reverse else turn
                    self.run(launch.body)
                continue
            if isinstance(launch, While):
                for part in (launch.test, *(launch.body, launch.test) * 2):
                    self.run(part)
                    self.check([launch.flag] if part is launch.test else [], launch)
                continue
            if isinstance(launch, Branch):
                self.check([launch.index], launch)
                before, after = self.owner, []
                for branch in launch.branches:
                    self.owner = before.copy()
                    self.run(branch)
                    after.append(self.owner)
                # What the branches leave in different places is nobody's.
                self.owner = np.where(np.all(np.equal(after, after[0]), axis=0), after[0], -1)
                continue
            self.check(launch.reads(), launch)
            for buffer in launch.writes():
                where = self.bytes_of(buffer)
                if where is not None:
                    self.owner[where] = self.number(buffer)
            # What a kernel reads must still be there when it has written: it does both by turns.
            for buffer in (*launch.reads(), *launch.writes()):
                where = self.bytes_of(buffer)
                if where is not None:
                    mine = self.owner[where] == self.number(buffer)
                    assert mine.all(), f"{buffer} is overwritten by\n{launch.text()}"


def follow(result):
    arena = Arena(result.plan.arena)
    arena.run(result.plan.launches)
    used = {id(b.root) for k in result.kernels for b in (*k.reads(), *k.writes())}
    for buffer in result.plan.temporaries:
        if id(buffer) in used:
            assert buffer.offset % memory.ALIGN == 0
            assert buffer.offset + buffer.nbytes + memory.SPARE <= result.plan.arena


@pytest.mark.parametrize("block", range(6))
def test_random_programs(block):
    for seed in range(20 * block, 20 * block + 20):
        graph, _ = Maker(seed).make()
        follow(made_of(graph))


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_many_random_programs(block):
    for seed in range(1000 + 50 * block, 1050 + 50 * block):
        graph, _ = Maker(seed).make()
        follow(made_of(graph))


@pytest.mark.parametrize("name", ["train_step", "evaluate", "predict"])
def test_a_convolutional_network(name):
    follow(made_of(step_entry(digits.make_model(), name, 32)))


def loops():
    """A loop in a loop, with gradients, whose bodies keep and share several things."""

    def inner(c, row):
        return ops.tanh(c * row + ops.exp(c)), ops.sum(ops.exp(row) @ ops.reshape(row, (6, 1)))

    def outer(c, x):
        last, parts = ops.scan(inner, c, x)
        weights = ops.softmax(last)
        return last * weights, (parts, ops.exp(last) * weights)

    def total(x, start):
        last, (parts, ends) = ops.scan(outer, start, x)
        return ops.sum(last) + ops.sum(parts * parts) + ops.sum(ops.exp(ends))

    return tg.value_and_grad(total, (0, 1))


def test_nested_loops():
    def step(x, start):
        return loops()(ops.exp(x), start * 2)

    follow(made(step, ((3, 4, 6), F), ((6,), F)))


def test_following_finds_what_overlaps(monkeypatch):
    """The check itself: with everything at one place it must fail."""
    overlay_temporaries(monkeypatch)
    with pytest.raises(AssertionError, match="overwritten"):
        follow(made_of(step_entry(digits.make_model(), "train_step", 32)))


# How much is used


def padded(nbytes):
    """What a buffer takes in the arena."""
    whole = nbytes + memory.SPARE + memory.ALIGN - 1
    return whole // memory.ALIGN * memory.ALIGN


def test_a_long_chain_needs_two_buffers():
    def chain(x, w):
        for _ in range(20):
            x = ops.relu(x @ w)
        return x

    result = made(chain, ((40, 64), F), ((64, 64), F))
    assert len(result.plan.temporaries) >= 19
    assert result.plan.arena == 2 * padded(4 * 40 * 64)


def test_nothing_temporary_needs_no_arena():
    def add(x):
        return x + 1

    result = made(add, ((40,), F))
    assert result.plan.arena == 0 and not result.plan.temporaries


def test_peak_counts_everything_an_entry_holds():
    w = tg.Variable(np.zeros((64, 64), np.float32), name="w")

    def twice(x):
        return ops.relu(x @ w) @ w + tg.tensor(np.arange(64, dtype=np.float32))

    result = made(twice, ((40, 64), F))
    entry = result.program.entries[0]
    ports = 4 * (2 * 40 * 64 + 64 * 64 + 64)
    assert entry.peak == ports + sum(map(len, entry.constants)) + entry.arena + entry.scratch


def lifetimes_of(spans):
    """Launches in which each temporary is written at its first step and read at its last."""
    steps = 1 + max(stop for _, stop, _ in spans)
    buffers = [Buffer(f"t{i}", "temp", size, float32) for i, (_, _, size) in enumerate(spans)]
    sink = Buffer("y0", "output", 1, float32)
    at = Index.of(Var("i", 1))
    launches = []
    for step in range(steps):
        stores = [
            Store(buffer, at, Expr("const", float32, value=0.0))
            for buffer, (start, _, _) in zip(buffers, spans, strict=True)
            if start == step
        ]
        stores += [
            Store(sink, at, Expr("load", float32, buffer=buffer, index=at))
            for buffer, (_, stop, _) in zip(buffers, spans, strict=True)
            if stop == step
        ]
        launches.append(Kernel("map", (), stores, name=f"map_{step}"))
    return launches, buffers


@pytest.mark.parametrize("seed", range(30))
def test_the_arena_is_little_more_than_what_lives_together(seed):
    rng = random.Random(seed)
    spans = []
    for _ in range(60):
        start = rng.randrange(50)
        spans.append(
            (start, min(start + rng.choice((0, 1, 1, 2, 5, 30)), 49), rng.choice((9, 999, 5000)))
        )
    launches, buffers = lifetimes_of(spans)
    total = memory.place(launches, buffers)
    for i, (one, (start, stop, _)) in enumerate(zip(buffers, spans, strict=True)):
        for other, (begin, end, _) in zip(buffers[:i], spans, strict=False):
            if begin <= stop and start <= end:
                apart = one.offset + padded(one.nbytes) <= other.offset
                assert apart or other.offset + padded(other.nbytes) <= one.offset
    together = max(
        sum(padded(4 * size) for start, stop, size in spans if start <= step <= stop)
        for step in range(50)
    )
    assert together <= total <= 1.3 * together


@pytest.mark.parametrize("seed", range(10))
def test_first_fit_largest_first(seed):
    """However many kernels there are, each is where the definition says; and in a whole buffer of
    its own while it lives."""
    rng = random.Random(seed)
    starts = [rng.randrange(400) for _ in range(200)]
    spans = [(n, n + rng.choice((0, 1, 2, 9, 40, 150)), rng.choice((9, 99, 999))) for n in starts]
    launches, buffers = lifetimes_of(spans)
    lives = {id(b): (start, stop) for b, (start, stop, _) in zip(buffers, spans, strict=True)}

    def met(buffer, others):
        start, stop = lives[id(buffer)]
        return [x for x in others if lives[id(x)][0] <= stop and start <= lives[id(x)][1]]

    largest = sorted(buffers, key=lambda b: -b.nbytes)
    memory.place(launches, buffers)
    for i, buffer in enumerate(largest):
        others = met(buffer, largest[:i])
        fits = [0, *(x.offset + padded(x.nbytes) for x in others)]
        assert buffer.offset == min(
            at
            for at in fits
            if all(
                at + padded(buffer.nbytes) <= x.offset or x.offset + padded(x.nbytes) <= at
                for x in others
            )
        )
    words = memory.colours(launches, buffers)
    for i, buffer in enumerate(largest):
        taken = {x.offset for x in met(buffer, largest[:i])}
        assert buffer.offset == min(set(range(len(words))) - taken)


def test_lifetimes():
    launches, buffers = lifetimes_of([(0, 2, 5), (1, 1, 5), (2, 3, 5)])
    first, last = memory.lifetimes(launches)
    assert [(first[id(b)], last[id(b)]) for b in buffers] == [(0, 2), (1, 1), (2, 3)]


def test_what_a_loop_takes_over_lives_through_all_of_it():
    """Read in the first kernel of the body only, but in every turn."""

    def sums(x):
        start = ops.exp(x[0])
        return ops.scan(lambda c, row: (ops.tanh(c * start) + row @ row, None), start, x)[0]

    result = made(sums, ((5, 30), F))
    first, last = memory.lifetimes(result.plan.launches)
    order = list(kernels_of(result.plan.launches))
    (loop,) = (launch for launch in result.plan.launches if isinstance(launch, Loop))
    inside = {id(kernel) for kernel in kernels_of([loop])}
    start = next(i for i, kernel in enumerate(order) if id(kernel) in inside)
    stop = start + len(inside)
    for buffer in result.plan.temporaries:
        readers = [k for k in kernels_of([loop]) if any(b is buffer for b in k.reads())]
        if readers and first[id(buffer)] < start:
            assert last[id(buffer)] >= stop
    follow(result)


def test_temporaries_nobody_uses_take_no_place():
    buffer = Buffer("t0", "temp", 1000, float32)
    assert memory.place([], [buffer]) == 0


def test_empty_arrays_have_places_too():
    x = b.input((0, 4), float32)
    y = b.add(x, x)
    graph = EntryGraph("empty", [Argument(x, "x")], [], [Result(b.mul(y, y), "y")])
    follow(made_of(graph))
