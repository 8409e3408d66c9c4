/** The picture: one frame in its window and zoom, and the boxes over it. */

import { lookupTable } from "./cine.js";
import { DOUBT_COLOUR, isKey } from "./state.js";
import { shortened } from "./text.js";

/**
 * @typedef {import("./api.js").Box} Box @typedef {import("./api.js").Display} Display
 * @typedef {import("./cine.js").Cine} Cine
 * @typedef {{box: Box, colour: string, name: string}} Drawn a box with its lesion's colour and name
 * @typedef {{cine: Cine, frame: number, boxes: Drawn[], ignored: number[][], doubted: number[] | null, chosen: number | null}} Scene
 * @typedef {{x: number, y: number}} Point
 *
 * @typedef {object} Drag what the mouse is doing
 * @property {"pan" | "window" | "draw" | "move" | "resize"} kind
 * @property {Point} from where it began, on the screen
 * @property {number[]} edges which sides move: -1, 0 or 1 across, then down
 * @property {Box | null} box that is moved or resized
 * @property {number[]} corners of the box as it is now
 * @property {{lower: number, upper: number, x: number, y: number}} before window and centre
 *
 * @typedef {object} Listener
 * @property {(frames: number) => void} onWheel
 * @property {(corners: number[]) => void} onDraw a new box
 * @property {(box: Box, corners: number[]) => void} onCorners a box moved or resized
 * @property {(lesion: number | null) => void} onChoose
 * @property {() => void} onBegin a box is about to change
 * @property {() => void} onView window or zoom changed
 * @property {(x: number, y: number, value: number | null) => void} onPoint a pixel is pointed at; null outside
 */

const LEAST_BOX = 3;
const GRIP = 7;
const CLICK = 4;
const LONGEST_LABEL = 190;
const DOUBLE_CLICK_MS = 400;
const WHEEL_NOTCH = 50;
const LARGEST_ZOOM = 16;
const SNAP = 1.12;
const EDGES = [-1, 0, 1].flatMap((x) => [-1, 0, 1].map((y) => [x, y])).filter(([x, y]) => x || y);

export class Viewer {
  /** @param {HTMLElement} root holds two canvases, the picture and the boxes @param {Listener} listener */
  constructor(root, listener) {
    this._root = root;
    this._listener = listener;
    const [picture, boxes] = root.querySelectorAll("canvas");
    this._canvases = [picture, boxes];
    this._picture = /** @type {CanvasRenderingContext2D} */ (picture.getContext("2d"));
    this._overlay = /** @type {CanvasRenderingContext2D} */ (boxes.getContext("2d"));
    this._frame = /** @type {OffscreenCanvasRenderingContext2D} */ (new OffscreenCanvas(1, 1).getContext("2d"));
    this._image = new ImageData(1, 1);
    this._pixels = new Uint32Array(this._image.data.buffer);
    /** @type {Scene | null} */
    this._scene = null;
    /** @type {Display} */
    this._display = { lower: 0, upper: 255, inverted: false, modality_lut: [] };
    this.lower = 0;
    this.upper = 255;
    this._table = new Uint32Array(256);
    this.zoom = 1;
    this._centre = { x: 0, y: 0 };
    /** @type {Drag | null} */
    this._drag = null;
    this._wheel = 0;
    this._lastRight = -Infinity;
    /** Whether the next drag draws a box, whatever lies under it. */
    this.armed = false;
    this.hidden = false;
    this._listen();
    new ResizeObserver(() => this._fill()).observe(root);
  }

  /** Show another cine in its own window, fitted. @param {Cine} cine @param {Display} display */
  open(cine, display) {
    this._drag = null;
    this.armed = false;
    this._display = display;
    this._frame.canvas.width = cine.width;
    this._frame.canvas.height = cine.height;
    this._image = new ImageData(cine.width, cine.height);
    this._pixels = new Uint32Array(this._image.data.buffer);
    this._table = new Uint32Array(cine.values);
    this._scene = { cine, frame: 0, boxes: [], ignored: [], doubted: null, chosen: null };
    this.fit();
    this.setWindow(display.lower, display.upper);
  }

