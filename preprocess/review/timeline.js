/** The cine from its first frame to its last: intervals, marks, and the course of each lesion. */

import { DOUBT_COLOUR, PHASES, isKey, lesionColour, lesionName, lesionsOf, phaseOf } from "./state.js";
import { shortened } from "./text.js";

/**
 * @typedef {import("./api.js").State} State @typedef {import("./api.js").Doubt} Doubt
 * @typedef {import("./state.js").Bounds} Bounds
 *
 * @typedef {object} Scene
 * @property {State} state
 * @property {Bounds} bounds as they are shown, which may still be incomplete
 * @property {boolean} proposed whether no reader has said the bounds
 * @property {Doubt[]} doubts
 * @property {number} length
 * @property {number} loaded
 * @property {number} frame
 * @property {number | null} chosen
 *
 * @typedef {object} Listener
 * @property {(frame: number) => void} onFrame
 * @property {(bounds: Bounds, which: number, frame: number) => void} onBound a bound is dragged
 * @property {() => void} onBoundsDone the bound is let go
 * @property {(lesion: number) => void} onChoose
 */

const PHASE_COLOURS = ["#55616d", "#9ccbe6", "#0072b2", "#c3b1d9"];
const PHASE_INK = ["#ffffff", "#12202b", "#ffffff", "#12202b"];
const VERDICT_COLOURS = { good: "#2fae86", check: "#f0c419", lost: "#e8622c" };
const LEFT = 104;
const RIGHT = 14;
const AXIS = 18;
const BAR = 20;
const MARKS = 16;
const ROW = 18;
const REACH = 6;

export class Timeline {
  /** @param {HTMLElement} root scrolls where there are many lesions @param {HTMLCanvasElement} canvas @param {Listener} listener */
  constructor(root, canvas, listener) {
    this._root = root;
    this._canvas = canvas;
    this._pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this._listener = listener;
    this._width = 0;
    this._height = 0;
    this._font = "";
    /** @type {Scene | null} */
    this._scene = null;
    /** What is dragged: the playhead, or one of the bounds as they were. @type {"frame" | {which: number, bounds: Bounds} | null} */
    this._drag = null;
    canvas.addEventListener("pointerdown", (event) => this._onDown(event));
    canvas.addEventListener("pointermove", (event) => this._onMove(event));
    canvas.addEventListener("pointerup", () => this._onUp());
    canvas.addEventListener("pointercancel", () => this._onUp());
    new ResizeObserver(() => this._scene && this.draw(this._scene)).observe(root);
  }

  /** @param {Scene} scene */
  draw(scene) {
    this._scene = scene;
    const lesions = lesionsOf(scene.state);
    this._fit(AXIS + BAR + MARKS + Math.max(lesions.length, 1) * ROW + 4);
    this._font = getComputedStyle(this._root).fontFamily;
    this._drawAxis(scene);
    this._drawPhases(scene);
    lesions.forEach((lesion, row) => this._drawLesion(scene, lesion, AXIS + BAR + MARKS + row * ROW));
    if (!lesions.length) this._words("no boxes", 8, AXIS + BAR + MARKS + ROW / 2, "#9aa7b3");
    this._drawPlayhead(scene);
    this._drawMarks(scene);
    this._describe(scene);
  }

  /** Give up the drag under way. */
  cancel() {
    this._drag = null;
  }

  /** @param {number} height */
  _fit(height) {
    const width = this._root.clientWidth;
    const [across, down] = [Math.round(width * devicePixelRatio), Math.round(height * devicePixelRatio)];
    if (this._canvas.width !== across || this._canvas.height !== down) {
      this._canvas.width = across;
      this._canvas.height = down;
      this._canvas.style.height = `${height}px`;
    }
    this._width = width;
    this._height = height;
    this._pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    this._pen.clearRect(0, 0, width, height);
  }

  /** Where the cell of a frame begins. @param {number} frame */
  _x(frame) {
    const { length } = /** @type {Scene} */ (this._scene);
    return LEFT + (frame / length) * (this._width - LEFT - RIGHT);
  }

  /** @param {string} words @param {number} x @param {number} y @param {string} colour @param {number} [most] */
  _words(words, x, y, colour, most = LEFT - 16) {
    const pen = this._pen;
    pen.font = `12px ${this._font}`;
    pen.fillStyle = colour;
    pen.textBaseline = "middle";
    pen.fillText(shortened(pen, words, most), x, y);
  }

