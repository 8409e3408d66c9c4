/** The frames of a cine as they arrive, and the grey levels that stored values are shown with. */

import { readFrames } from "./api.js";

/** @typedef {import("./api.js").Display} Display @typedef {import("./api.js").Entry} Entry */

export class Cine {
  /** @param {Entry} entry @param {1 | 2} bytesPerPixel */
  constructor(entry, bytesPerPixel) {
    this.id = entry.id;
    this.width = entry.width;
    this.height = entry.height;
    this.length = entry.length;
    /** Frames that have arrived. */
    this.loaded = 0;
    /** Why they cannot be read, as a sentence. */
    this.problem = "";
    this.values = bytesPerPixel === 1 ? 256 : 65536;
    this._pixels = entry.width * entry.height;
    this._bytes = new Uint8Array(entry.length * this._pixels * bytesPerPixel);
    this._stored = bytesPerPixel === 1 ? this._bytes : new Uint16Array(this._bytes.buffer);
    this._stop = new AbortController();
  }

  /** The stored values of a frame, row by row; null before it has arrived. @param {number} index */
  frame(index) {
    if (index >= this.loaded) return null;
    return this._stored.subarray(index * this._pixels, (index + 1) * this._pixels);
  }

  /** Read every frame. @param {() => void} onFrame called when more frames have arrived */
  async read(onFrame) {
    const frameBytes = this._bytes.length / this.length;
    await readFrames(
      this.id,
      this._bytes,
      (bytes) => {
        const arrived = Math.floor(bytes / frameBytes);
        if (arrived <= this.loaded) return;
        this.loaded = arrived;
        onFrame();
      },
      this._stop.signal,
    );
  }

  stop() {
    this._stop.abort();
  }
}

/**
 * The grey level of every stored value, as `preprocess/cohort/display.py` has it.
 *
 * @param {Display} display
 * @param {number} values how many stored values there are
 */
export function lookupTable(display, values) {
  const { lower, upper, inverted, modality_lut: modality } = display;
  const range = Math.max(upper - lower, 1e-9);
  const table = new Uint8Array(values);
  for (let stored = 0; stored < values; stored++) {
    const value = modality.length ? modality[Math.min(stored, modality.length - 1)] : stored;
    const grey = roundHalfToEven(255 * Math.min(Math.max((value - lower) / range, 0), 1));
    table[stored] = inverted ? 255 - grey : grey;
  }
  return table;
}

/** As NumPy rounds. @param {number} value */
function roundHalfToEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}
