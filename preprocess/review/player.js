/** Plays a cine at its own rate, over and over, no faster than its frames arrive. */

/** @typedef {import("./cine.js").Cine} Cine */

const USUAL_RATE = 15;

export class Player {
  /** @param {(frame: number) => void} show */
  constructor(show) {
    this._show = show;
    this.playing = false;
    /** Frames that were left out, because the page was too slow to draw them. */
    this.dropped = 0;
    /** @type {Cine | null} */
    this._cine = null;
    this._frame = 0;
    this._frameMs = 0;
    this._due = 0;
    this._tick = this._tick.bind(this);
    this._ticking = 0;
  }

  /** @param {Cine} cine @param {number | null} frameTimeMs @param {number} frame */
  open(cine, frameTimeMs, frame) {
    this._cine = cine;
    this._frameMs = frameTimeMs || 1000 / USUAL_RATE;
    this.seek(frame);
  }

  get rate() {
    return 1000 / this._frameMs;
  }

  /** Go on from another frame. @param {number} frame */
  seek(frame) {
    this._frame = frame;
    this._due = performance.now() + this._frameMs;
  }

  play() {
    if (this.playing || !this._cine || this._cine.length < 2 || this._cine.problem) return;
    this.playing = true;
    this.dropped = 0;
    this._due = performance.now() + this._frameMs;
    this._ticking = requestAnimationFrame(this._tick);
  }

  stop() {
    this.playing = false;
    cancelAnimationFrame(this._ticking);
  }

  /** @param {number} now */
  _tick(now) {
    this._ticking = requestAnimationFrame(this._tick);
    if (now < this._due || !this._cine) return;
    const next = (this._frame + 1) % this._cine.length;
    if (next >= this._cine.loaded) {
      this._due = now;
      return;
    }
    const late = Math.floor((now - this._due) / this._frameMs);
    const left = Math.min(late, this._cine.loaded - 1 - next);
    this.dropped += left;
    this._frame = next + left;
    this._due += (late + 1) * this._frameMs;
    this._show(this._frame);
  }
}