  clear() {
    this._scene = null;
    this._drag = null;
    const { width, height } = this._canvases[0];
    for (const pen of [this._picture, this._overlay]) pen.clearRect(0, 0, width, height);
  }

  /** Where a pixel of the picture is in the browser's window. @param {number} x @param {number} y */
  place(x, y) {
    const corner = this._root.getBoundingClientRect();
    const at = this._toScreen(x, y);
    return { x: corner.x + at.x / devicePixelRatio, y: corner.y + at.y / devicePixelRatio };
  }

  /** @param {Scene} scene */
  draw(scene) {
    this._scene = scene;
    this._drawPicture();
    this._drawBoxes();
  }

  /** @param {number} lower @param {number} upper */
  setWindow(lower, upper) {
    this.lower = lower;
    this.upper = Math.max(upper, lower + 1);
    const window = { ...this._display, lower: this.lower, upper: this.upper };
    const grey = lookupTable(window, this._table.length);
    for (let value = 0; value < grey.length; value++) this._table[value] = 0xff000000 | (grey[value] * 0x010101);
    this._redraw();
  }

  resetWindow() {
    this.setWindow(this._display.lower, this._display.upper);
  }

  fit() {
    if (!this._scene) return;
    this.zoom = 1;
    this._centre = { x: this._scene.cine.width / 2, y: this._scene.cine.height / 2 };
    this._redraw();
  }

  /** Zoom about a point on the screen, by default the middle. @param {number} factor @param {Point} [about] */
  zoomBy(factor, about = { x: this._canvases[0].width / 2, y: this._canvases[0].height / 2 }) {
    const before = this._toImage(about);
    this.zoom = Math.min(Math.max(this.zoom * factor, 1), LARGEST_ZOOM);
    if (this.zoom === 1) return this.fit();
    const after = this._toImage(about);
    this._centre = { x: this._centre.x + before.x - after.x, y: this._centre.y + before.y - after.y };
    this._redraw();
  }

  /** Give up the drag under way. */
  cancel() {
    this._drag = null;
    this.armed = false;
    this._redraw();
  }

  /** Whether a box is being drawn, moved or resized. */
  get holdsBox() {
    return this._drag !== null && this._drag.kind !== "pan" && this._drag.kind !== "window";
  }

  /** A box of a usual size in the middle of what is seen. */
  boxInTheMiddle() {
    const half = this._scene ? Math.min(24, this._scene.cine.width / 8, this._scene.cine.height / 8) : 0;
    const { x, y } = this._centre;
    return this._inside([x - half, y - half, x + half, y + half]);
  }

  /** The corners, moved into the picture. @param {number[]} corners */
  _inside([x1, y1, x2, y2]) {
    const { width, height } = /** @type {Scene} */ (this._scene).cine;
    const across = Math.max(0, -x1) + Math.min(0, width - x2);
    const down = Math.max(0, -y1) + Math.min(0, height - y2);
    return [x1 + across, y1 + down, x2 + across, y2 + down];
  }

  /** A box moved, or its right and lower side, by whole pixels. @param {number[]} corners @param {Point} by @param {boolean} resize */
  nudged([x1, y1, x2, y2], by, resize) {
    if (!resize) return this._inside([x1 + by.x, y1 + by.y, x2 + by.x, y2 + by.y]);
    return this._sized([x1, y1, x2, y2], [1, 1], by);
  }

  /** Pixels of the screen per pixel of the picture. */
  get _scale() {
    if (!this._scene) return 1;
    const { width, height } = this._scene.cine;
    const { width: across, height: down } = this._canvases[0];
    const fitted = Math.min(across / width, down / height);
    // Nearly one to one is drawn so, because nothing is sharper.
    return (fitted > 1 && fitted < SNAP ? 1 : fitted) * this.zoom;
  }

