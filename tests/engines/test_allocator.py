"""The heap allocator against a model that only knows which bytes belong to which buffer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tabgrad.engines.allocator import ALIGNMENT, SPARE, Allocator, block_size


class Heap(RuleBasedStateMachine):
    """Random allocations, frees and extensions; the model is a dict of live buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.heap = Allocator(1000, 20_000)
        self.buffers: dict[int, int] = {}
        self.peak = 0

    @rule(nbytes=st.integers(0, 5000))
    def alloc(self, nbytes: int) -> None:
        address = self.heap.alloc(nbytes)
        if address is None:
            missing = self.heap.shortfall(nbytes)
            assert missing > 0
            self.heap.extend(self.heap.end + missing - 1)  # a byte less is not enough,
            assert self.heap.alloc(nbytes) is None  # because sizes are multiples of 64
            self.heap.extend(self.heap.end + self.heap.shortfall(nbytes))
            address = self.heap.alloc(nbytes)
        assert address is not None
        assert address % ALIGNMENT == 0
        assert address >= 1000
        assert address + nbytes + SPARE <= self.heap.end
        for other, size in self.buffers.items():
            assert address + nbytes + SPARE <= other or other + size + SPARE <= address
        self.buffers[address] = nbytes
        self.peak = max(self.peak, sum(self.buffers.values()))

    @precondition(lambda self: self.buffers)
    @rule(choice=st.integers(0))
    def free(self, choice: int) -> None:
        address = sorted(self.buffers)[choice % len(self.buffers)]
        assert self.heap.free(address) == self.buffers.pop(address)
        with pytest.raises(KeyError):
            self.heap.free(address)

    @rule(extra=st.integers(0, 3000))
    def extend(self, extra: int) -> None:
        self.heap.extend(self.heap.end + extra)

    @invariant()
    def counts_what_is_live(self) -> None:
        assert self.heap.live == sum(self.buffers.values())
        assert self.heap.peak == self.peak
        assert len(self.heap) == len(self.buffers)
        assert all(self.heap.size(a) == n for a, n in self.buffers.items())
        last = max((a + block_size(n) for a, n in self.buffers.items()), default=self.heap.start)
        assert self.heap.high_water() == last

    def teardown(self) -> None:
        for address in self.buffers:
            self.heap.free(address)
        everything = self.heap.end - self.heap.start
        # All blocks have merged again: one buffer can have the whole range, and no more than it.
        assert self.heap.alloc(everything - SPARE + 1) is None
        assert self.heap.alloc(everything - SPARE) == self.heap.start


TestHeap = Heap.TestCase
TestHeap.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


@given(nbytes=st.integers(0, 1 << 31))
def test_a_block_holds_the_bytes_and_the_spare_ones(nbytes: int) -> None:
    size = block_size(nbytes)
    assert size % ALIGNMENT == 0
    assert nbytes + SPARE <= size < nbytes + SPARE + ALIGNMENT


def test_takes_the_smallest_hole_that_fits_at_the_lowest_address() -> None:
    heap = Allocator(0, 1 << 16)
    sizes = [500, 64, 300, 64, 100, 64, 300, 64]
    addresses = [heap.alloc(size) for size in sizes]
    for index in (6, 4, 2, 0):
        heap.free(addresses[index])
    assert heap.alloc(280) == addresses[2]
    assert heap.alloc(280) == addresses[6]
    assert heap.alloc(100) == addresses[4]
    assert heap.alloc(301) == addresses[0]


def test_takes_what_was_just_given_back_where_it_fits_exactly() -> None:
    heap = Allocator(0, 1 << 16)
    addresses = [heap.alloc(300) for _ in range(4)]
    heap.free(addresses[0])
    heap.free(addresses[2])
    assert heap.alloc(280) == addresses[2]
    assert heap.alloc(280) == addresses[0]
    assert heap.live == 280 * 2 + 300 * 2


def test_free_during_alloc_is_safe() -> None:
    """A finalizer may free a buffer at any moment: here, while the free list is searched."""
    heap = Allocator(0, 4096)
    first, second = heap.alloc(10), heap.alloc(10)

    class Interrupting(int):
        def __lshift__(self, other: int) -> int:  # runs in the middle of `alloc`
            heap.free(first)
            return int(self) << other

        def __add__(self, other: int) -> Interrupting:
            return Interrupting(int(self) + other)

        def __sub__(self, other: int) -> Interrupting:
            return Interrupting(int(self) - other)

        def __and__(self, other: int) -> Interrupting:
            return Interrupting(int(self) & other)

    third = heap.alloc(Interrupting(10))
    assert third not in (first, second)
    assert heap.alloc(10) == first


def test_only_live_addresses_can_be_freed() -> None:
    heap = Allocator(0, 4096)
    address = heap.alloc(10)
    for wrong in (address + 64, -1):
        with pytest.raises(KeyError):
            heap.free(wrong)
    assert address in heap
    assert heap.size(address + 64) is None


def test_many_buffers_stay_fast() -> None:
    """50,000 buffers freed in an order that leaves holes everywhere, then merged again."""
    heap = Allocator(0, 1 << 30)
    addresses = [heap.alloc(index % 1000) for index in range(50_000)]
    for address in addresses[::2] + addresses[1::2]:
        heap.free(address)
    assert heap.alloc((1 << 30) - SPARE) == 0
