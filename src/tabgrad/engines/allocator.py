"""A heap over a range of addresses: which bytes are free, and nothing about what is in them.

Best fit with coalescing: of all free blocks that are large enough the smallest is taken, at the
lowest address among equals, and a block given back merges with its free neighbours; but one given
back last is taken again at once where it fits exactly, which is what loops ask for. Blocks start
at multiples of 64 and have at least 64 spare bytes after them, because kernels load whole vectors
past the last element. The range can be extended at its end.

Not here: the memory itself. `alloc` answers None when there is no room; the engine then grows its
memory by `shortfall` and calls `extend`.
"""

from __future__ import annotations

from bisect import bisect_left, insort

ALIGNMENT = 64
SPARE = 64

# A free block is one integer in a sorted list, size above address, so that comparing two blocks
# is one integer comparison. Addresses have 32 bits on every engine that uses this allocator.
_SHIFT = 32


def block_size(nbytes: int) -> int:
    """The bytes a buffer of `nbytes` takes from the heap, a multiple of 64."""
    return (nbytes + SPARE + ALIGNMENT - 1) & -ALIGNMENT


class Allocator:
    """Addresses for buffers in [start, end).

    Attributes:
        live: bytes asked for and not given back.
        peak: the largest value `live` has had.

    Example:
        >>> heap = Allocator(1024, 65536)
        >>> heap.alloc(100)
        1024
        >>> heap.alloc(100)  # 100 + 64 spare bytes, rounded up to 192
        1216
        >>> heap.free(1024)
        >>> heap.live
        100
    """

    def __init__(self, start: int, end: int) -> None:
        self.start = (start + ALIGNMENT - 1) & -ALIGNMENT
        self.end = self.start
        self.live = 0
        self.peak = 0
        self._buffers: dict[int, int] = {}  # address -> bytes asked for
        self._free: list[int] = []  # size << 32 | address, sorted
        self._size_at: dict[int, int] = {}  # start of a free block -> its size
        self._start_of: dict[int, int] = {}  # end of a free block -> its start
        # Buffers are freed by finalizers, which Python may run in the middle of `alloc`. So
        # `free` only notes the block, in steps that cannot be interrupted, and the lists above
        # change in `alloc` and `extend` alone.
        self._returned: list[int] = []
        self.extend(end)

    def __len__(self) -> int:
        """Number of live buffers."""
        return len(self._buffers)

    def __contains__(self, address: int) -> bool:
        return address in self._buffers

    def size(self, address: int) -> int | None:
        """Bytes asked for at `address`, or None where no live buffer starts."""
        return self._buffers.get(address)

    def alloc(self, nbytes: int) -> int | None:
        """Take `nbytes` (0 or more) and return their address, or None when there is no room."""
        size = block_size(nbytes)
        if self._returned:
            block = self._returned.pop()
            address = block >> _SHIFT
            if block_size(block & ((1 << _SHIFT) - 1)) == size:
                # A loop asks for what it has just given back: nothing to join and to cut again.
                return self._take(address, nbytes)
            self._returned.append(block)
            self._merge_returned()
        free = self._free
        index = bisect_left(free, size << _SHIFT)
        if index == len(free):
            return None
        block = free.pop(index)
        available, address = block >> _SHIFT, block & ((1 << _SHIFT) - 1)
        del self._size_at[address]
        if available > size:
            self._insert(address + size, available - size)
        else:
            del self._start_of[address + size]
        return self._take(address, nbytes)

    def _take(self, address: int, nbytes: int) -> int:
        self._buffers[address] = nbytes
        self.live += nbytes
        if self.live > self.peak:
            self.peak = self.live
        return address

    def free(self, address: int) -> int:
        """Give a buffer back and return its size. Raises KeyError when it is not live."""
        nbytes = self._buffers.pop(address)
        self.live -= nbytes
        self._returned.append(address << _SHIFT | nbytes)
        return nbytes

    def extend(self, end: int) -> None:
        """Move the end of the range up to `end` (down to a multiple of 64)."""
        end &= -ALIGNMENT
        if end > self.end:
            self._merge_returned()
            start, self.end = self.end, end
            self._release(start, end - start)

    def shortfall(self, nbytes: int) -> int:
        """How many bytes the range must be extended by for `alloc(nbytes)` to find room.

        Counts the free block at the end of the range, not one elsewhere that would do.
        """
        self._merge_returned()
        last = self._start_of.get(self.end)
        return max(0, block_size(nbytes) - (0 if last is None else self.end - last))

    def high_water(self) -> int:
        """The end of the last block in use: no live buffer has bytes at or after it."""
        self._merge_returned()
        return self._start_of.get(self.end, self.end)

    def _merge_returned(self) -> None:
        while self._returned:
            block = self._returned.pop()
            self._release(block >> _SHIFT, block_size(block & ((1 << _SHIFT) - 1)))

    def _release(self, start: int, size: int) -> None:
        after = start + size
        if after in self._size_at:
            after_size = self._size_at.pop(after)
            self._remove(after, after_size)
            size += after_size
        before = self._start_of.pop(start, None)
        if before is not None:
            before_size = self._size_at.pop(before)
            self._remove(before, before_size)
            start, size = before, size + before_size
        self._insert(start, size)

    def _insert(self, start: int, size: int) -> None:
        self._size_at[start] = size
        self._start_of[start + size] = start
        insort(self._free, size << _SHIFT | start)

    def _remove(self, start: int, size: int) -> None:
        del self._free[bisect_left(self._free, size << _SHIFT | start)]