  /** @param {Point} point on the screen @returns {Point} */
  _toImage({ x, y }) {
    const { width, height } = this._canvases[0];
    return { x: (x - width / 2) / this._scale + this._centre.x, y: (y - height / 2) / this._scale + this._centre.y };
  }

  /** @param {number} x @param {number} y @returns {Point} on the screen, at a whole pixel */
  _toScreen(x, y) {
    const { width, height } = this._canvases[0];
    return {
      x: Math.round((x - this._centre.x) * this._scale + width / 2),
      y: Math.round((y - this._centre.y) * this._scale + height / 2),
    };
  }

  /** Give the canvases the size of their place. */
  _fill() {
    for (const canvas of this._canvases) {
      canvas.width = Math.round(this._root.clientWidth * devicePixelRatio);
      canvas.height = Math.round(this._root.clientHeight * devicePixelRatio);
    }
    this._redraw();
  }

  _redraw() {
    if (this._scene) this.draw(this._scene);
    this._listener.onView();
  }

  _drawPicture() {
    const { cine, frame } = /** @type {Scene} */ (this._scene);
    const { width, height } = this._canvases[0];
    const stored = cine.frame(frame);
    this._picture.clearRect(0, 0, width, height);
    if (!stored) return;
    for (let i = 0; i < stored.length; i++) this._pixels[i] = this._table[stored[i]];
    this._frame.putImageData(this._image, 0, 0);
    const { x, y } = this._toScreen(0, 0);
    this._picture.imageSmoothingEnabled = this._scale !== 1;
    this._picture.imageSmoothingQuality = "high";
    this._picture.drawImage(this._frame.canvas, x, y, Math.round(cine.width * this._scale), Math.round(cine.height * this._scale));
  }

  _drawBoxes() {
    const { cine, frame, boxes, ignored, doubted, chosen } = /** @type {Scene} */ (this._scene);
    const { width, height } = this._canvases[1];
    this._overlay.clearRect(0, 0, width, height);
    if (!cine.frame(frame) || (this.hidden && !this._drag)) return;
    for (const corners of ignored) {
      this._outline(corners, "#c9d3dc", 1, [1, 4]);
      this._label(corners, "#c9d3dc", "ignored");
    }
    if (doubted) this._drawDoubt(doubted);
    for (const drawn of boxes) {
      const drag = this._drag?.box?.lesion === drawn.box.lesion ? this._drag : null;
      this._drawBox(drawn, drag ? drag.corners : drawn.box.box, chosen === drawn.box.lesion);
    }
    if (this._drag?.kind === "draw" && this._drag.corners.length) this._drawNew(this._drag.corners);
  }

  /** @param {Drawn} drawn @param {number[]} corners @param {boolean} chosen */
  _drawBox({ box, colour, name }, corners, chosen) {
    const pen = this._overlay;
    const lost = box.verdict === "lost";
    pen.save();
    pen.globalAlpha = lost && !chosen ? 0.6 : 1;
    this._outline(corners, colour, isKey(box) ? 2.5 : 1.5, { good: [], check: [7, 4], lost: [2, 4] }[box.verdict]);
    this._label(corners, colour, name, isKey(box) ? "" : { good: "", check: " ?", lost: " lost" }[box.verdict]);
    if (chosen) this._grips(corners, colour);
    pen.restore();
  }

  /** A little larger than the place, so that a box there is seen within. @param {number[]} corners */
  _drawDoubt([x1, y1, x2, y2]) {
    const away = (5 * devicePixelRatio) / this._scale;
    this._outline([x1 - away, y1 - away, x2 + away, y2 + away], DOUBT_COLOUR, 2, [2, 5]);
  }

  /** @param {number[]} corners */
  _drawNew(corners) {
    this._outline(corners, "#ffffff", 1.5, [4, 3]);
  }