  /** @param {Scene} scene */
  _drawAxis({ length, loaded }) {
    const pen = this._pen;
    const step = [1, 2, 5, 10, 20, 50, 100].find((step) => this._x(step) - LEFT >= 28) ?? 200;
    pen.fillStyle = "#33404c";
    pen.fillRect(LEFT, AXIS - 3, this._x(length) - LEFT, 2);
    pen.fillStyle = "#7c8b99";
    pen.fillRect(LEFT, AXIS - 3, this._x(loaded) - LEFT, 2);
    pen.textAlign = "center";
    for (let frame = 0; frame < length; frame += step) {
      this._words(String(frame), (this._x(frame) + this._x(frame + 1)) / 2, AXIS / 2 - 1, "#9aa7b3", 60);
    }
    pen.textAlign = "left";
  }

  /** @param {Scene} scene */
  _drawPhases({ bounds, length, proposed }) {
    const pen = this._pen;
    this._words(proposed ? "phases (proposed)" : "phases", 8, AXIS + BAR / 2, "#c9d3dc");
    pen.fillStyle = "#232d36";
    pen.fillRect(LEFT, AXIS, this._x(length) - LEFT, BAR - 2);
    if (!bounds.includes(null)) {
      const starts = [0, .../** @type {number[]} */ (bounds), length];
      PHASES.forEach((name, phase) => {
        const [from, to] = [this._x(starts[phase]), this._x(starts[phase + 1])];
        if (to <= from) return;
        pen.fillStyle = PHASE_COLOURS[phase];
        pen.fillRect(from, AXIS, to - from, BAR - 2);
        if (pen.measureText(name).width + 14 < to - from) {
          this._words(name, from + 7, AXIS + BAR / 2 - 1, PHASE_INK[phase], to - from);
        }
      });
    }
    for (const bound of bounds) {
      if (bound === null) continue;
      pen.fillStyle = "#ffffff";
      pen.fillRect(this._x(bound) - 1.5, AXIS - 1, 3, BAR);
    }
  }

  /** The reference frame, and the frames that are doubted. @param {Scene} scene */
  _drawMarks({ state, doubts }) {
    const y = AXIS + BAR;
    const middle = (/** @type {number} */ frame) => (this._x(frame) + this._x(frame + 1)) / 2;
    if (state.reference_frame !== null) {
      const x = middle(state.reference_frame);
      this._shape(x, y + MARKS / 2 - 1, [[-6, -6], [6, -6], [6, 2], [0, 8], [-6, 2]], "#00e5ff");
      this._pen.textAlign = "center";
      this._pen.font = `700 9px ${this._font}`;
      this._pen.fillStyle = "#06222b";
      this._pen.fillText("R", x, y + MARKS / 2 - 1.5);
      this._pen.textAlign = "left";
    }
    for (const { frame } of doubts) {
      if (frame === null) continue;
      const beside = frame === state.reference_frame ? 12 : 0;
      this._shape(middle(frame) - beside, y + MARKS / 2, [[0, -5], [5.5, 5], [-5.5, 5]], DOUBT_COLOUR);
    }
  }

  /** @param {Scene} scene @param {number} lesion @param {number} top */
  _drawLesion({ state, length, chosen }, lesion, top) {
    const pen = this._pen;
    const colour = lesionColour(state, lesion);
    pen.fillStyle = chosen === lesion ? "#2b3844" : "#1a222a";
    pen.fillRect(chosen === lesion ? 0 : LEFT, top, this._x(length) - (chosen === lesion ? 0 : LEFT), ROW - 3);
    pen.fillStyle = colour;
    pen.fillRect(8, top + 2, 4, ROW - 7);
    this._words(lesionName(state, lesion), 17, top + ROW / 2 - 1, "#e8eef3", LEFT - 26);
    const boxes = state.boxes.filter((box) => box.lesion === lesion);
    for (const box of boxes.filter((box) => !isKey(box))) {
      const height = Math.max(box.confidence * (ROW - 5), 2);
      const [from, to] = [this._x(box.frame), this._x(box.frame + 1)];
      pen.fillStyle = VERDICT_COLOURS[box.verdict];
      pen.fillRect(from + 0.5, top + ROW - 4 - height, Math.max(to - from - 1, 1), height);
    }
    for (const box of boxes.filter(isKey)) {
      const x = (this._x(box.frame) + this._x(box.frame + 1)) / 2;
      this._shape(x, top + ROW / 2 - 1, [[0, -7], [6.5, 0], [0, 7], [-6.5, 0]], colour, "#ffffff");
    }
  }

  /** @param {number} x @param {number} y @param {number[][]} points @param {string} fill @param {string} [edge] */
  _shape(x, y, points, fill, edge = "#0e1318") {
    const pen = this._pen;
    pen.beginPath();
    points.forEach(([dx, dy]) => pen.lineTo(x + dx, y + dy));
    pen.closePath();
    pen.fillStyle = fill;
    pen.fill();
    pen.strokeStyle = edge;
    pen.lineWidth = 1;
    pen.stroke();
  }

