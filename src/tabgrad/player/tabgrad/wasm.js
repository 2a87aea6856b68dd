// The WebAssembly engine: one linear memory that it owns, and the Programs that import it.
//
// The methods are those of engines/engine.py, without those for engines that one has to wait for;
// what it may run, features.js knows. A buffer's handle is its address. An engine knows bytes and
// Programs, nothing of tensors, dtypes or variables. No view of the memory outlives a call, because
// growing the memory detaches views; what is read is a copy. The memory is shared where threads.js
// may let several threads run a Program.

import { Allocator } from "./allocator.js";
import { TabgradError } from "./errors.js";

const PAGE = 65536;
const MAX_PAGES = 65536;
// The frame in memory through which `run` passes its words, see compiler/frame.py.
const FRAME = 1024;
const FRAME_BYTES = 65536;
const HEADER_WORDS = 16;
const MAX_SLOTS = FRAME_BYTES / 4 - HEADER_WORDS;
const HEAP = FRAME + FRAME_BYTES;

/**
 * @typedef {object} Entry what the engine needs of a Program's entry
 * @property {number} arena bytes of temporaries
 * @property {number} scratch bytes of scratch
 * @property {number} derived bytes that are kept from run to run
 * @property {ArrayLike<any>} inputs
 * @property {{update: boolean}[]} state
 * @property {ArrayLike<any>} outputs
 * @property {Uint8Array[]} constants
 *
 * @typedef {object} Program
 * @property {Entry[]} entries
 * @property {WebAssembly.Module | BufferSource} module
 *
 * @typedef {object} Loaded a loaded Program, opaque to everyone else
 * @property {(() => void) | null} call null once unloaded
 * @property {() => void} [close] ends the threads that help, where there are any
 * @property {number[]} handles of the constants, to free
 * @property {number[][]} constants of each entry: the words of its constants
 * @property {Entry[]} entries
 * @property {{address: number, source: string | null}[]} derived of each entry: where it is, 0 while
 *   it is not, and which buffers in which state it was made from, null when from none that counts
 */

export class WasmEngine {
  kind = "wasm";
  memory;
  #heap;
  #arena = { address: 0, nbytes: -1 };
  #scratch = { address: 0, nbytes: -1 };
  /** @type {Map<number, number> | null} when buffers were written, where that is of interest */
  #writes = null;
  #clock = 0;

  /** @param {boolean} [shared] with other threads */
  constructor(shared) {
    this.memory = makeMemory(shared);
    this.#heap = new Allocator(HEAP, this.memory.buffer.byteLength);
  }

  /**
   * Makes a buffer with unspecified contents.
   * @param {number} nbytes
   * @returns {number} its handle
   */
  alloc(nbytes) {
    return this.#heap.alloc(nbytes) || (this.#grow(nbytes), this.#heap.alloc(nbytes));
  }

  /** @param {number} handle */
  free(handle) {
    this.#writes?.delete(handle);
    if (!this.#heap.free(handle)) throw notLive(handle);
  }

  /**
   * Copies bytes into a buffer.
   * @param {number} handle
   * @param {ArrayBufferView} data
   * @param {number} [offset]
   */
  write(handle, data, offset = 0) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.written(handle);
    this.view(handle, data.byteLength, offset).set(bytes);
  }

  /**
   * A copy of bytes of a buffer.
   * @param {number} handle
   * @param {number} nbytes
   * @param {number} [offset]
   * @param {Uint8Array} [into] memory for the copy: new memory takes longer than copying
   */
  read(handle, nbytes, offset = 0, into = new Uint8Array(nbytes)) {
    into.set(this.view(handle, nbytes, offset));
    return into;
  }

  /**
   * Bytes of a buffer in place, to be used at once and never kept: `alloc` may detach them.
   * @param {number} handle
   * @param {number} nbytes
   * @param {number} [offset]
   */
  view(handle, nbytes, offset = 0) {
    this.#check(handle, nbytes, offset);
    return new Uint8Array(this.memory.buffer, handle + offset, nbytes);
  }