  /** @param {number[]} corners @param {string} colour @param {number} width @param {number[]} dashes */
  _outline([x1, y1, x2, y2], colour, width, dashes) {
    const from = this._toScreen(x1, y1);
    const to = this._toScreen(x2, y2);
    const pen = this._overlay;
    pen.setLineDash([]);
    pen.strokeStyle = "rgb(0 0 0 / 55%)";
    pen.lineWidth = (width + 2) * devicePixelRatio;
    pen.strokeRect(from.x, from.y, to.x - from.x, to.y - from.y);
    pen.setLineDash(dashes.map((length) => length * devicePixelRatio));
    pen.strokeStyle = colour;
    pen.lineWidth = width * devicePixelRatio;
    pen.strokeRect(from.x, from.y, to.x - from.x, to.y - from.y);
    pen.setLineDash([]);
  }

  /** A name at a box, inside of the picture, and what is said after it. @param {number[]} corners @param {string} colour @param {string} name @param {string} [verdict] */
  _label([x1, y1, , y2], colour, name, verdict = "") {
    const pen = this._overlay;
    const size = 12 * devicePixelRatio;
    const top = this._toScreen(x1, y1);
    const below = top.y < 1.8 * size;
    const y = below ? this._toScreen(x1, y2).y + 0.4 * size : top.y - 1.7 * size;
    pen.font = `600 ${size}px ${getComputedStyle(this._root).fontFamily}`;
    const { width } = this._canvases[1];
    const words = shortened(pen, name, Math.min(LONGEST_LABEL * devicePixelRatio, width / 2)) + verdict;
    const across = pen.measureText(words).width + size;
    // Beside a box at the right side there is no room; one that is not seen takes its label along.
    const x = top.x < width ? Math.min(top.x, width - across) : top.x;
    pen.fillStyle = "rgb(10 14 18 / 78%)";
    pen.fillRect(x - devicePixelRatio, y, across, 1.4 * size);
    pen.fillStyle = colour;
    pen.textBaseline = "middle";
    pen.fillText(words, x + size / 2, y + 0.75 * size);
  }

  /** @param {number[]} corners @param {string} colour */
  _grips(corners, colour) {
    const pen = this._overlay;
    const size = GRIP * devicePixelRatio;
    for (const edges of EDGES) {
      const { x, y } = this._grip(corners, edges);
      pen.fillStyle = "#ffffff";
      pen.strokeStyle = colour;
      pen.lineWidth = 1.5 * devicePixelRatio;
      pen.fillRect(x - size / 2, y - size / 2, size, size);
      pen.strokeRect(x - size / 2, y - size / 2, size, size);
    }
  }

  /** @param {number[]} corners @param {number[]} edges */
  _grip([x1, y1, x2, y2], [across, down]) {
    return this._toScreen((x1 + x2 + across * (x2 - x1)) / 2, (y1 + y2 + down * (y2 - y1)) / 2);
  }

  _listen() {
    const root = this._root;
    root.addEventListener("contextmenu", (event) => event.preventDefault());
    root.addEventListener("wheel", (event) => this._onWheel(event), { passive: false });
    root.addEventListener("pointerdown", (event) => this._onDown(event));
    root.addEventListener("pointermove", (event) => this._onMove(event));
    root.addEventListener("pointerup", (event) => this._onUp(event));
    root.addEventListener("pointercancel", () => this.cancel());
    root.addEventListener("pointerleave", () => this._listener.onPoint(0, 0, null));
  }

  /** @param {MouseEvent} event @returns {Point} in pixels of the screen, from the canvas' corner */
  _at(event) {
    const place = this._root.getBoundingClientRect();
    return { x: (event.clientX - place.x) * devicePixelRatio, y: (event.clientY - place.y) * devicePixelRatio };
  }

