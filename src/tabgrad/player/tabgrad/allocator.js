// A heap over a range of addresses: which bytes are free, nothing about what is in them.
//
// Best fit with coalescing, as in engines/allocator.py. Blocks start at multiples of 64 and have
// at least 64 spare bytes after them, because kernels load whole vectors past the last element.

const ALIGNMENT = 64;
const SPARE = 64;

/** @param {number} nbytes */
const blockSize = (nbytes) => Math.ceil((nbytes + SPARE) / ALIGNMENT) * ALIGNMENT;

export class Allocator {
  /** @type {Map<number, number>} address of a live buffer -> bytes asked for */
  #buffers = new Map();
  /** @type {{start: number, size: number}[]} free blocks in order of address, never adjacent */
  #free = [];

  /**
   * @param {number} start a multiple of 64
   * @param {number} end
   */
  constructor(start, end) {
    this.end = start;
    this.live = 0;
    this.peak = 0;
    this.extend(end);
  }

  /**
   * Takes `nbytes`; returns their address, or 0 when there is no room.
   * @param {number} nbytes
   */
  alloc(nbytes) {
    const size = blockSize(nbytes);
    let best = { start: 0, size: Infinity };
    for (const block of this.#free) {
      if (block.size >= size && block.size < best.size) best = block;
    }
    const address = best.start;
    if (!address) return 0;
    best.start += size;
    best.size -= size;
    if (!best.size) this.#free.splice(this.#free.indexOf(best), 1);
    this.#buffers.set(address, nbytes);
    this.live += nbytes;
    this.peak = Math.max(this.peak, this.live);
    return address;
  }

  /**
   * Gives a buffer back; returns false when none is live at that address.
   * @param {number} address
   */
  free(address) {
    const nbytes = this.#buffers.get(address);
    if (nbytes === undefined) return false;
    this.#buffers.delete(address);
    this.live -= nbytes;
    this.#release(address, blockSize(nbytes));
    return true;
  }

  /**
   * Bytes asked for at `address`, or undefined where no live buffer starts.
   * @param {number} address
   */
  size(address) {
    return this.#buffers.get(address);
  }

  /**
   * Moves the end of the range up to `end`.
   * @param {number} end
   */
  extend(end) {
    const start = this.end;
    this.end = Math.floor(end / ALIGNMENT) * ALIGNMENT;
    if (this.end > start) this.#release(start, this.end - start);
  }

  /**
   * How many bytes `extend` must add for `alloc(nbytes)` to find room at the end.
   * @param {number} nbytes
   */
  shortfall(nbytes) {
    const last = this.#free.at(-1);
    const room = last && last.start + last.size === this.end ? last.size : 0;
    return Math.max(0, blockSize(nbytes) - room);
  }

  /**
   * @param {number} start
   * @param {number} size
   */
  #release(start, size) {
    const free = this.#free;
    let at = free.findIndex((block) => block.start > start);
    if (at < 0) at = free.length;
    free.splice(at, 0, { start, size });
    for (const i of [at, at - 1]) {
      const [block, next] = [free[i], free[i + 1]];
      if (block && next && block.start + block.size === next.start) {
        block.size += next.size;
        free.splice(i + 1, 1);
      }
    }
  }
}