  /**
   * Copies rows `indices` of `src` to rows 0, 1, ... of `dst`. Indices may repeat.
   * @param {number} dst
   * @param {number} src
   * @param {number} rowBytes
   * @param {ArrayLike<number>} indices
   */
  copyRows(dst, src, rowBytes, indices) {
    const count = indices.length;
    if (!count || !rowBytes) return;
    this.#check(dst, count * rowBytes, 0);
    this.written(dst);
    this.#check(src, 0, 0);
    const rows = Math.floor(/** @type {number} */ (this.#heap.size(src)) / rowBytes);
    const bytes = new Uint8Array(this.memory.buffer);
    for (let i = 0; i < count; i++) {
      const row = indices[i];
      if (!(row >= 0 && row < rows)) {
        throw new TabgradError("range", `copyRows: row ${row} of ${rows} rows`);
      }
      const start = src + row * rowBytes;
      bytes.copyWithin(dst + i * rowBytes, start, start + rowBytes);
    }
  }

  /**
   * Compiles a Program and uploads its constants.
   * @param {Program} program
   * @returns {Loaded}
   */
  load(program) {
    let call;
    try {
      const module =
        program.module instanceof WebAssembly.Module
          ? program.module
          : new WebAssembly.Module(program.module);
      const instance = new WebAssembly.Instance(module, { tabgrad: { memory: this.memory } });
      call = /** @type {() => void} */ (instance.exports.run);
    } catch (error) {
      throw new TabgradError("compile", `the browser refused a Program: ${error}`, {
        cause: error,
      });
    }
    if (!call) throw new TabgradError("compile", "expected a module that exports 'run'");
    /** @type {Loaded} */
    const loaded = { call, handles: [], constants: [], entries: program.entries, derived: [] };
    try {
      for (const entry of program.entries) {
        this.#reserve(this.#arena, entry.arena);
        this.#reserve(this.#scratch, entry.scratch);
        const words = entry.constants.map((data) => {
          const handle = this.alloc(data.byteLength);
          loaded.handles.push(handle);
          this.write(handle, data);
          return handle;
        });
        loaded.constants.push(words);
        loaded.derived.push({ address: 0, source: null });
        if (entry.derived) this.#writes ??= new Map();
      }
    } catch (error) {
      this.unload(loaded);
      throw error;
    }
    return loaded;
  }

  /**
   * Forgets a loaded Program and frees its constants.
   * @param {Loaded} loaded
   */
  unload(loaded) {
    if (!loaded.call) return;
    loaded.call = null;
    for (const handle of loaded.handles) this.free(handle);
    for (const { address } of loaded.derived) if (address) this.free(address);
  }

  /**
   * Runs one entry of a loaded Program.
   * @param {Loaded} loaded
   * @param {number} entry its position in the Program
   * @param {ArrayLike<number>} args a word for each input, state and output: a handle, or the raw
   *   bits of a scalar input
   * @param {number} [rows] the true number of rows of an entry that has a row count
   */
  run(loaded, entry, args, rows = 0) {
    if (!loaded.call) throw new TabgradError("unloaded", "this Program was unloaded");
    const constants = loaded.constants[entry];
    const count = args.length + constants.length;
    if (count > MAX_SLOTS) {
      throw new TabgradError("range", `entry ${entry} has ${count} slots, of at most ${MAX_SLOTS}`);
    }
    const { inputs, state, derived: nbytes } = loaded.entries[entry];
    const derived = loaded.derived[entry];
    const call = (/** @type {number} */ number) => {
      const frame = new Uint32Array(this.memory.buffer, FRAME, HEADER_WORDS + count);
      frame[0] = number;
      frame[1] = rows;
      frame[2] = 0;
      frame[3] = this.#arena.address;
      frame[4] = this.#scratch.address;
      frame[7] = this.#scratch.nbytes;
      frame[8] = derived.address;
      frame.set(args, HEADER_WORDS);
      frame.set(constants, HEADER_WORDS + args.length);
      try {
        /** @type {() => void} */ (loaded.call)();
      } catch (error) {
        throw new TabgradError("trap", `a Program failed while running entry ${entry}: ${error}`, {
          cause: error,
        });
      }
    };
    if (nbytes) {
      const source = state
        .map(({ update }, i) => update || [args[(i += inputs.length)], this.#writes?.get(args[i])])
        .join();
      if (derived.source !== source) {
        derived.address ||= this.alloc(nbytes);
        derived.source = null;
        call(entry + loaded.entries.length);
        derived.source = source;
      }
    }
    call(entry);
    if (!this.#writes) return;
    for (let at = inputs.length; at < args.length; at++) {
      if (state[at - inputs.length]?.update !== false) this.written(args[at]);
    }
  }

  /**
   * Notes that a buffer was written: what was derived from it is no longer right.
   * @param {number} handle
   */
  written(handle) {
    this.#writes?.set(handle, ++this.#clock);
  }

  /** Bytes in live buffers, the peak of that, and the size of the memory. */
  memoryUse() {
    const { live, peak } = this.#heap;
    return { live, peak, capacity: this.memory.buffer.byteLength };
  }

  /** Gives the memory up. */
  close() {
    this.memory = new WebAssembly.Memory({ initial: 0, maximum: 0 });
    this.#heap = new Allocator(HEAP, HEAP);
  }

  /**
   * @param {number} handle
   * @param {number} nbytes
   * @param {number} offset
   */
  #check(handle, nbytes, offset) {
    const size = this.#heap.size(handle);
    if (size === undefined) throw notLive(handle);
    if (offset < 0 || nbytes < 0 || offset + nbytes > size) {
      throw new TabgradError(
        "range",
        `buffer ${handle} has ${size} bytes, asked for ${nbytes} at offset ${offset}`,
      );
    }
  }

  /** @param {number} nbytes */
  #grow(nbytes) {
    const missing = Math.ceil(this.#heap.shortfall(nbytes) / PAGE);
    const pages = this.memory.buffer.byteLength / PAGE;
    // Ahead of need, so that growing stays rare; a device short of memory gets the bare need.
    const ahead = Math.max(missing, pages >> 3, 16);
    if (!this.#tryGrow(ahead) && !this.#tryGrow(missing)) {
      throw new TabgradError(
        "memory",
        `no memory for a buffer of ${nbytes.toLocaleString("en")} bytes: ${this.#heap.live} are in ` +
          "use and the browser gives no more; use smaller batches or less data",
      );
    }
    this.#heap.extend(this.memory.buffer.byteLength);
  }

  /** @param {number} pages */
  #tryGrow(pages) {
    try {
      this.memory.grow(pages);
      return true;
    } catch {
      return false;
    }
  }

  /**
   * Temporaries hold nothing between runs, so the old ones go before the new are made; if that
   * fails, Programs already loaded get a block of the old size again.
   * @param {{address: number, nbytes: number}} area
   * @param {number} nbytes
   */
  #reserve(area, nbytes) {
    if (nbytes <= area.nbytes) return;
    if (area.address) this.free(area.address);
    try {
      area.address = this.alloc(nbytes);
      area.nbytes = nbytes;
    } catch (error) {
      if (area.address) area.address = this.alloc(area.nbytes);
      throw error;
    }
  }
}

/**
 * @param {boolean} [shared]
 * @returns {WebAssembly.Memory}
 */
function makeMemory(shared) {
  // The maximum reserves addresses, which some phones have few of: ask for less until it works.
  for (let maximum = MAX_PAGES; ; maximum /= 2) {
    try {
      return new WebAssembly.Memory({ initial: 16, maximum, shared });
    } catch (error) {
      if (maximum <= 256) {
        throw new TabgradError("memory", `the browser gives no memory to WebAssembly: ${error}`, {
          cause: error,
        });
      }
    }
  }
}

/** @param {number} handle */
function notLive(handle) {
  return new TabgradError(
    "handle",
    `${handle} is not a live buffer of this engine; it was freed, or never allocated`,
  );
}