  /** @param {WheelEvent} event */
  _onWheel(event) {
    event.preventDefault();
    if (this._drag) return;
    const turned = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * WHEEL_NOTCH;
    if (event.ctrlKey) return this.zoomBy(Math.exp(-Math.min(Math.max(turned, -100), 100) / 400), this._at(event));
    // A notch of a wheel is one frame; the small steps of a touch pad add up to one.
    this._wheel = Math.abs(turned) >= WHEEL_NOTCH ? Math.sign(turned) * WHEEL_NOTCH : this._wheel + turned;
    const frames = Math.trunc(this._wheel / WHEEL_NOTCH);
    this._wheel -= frames * WHEEL_NOTCH;
    if (frames) this._listener.onWheel(frames);
  }

  /** @param {PointerEvent} event */
  _onDown(event) {
    if (!this._scene || this._drag) return;
    event.preventDefault();
    this._root.focus({ preventScroll: true });
    this._root.setPointerCapture(event.pointerId);
    const from = this._at(event);
    const before = { lower: this.lower, upper: this.upper, ...this._centre };
    const rest = { from, before, edges: [0, 0], box: null, corners: [] };
    if (event.button === 1 || (event.button === 0 && event.shiftKey)) this._drag = { kind: "pan", ...rest };
    else if (event.button === 2) this._beginWindow(event, rest);
    else if (event.button === 0 && this._scene.cine.frame(this._scene.frame)) this._beginBox(rest);
  }

  /** @param {PointerEvent} event @param {Omit<Drag, "kind">} rest */
  _beginWindow(event, rest) {
    if (event.timeStamp - this._lastRight < DOUBLE_CLICK_MS) this.resetWindow();
    else this._drag = { kind: "window", ...rest };
    this._lastRight = -Infinity;
  }

  /** @param {Omit<Drag, "kind">} rest */
  _beginBox(rest) {
    const { box, edges } = this.armed || this.hidden ? { box: null, edges: [0, 0] } : this._under(rest.from);
    this._listener.onBegin();
    if (box) {
      this._listener.onChoose(box.lesion);
      this._drag = { ...rest, kind: edges.some(Boolean) ? "resize" : "move", box, edges, corners: box.box };
    } else {
      this._drag = { ...rest, kind: "draw" };
    }
  }

  /** The box under a point of the screen, and the sides of it that are gripped. @param {Point} point @returns {{box: Box | null, edges: number[]}} */
  _under(point) {
    const { boxes, chosen } = /** @type {Scene} */ (this._scene);
    const near = (/** @type {Point} */ at) =>
      Math.max(Math.abs(at.x - point.x), Math.abs(at.y - point.y)) <= GRIP * devicePixelRatio;
    const mine = boxes.find(({ box }) => box.lesion === chosen)?.box;
    const edges = mine && EDGES.find((edge) => near(this._grip(mine.box, edge)));
    if (mine && edges) return { box: mine, edges };
    const { x, y } = this._toImage(point);
    const found = boxes
      .map(({ box }) => box)
      .filter(({ box: [x1, y1, x2, y2] }) => x >= x1 && x <= x2 && y >= y1 && y <= y2)
      .sort((a, b) => Number(b === mine) - Number(a === mine) || area(a.box) - area(b.box));
    return { box: found[0] ?? null, edges: [0, 0] };
  }

  /** @param {PointerEvent} event */
  _onMove(event) {
    const at = this._at(event);
    const drag = this._drag;
    this._point(at);
    if (!drag) return this._showCursor(at);
    const scale = this._scale;
    const by = { x: (at.x - drag.from.x) / scale, y: (at.y - drag.from.y) / scale };
    if (drag.kind === "pan") {
      this._centre = { x: drag.before.x - by.x, y: drag.before.y - by.y };
    } else if (drag.kind === "window") {
      return this._dragWindow(drag, at);
    } else if (drag.kind === "draw") {
      drag.corners = this._between(drag.from, at);
    } else if (drag.box) {
      const whole = { x: Math.round(by.x), y: Math.round(by.y) };
      drag.corners =
        drag.kind === "move" ? this.nudged(drag.box.box, whole, false) : this._sized(drag.box.box, drag.edges, whole);
    }
    this._redraw();
  }