  /** @param {Scene} scene */
  _drawPlayhead({ frame }) {
    const pen = this._pen;
    const [from, to] = [this._x(frame), this._x(frame + 1)];
    pen.fillStyle = "rgb(255 255 255 / 16%)";
    pen.fillRect(from, 0, to - from, this._height);
    pen.fillStyle = "#ffffff";
    pen.fillRect((from + to) / 2 - 0.75, AXIS - 4, 1.5, this._height - AXIS + 4);
    pen.font = `600 12px ${this._font}`;
    const width = pen.measureText(String(frame)).width + 10;
    pen.fillRect((from + to) / 2 - width / 2, 0, width, AXIS - 4);
    pen.fillStyle = "#0e1318";
    pen.textAlign = "center";
    pen.fillText(String(frame), (from + to) / 2, (AXIS - 4) / 2 + 0.5);
    pen.textAlign = "left";
  }

  /** For those who do not see it. @param {Scene} scene */
  _describe({ frame, length, bounds }) {
    const phase = phaseOf(bounds, frame);
    this._canvas.setAttribute("aria-valuemax", String(length - 1));
    this._canvas.setAttribute("aria-valuenow", String(frame));
    this._canvas.setAttribute("aria-valuetext", `frame ${frame}${phase === null ? "" : `, ${PHASES[phase]}`}`);
  }

  /** @param {MouseEvent} event */
  _at(event) {
    const place = this._canvas.getBoundingClientRect();
    return { x: event.clientX - place.x, y: event.clientY - place.y };
  }

  /** The frame at a place, or the bound between two frames. @param {number} x @param {boolean} between */
  _frameAt(x, between) {
    const { length } = /** @type {Scene} */ (this._scene);
    const frame = ((x - LEFT) / (this._width - LEFT - RIGHT)) * length;
    return between
      ? Math.min(Math.max(Math.round(frame), 0), length)
      : Math.min(Math.max(Math.floor(frame), 0), length - 1);
  }

  /** The bound at a place; of several in one place the one that can go on. @param {{x: number, y: number}} at */
  _boundAt({ x, y }) {
    const { bounds, length } = /** @type {Scene} */ (this._scene);
    if (y < AXIS - 2 || y > AXIS + BAR) return null;
    const near = [0, 1, 2].filter((which) => {
      const bound = bounds[which];
      return bound !== null && Math.abs(this._x(bound) - x) <= REACH;
    });
    if (!near.length) return null;
    return bounds[near[0]] === length ? near[0] : near[near.length - 1];
  }

  /** @param {PointerEvent} event */
  _onDown(event) {
    if (!this._scene || event.button !== 0) return;
    const at = this._at(event);
    if (at.x < LEFT - REACH) {
      const lesion = this._lesionAt(at.y);
      if (lesion !== undefined) this._listener.onChoose(lesion);
      return;
    }
    this._canvas.setPointerCapture(event.pointerId);
    const which = this._boundAt(at);
    this._drag = which === null ? "frame" : { which, bounds: this._scene.bounds };
    if (this._drag === "frame") this._listener.onFrame(this._frameAt(at.x, false));
  }

  /** @param {PointerEvent} event */
  _onMove(event) {
    if (!this._scene) return;
    const at = this._at(event);
    if (this._drag === "frame") this._listener.onFrame(this._frameAt(at.x, false));
    else if (this._drag) this._listener.onBound(this._drag.bounds, this._drag.which, this._frameAt(at.x, true));
    else this._point(at);
  }

  _onUp() {
    if (this._drag && this._drag !== "frame") this._listener.onBoundsDone();
    this._drag = null;
  }

  /** Say what is under the mouse. @param {{x: number, y: number}} at */
  _point(at) {
    const { doubts, length, state } = /** @type {Scene} */ (this._scene);
    const frame = this._frameAt(at.x, false);
    const lesion = at.x < LEFT ? this._lesionAt(at.y) : undefined;
    const marked = at.y > AXIS + BAR && at.y < AXIS + BAR + MARKS && at.x >= LEFT;
    const reach = Math.max(1, Math.round((8 * length) / this._width));
    const said = doubts.filter((doubt) => doubt.frame !== null && Math.abs(doubt.frame - frame) <= reach);
    const name = lesion === undefined ? "" : lesionName(state, lesion);
    this._canvas.title = marked ? said.map((doubt) => doubt.words).join("\n") : name;
    this._canvas.style.cursor = this._boundAt(at) !== null ? "ew-resize" : "pointer";
  }

  /** The lesion whose row is there, or undefined. @param {number} y */
  _lesionAt(y) {
    const row = Math.floor((y - AXIS - BAR - MARKS) / ROW);
    return lesionsOf(/** @type {Scene} */ (this._scene).state)[row];
  }
}
