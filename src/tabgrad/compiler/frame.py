"""The frame: the fixed place in WASM memory where a Program finds its arguments.

32-bit words from `FRAME` on: entry, rows, status, arena, scratch, two for the barrier, scratch
bytes per thread, the memory of what is derived, two by which threads start and end together; from
word 16 a slot for each input, state, output and constant of the entry. A slot holds an address, or
the value itself for a host scalar. With n entries, n + i is what entry i derives from its constants
and state. The status is 0 until a thread fails; then nobody waits for it any more.
`player/tabgrad/wasm.js` and `threads.js` have the same numbers.
"""

from __future__ import annotations

from typing import Final

FRAME: Final = 1024
FRAME_BYTES: Final = 65536
SLOTS: Final = FRAME + 16 * 4
MAX_SLOTS: Final = (FRAME_BYTES - 16 * 4) // 4
HEAP: Final = FRAME + FRAME_BYTES  # buffers come after it

ENTRY: Final = FRAME
ROWS: Final = FRAME + 4
STATUS: Final = FRAME + 8
ARENA: Final = FRAME + 12
SCRATCH: Final = FRAME + 16
ARRIVED: Final = FRAME + 20
TURN: Final = FRAME + 24
SCRATCH_BYTES: Final = FRAME + 28
DERIVED: Final = FRAME + 32