  /** @param {Point} at */
  _point(at) {
    if (!this._scene) return;
    const { cine, frame } = this._scene;
    const { x, y } = this._toImage(at);
    const [column, row] = [Math.floor(x), Math.floor(y)];
    const inside = column >= 0 && row >= 0 && column < cine.width && row < cine.height;
    const stored = inside ? cine.frame(frame) : null;
    this._listener.onPoint(column, row, stored && stored[row * cine.width + column]);
  }

  /** Across the screen is the window's width, down it the level. @param {Drag} drag @param {Point} at */
  _dragWindow({ before, from }, at) {
    const range = Math.max(this._display.upper - this._display.lower, 1);
    const step = range / 400 / devicePixelRatio;
    const width = Math.max(before.upper - before.lower + (at.x - from.x) * step, range / 100);
    const level = (before.upper + before.lower) / 2 + (at.y - from.y) * step;
    this.setWindow(level - width / 2, level + width / 2);
  }

  /** The corners between two points of the screen, in whole pixels of the picture. @param {Point} from @param {Point} to */
  _between(from, to) {
    const { width, height } = /** @type {Scene} */ (this._scene).cine;
    const [a, b] = [this._toImage(from), this._toImage(to)];
    const across = [a.x, b.x].map((x) => Math.round(Math.min(Math.max(x, 0), width))).sort((p, q) => p - q);
    const down = [a.y, b.y].map((y) => Math.round(Math.min(Math.max(y, 0), height))).sort((p, q) => p - q);
    return [across[0], down[0], across[1], down[1]];
  }

  /** The corners with some sides moved. @param {number[]} corners @param {number[]} edges @param {Point} by */
  _sized([x1, y1, x2, y2], [across, down], by) {
    const { width, height } = /** @type {Scene} */ (this._scene).cine;
    if (across < 0) x1 = Math.min(Math.max(x1 + by.x, 0), x2 - LEAST_BOX);
    if (across > 0) x2 = Math.max(Math.min(x2 + by.x, width), x1 + LEAST_BOX);
    if (down < 0) y1 = Math.min(Math.max(y1 + by.y, 0), y2 - LEAST_BOX);
    if (down > 0) y2 = Math.max(Math.min(y2 + by.y, height), y1 + LEAST_BOX);
    return [x1, y1, x2, y2];
  }

  /** @param {PointerEvent} event */
  _onUp(event) {
    const drag = this._drag;
    this._drag = null;
    if (!drag) return;
    if (drag.kind === "window") {
      const click = drag.before.lower === this.lower && drag.before.upper === this.upper;
      if (click) this._lastRight = event.timeStamp;
    } else if (drag.kind === "draw") {
      const [x1, y1, x2, y2] = drag.corners.length ? drag.corners : [0, 0, 0, 0];
      const drawn = Math.min(x2 - x1, y2 - y1) >= LEAST_BOX && (x2 - x1) * this._scale > CLICK;
      if (drawn) this._listener.onDraw(drag.corners);
      else if (!this.armed) this._listener.onChoose(null);
      if (drawn) this.armed = false;
    } else if (drag.box && drag.corners.some((value, i) => value !== drag.box?.box[i])) {
      this._listener.onCorners(drag.box, drag.corners);
    }
    this._redraw();
  }

  /** @param {Point} at */
  _showCursor(at) {
    if (!this._scene) return;
    const { box, edges } = this.armed || this.hidden ? { box: null, edges: [0, 0] } : this._under(at);
    const [across, down] = edges;
    const resize = across && down ? (across === down ? "nwse-resize" : "nesw-resize") : across ? "ew-resize" : "ns-resize";
    this._root.style.cursor = box ? (across || down ? resize : "move") : "crosshair";
  }
}

/** @param {number[]} corners */
const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
