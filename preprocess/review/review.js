/** The page: one sequence of the cohort after the other, looked at and corrected. */

import { Unreachable, aWhile, getCohort } from "./api.js";
import { describe, keysOf, listen } from "./keys.js";
import { Library } from "./library.js";
import { SequenceList } from "./list.js";
import { Panel } from "./panel.js";
import { Player } from "./player.js";
import { setBounds } from "./record.js";
import * as states from "./state.js";
import { Timeline } from "./timeline.js";
import { Viewer } from "./viewer.js";

/**
 * @typedef {import("./api.js").Cohort} Cohort @typedef {import("./api.js").Entry} Entry
 * @typedef {import("./api.js").State} State @typedef {import("./cine.js").Cine} Cine
 * @typedef {import("./record.js").Record} Record @typedef {import("./state.js").Bounds} Bounds
 */

const AHEAD = 2;

/** @param {string} id @returns {HTMLElement} */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** An element of whatever kind is expected. @param {string} selector @returns {any} */
const one = (selector) => document.querySelector(selector);

export class Review {
  /** @param {Cohort} cohort */
  constructor(cohort) {
    this.cohort = cohort;
    /** The line of the list that is open. @type {Entry | null} */
    this.entry = null;
    /** Its labels, once they are here. @type {Record | null} */
    this.record = null;
    /** @type {Cine | null} */
    this.cine = null;
    this.frame = 0;
    /** The lesion that is chosen. @type {number | null} */
    this.chosen = null;
    this.doubt = -1;
    /** Phase bounds while one is dragged. @type {Bounds | null} */
    this.dragged = null;
    /** Milliseconds from the last acceptance until the next cine was drawn. @type {number | null} */
    this.acceptToDrawn = null;
    this._accepted = 0;
    this._unreachable = "";
    this._drawing = 0;
    this._entries = new Map(cohort.sequences.map((entry) => [entry.id, entry]));
    this.player = new Player((frame) => this._showFrame(frame));
    this.library = new Library({
      onRecord: (record, news) => this._onRecord(record, news),
      onFrame: (cine) => cine === this.cine && this.draw(),
      onServer: (words) => this._onServer(words),
    });
    this.list = new SequenceList(one("nav"), cohort, (entry) => void this.open(entry));
    this.viewer = new Viewer(element("viewer"), {
      onWheel: (frames) => this.goTo(this.frame + frames),
      onDraw: (corners) => this.drawBox(corners),
      onCorners: (box, corners) => this.placeBox(box.frame, box.lesion, corners),
      onChoose: (lesion) => this.choose(lesion),
      onBegin: () => this.player.stop(),
      onView: () => this._showView(),
      onPoint: (x, y, value) => (element("pixel").textContent = value === null ? "" : `x ${x} y ${y} · ${value}`),
    });
    this.timeline = new Timeline(element("timeline"), one("#timeline canvas"), {
      onFrame: (frame) => this.goTo(frame),
      onBound: (bounds, which, frame) => this._dragBound(states.movedBound(bounds, which, frame)),
      onBoundsDone: () => this._dropBound(),
      onChoose: (lesion) => this.choose(lesion),
    });
    this.panel = new Panel(one("aside"), cohort, {
      onView: (view) => this.setView(view),
      onBound: (which) => this.setBound(which, this.frame),
      onExclude: (reason) => this.change({ exclude: reason }, reason ? "Excluded." : "No longer excluded."),
      onHealthy: (healthy) => this.setHealthy(healthy),
      onDoubt: (number) => this.goToDoubt(number),
      onChoose: (lesion) => this.choose(lesion),
      onName: (lesion, name) => this.nameLesion(lesion, name),
      onRemove: (lesion) => this.removeLesion(lesion),
      actions: {
        reference: () => this.setReference(),
        never: () => this.setBound(2, this.entry?.length ?? 0),
        clear: () => this.clearBounds(),
        frame: () => this.acceptFrame(),
        accept: () => this.accept(),
      },
    });
  }

  // Which sequence, which frame

  /** Show a sequence, at the frame of its first doubt. @param {Entry} entry */
  async open(entry) {
    const goesOn = this.player.playing && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.player.stop();
    this._cancelBound();
    this.entry = entry;
    this.list.open(entry);
    this.panel.open(entry);
    this.say("");
    history.replaceState(null, "", `#${encodeURIComponent(entry.id)}`);
    let held = this.library.held(entry.id);
    if (held) void this.library.refresh(held.record);
    else held = await this._load(entry);
    if (!held || this.entry !== entry) return;
    const { record, cine } = held;
    Object.assign(this, { record, cine, chosen: null });
    one("aside").inert = false;
    this.doubt = entry.doubts.findIndex((doubt) => doubt.frame !== null);
    this.panel.markDoubt(this.doubt);
    const first = record.state.reference_frame ?? record.state.optimal_start ?? 0;
    this.frame = Math.min(entry.doubts[this.doubt]?.frame ?? first, entry.length - 1);
    this.viewer.open(cine, record.saved.display);
    this.player.open(cine, entry.frame_time_ms, this.frame);
    this._showState();
    this._drawNow();
    if (goesOn) this.player.play();
    void this.library.hold(this._around(entry));
  }

  /** @param {Entry} entry */
  async _load(entry) {
    Object.assign(this, { record: null, cine: null });
    one("aside").inert = true;
    this.viewer.clear();
    this._wait("Reading …");
    try {
      return await this.library.load(entry);
    } catch (problem) {
      if (this.entry === entry) this._wait(/** @type {Error} */ (problem).message);
      return undefined;
    }
  }

  /** The sequences to have at hand: those that come next first. @param {Entry} entry */
  _around(entry) {
    const next = this.list.nextOpen().slice(0, AHEAD);
    const near = [entry, next[0], this.list.neighbour(1), ...next.slice(1), this.list.neighbour(-1)];
    return [...new Set(near)].filter((other) => other !== undefined);
  }

  /** @param {number} step in the list as it is shown */
  openNeighbour(step) {
    const entry = this.list.neighbour(step);
    if (entry) void this.open(entry);
    else this.say(step > 0 ? "This is the last sequence." : "This is the first sequence.");
  }

  /** Stop at a frame. @param {number} frame */
  goTo(frame) {
    if (!this.cine || this.viewer.holdsBox) return;
    this.player.stop();
    this.frame = Math.min(Math.max(frame, 0), this.cine.length - 1);
    this.player.seek(this.frame);
    this.draw();
  }

  /** @param {number} number */
  goToDoubt(number) {
    const doubt = this.entry?.doubts[number];
    if (!doubt) return;
    this.doubt = number;
    this.panel.markDoubt(number);
    this.say(doubt.words);
    this.goTo(doubt.frame ?? this.frame);
  }

  nextDoubt() {
    const count = this.entry?.doubts.length ?? 0;
    if (count) this.goToDoubt((this.doubt + 1) % count);
    else this.say("There is no doubt about this sequence.");
  }

  /** Go to the key box before or after this frame. @param {-1 | 1} direction */
  goToKeyBox(direction) {
    const frames = (this.record?.state.boxes ?? []).filter(states.isKey).map((box) => box.frame);
    const ahead = frames.filter((frame) => (frame - this.frame) * direction > 0);
    if (ahead.length) this.goTo(direction > 0 ? Math.min(...ahead) : Math.max(...ahead));
  }

  togglePlay() {
    if (!this.cine || this.viewer.holdsBox) return;
    if (this.player.playing) this.player.stop();
    else this.player.play();
    this.draw();
  }

  // Boxes

  /** @param {number | null} lesion */
  choose(lesion) {
    this.chosen = this.record?.number(lesion) ?? null;
    this._showState();
  }

  /** Choose the next lesion of this frame, or of the cine where the frame has none. */
  chooseNext() {
    if (!this.record) return;
    const all = states.lesionsOf(this.record.state);
    const here = all.filter((lesion) => states.boxOf(this.state, this.frame, lesion));
    const among = here.length ? here : all;
    if (among.length) this.choose(among[(among.indexOf(this.chosen ?? NaN) + 1) % among.length]);
  }

  /** The lesion that a box drawn in this frame belongs to; null for a new one. */
  get target() {
    const lesions = states.lesionsOf(this.state);
    const lesion = this.chosen ?? (lesions.length === 1 ? lesions[0] : null);
    const there = states.boxOf(this.state, this.frame, lesion);
    return this.viewer.armed || (there && there.verdict !== "lost") ? null : lesion;
  }

  /** @param {number[]} corners */
  drawBox(corners) {
    const lesion = this.target ?? states.newLesion();
    this.chosen = lesion;
    this.placeBox(this.frame, lesion, corners);
  }

  /** @param {number} frame @param {number} lesion @param {number[]} corners @param {string} [step] */
  placeBox(frame, lesion, corners, step) {
    if (!this.record) return;
    const number = this.record.number(lesion) ?? lesion;
    const state = states.withBox(this.state, frame, number, corners);
    this.record.change(state, { step });
    this.say(`${states.lesionName(state, number)} has a key box in frame ${frame}.`);
  }

  /** The next drag draws a new lesion; pressed twice, a box appears in the middle. */
  newBox() {
    if (!this.record) return;
    this.player.stop();
    if (this.viewer.armed) {
      this.drawBox(this.viewer.boxInTheMiddle());
      this.viewer.armed = false;
    } else {
      this.viewer.armed = true;
      this.say("Drag a box of a new lesion; press n again for one in the middle.");
    }
    this.draw();
  }

  /** A key box in this frame, where the lesion's nearest box is. */
  keyBoxHere() {
    const lesion = this.chosen ?? states.lesionsOf(this.state)[0];
    const away = (/** @type {import("./api.js").Box} */ box) => Math.abs(box.frame - this.frame);
    const [nearest] = this.state.boxes.filter((box) => box.lesion === lesion).sort((a, b) => away(a) - away(b));
    if (!nearest) return this.say("There is no lesion yet: draw one.");
    this.chosen = nearest.lesion;
    this.placeBox(this.frame, nearest.lesion, nearest.box);
  }

  /** @param {import("./viewer.js").Point} by @param {boolean} resize */
  nudge(by, resize) {
    const box = states.boxOf(this.state, this.frame, this.chosen);
    if (!box) return this.say("Choose a box of this frame first: click it, or press b.");
    this.player.stop();
    const corners = this.viewer.nudged(box.box, by, resize);
    this.placeBox(this.frame, box.lesion, corners, `nudge ${box.lesion} ${this.frame}`);
  }

  removeBox() {
    const box = states.boxOf(this.state, this.frame, this.chosen);
    if (!box) return this.say("Choose a box of this frame first: click it, or press b.");
    if (!states.isKey(box)) {
      return this.say("This box is tracked from key boxes: move it, or remove the whole lesion with Shift+Delete.");
    }
    const name = states.lesionName(this.state, box.lesion);
    this.record?.change(states.withoutBox(this.state, this.frame, box.lesion));
    this.say(`The key box of ${name} in frame ${this.frame} is removed.`);
  }

  /** @param {number | null} lesion */
  removeLesion(lesion) {
    if (lesion === null) return this.say("Choose a lesion first: click its box, or press b.");
    const name = states.lesionName(this.state, lesion);
    this.record?.change(states.withoutLesion(this.state, lesion));
    this.choose(null);
    this.say(`${name} is removed with all its boxes.`);
  }

  /** @param {number} lesion @param {string} name */
  nameLesion(lesion, name) {
    if (!this.record) return;
    this.record.change(states.withName(this.state, lesion, name), { accepted: this.record.accepted });
  }

  toggleBoxes() {
    this.viewer.hidden = !this.viewer.hidden;
    one("#hide").checked = this.viewer.hidden;
    this.draw();
  }

  acceptFrame() {
    const state = states.withFrameAccepted(this.state, this.frame);
    if (state === this.state) return this.say("No tracked box in this frame: nothing to accept.");
    this.record?.change(state);
    this.say(`The boxes of frame ${this.frame} are accepted.`);
  }

  // Labels

  /** @returns {State} */
  get state() {
    return /** @type {Record} */ (this.record).state;
  }

  /** @param {Partial<State>} labels @param {string} words */
  change(labels, words) {
    this.record?.change({ ...this.state, ...labels });
    this.say(words);
  }

  /** @param {string | null} view */
  setView(view) {
    if (view !== this.state.view) this.change({ view }, `The view is ${view ?? "not known"}.`);
  }

  setReference() {
    this.change({ reference_frame: this.frame }, `Frame ${this.frame} is the reference frame.`);
  }

  /** @param {boolean} healthy */
  setHealthy(healthy) {
    if (healthy && this.state.boxes.length) {
      this._showState();
      return this._warn("A sequence without lesion has no boxes: remove its lesions first (Shift+Delete).");
    }
    this.change({ no_lesion: healthy }, healthy ? "No lesion in this sequence." : "No longer marked as healthy.");
  }

  /** @returns {Bounds} */
  get bounds() {
    return this.dragged ?? this.record?.draft ?? states.boundsOf(this.state);
  }

  /** @param {number} which @param {number} frame */
  setBound(which, frame) {
    this._saveBounds(states.movedBound(this.bounds, which, frame));
    this.say(`The ${states.PHASES[which + 1]} interval begins in frame ${frame}.`);
  }

  clearBounds() {
    if (!this.record) return;
    this.record.draft = null;
    this.record.change(states.withBounds(this.state, [null, null, null]));
    this.say("The phases are cleared.");
  }

  /** @param {Bounds} bounds */
  _saveBounds(bounds) {
    if (this.record) setBounds(this.record, bounds);
    this._showState();
  }

  /** @param {Bounds} bounds */
  _dragBound(bounds) {
    this.dragged = bounds;
    this.draw();
  }

  _dropBound() {
    const bounds = this.dragged;
    this.dragged = null;
    if (bounds) this._saveBounds(bounds);
  }

  _cancelBound() {
    this.timeline.cancel();
    this.dragged = null;
  }

  /** Accept the rest of the cine, and go on to the next open one. */
  accept() {
    const { record, cine, frame } = this;
    if (!record || !cine) return this.say("This sequence is not here yet: nothing is accepted.");
    if (record.draft) return this._warn("Some phases are still missing: set all three, or clear them.");
    const { id } = record;
    const [next] = this.list.nextOpen();
    if (cine.problem) {
      if (next) void this.open(next);
      return this.say(`${id} is not accepted: its frames cannot be read. You can exclude it (x).`);
    }
    if (!cine.frame(frame)) return this.say(`Frame ${frame} is not here yet: nothing is accepted.`);
    if (next) this._accepted = performance.now();
    if (!record.accepted) record.change(record.state, { accepted: true });
    if (next) void this.open(next);
    this.say(`${id} is accepted.${next ? "" : " Every sequence is done."}`);
  }

  undo() {
    if (this.record?.canUndo) this.record.undo();
    else this.say("There is nothing to undo in this sequence.");
  }

  redo() {
    if (this.record?.canRedo) this.record.redo();
    else this.say("There is nothing to redo in this sequence.");
  }

  // What is seen

  /** Draw with the next picture of the screen. */
  draw() {
    this._drawing ||= requestAnimationFrame(() => this._drawNow());
  }

  /** @param {number} frame */
  _showFrame(frame) {
    this.frame = frame;
    this._drawNow();
  }

  _drawNow() {
    cancelAnimationFrame(this._drawing);
    this._drawing = 0;
    const { entry, record, cine, frame, chosen } = this;
    if (!entry || !record || !cine) return;
    if (cine.problem) this.player.stop();
    const bounds = this.bounds;
    const boxes = states.boxesIn(record.state, frame).map((box) => ({
      box,
      colour: states.lesionColour(record.state, box.lesion),
      name: states.lesionName(record.state, box.lesion),
    }));
    const ignored = record.saved.ignored.filter((area) => area.frame === frame).map((area) => area.box);
    const { length, doubts } = entry;
    const doubt = doubts[this.doubt];
    const doubted = doubt?.frame === frame ? doubt.box : null;
    this.viewer.draw({ cine, frame, boxes, ignored, doubted, chosen });
    const { state, proposed } = record;
    this.timeline.draw({ state, bounds, proposed: proposed.phases, doubts, length, loaded: cine.loaded, frame, chosen });
    const phase = states.phaseOf(bounds, frame);
    element("where").textContent = `frame ${frame} (0–${length - 1})${phase === null ? "" : `\n${states.PHASES[phase]}`}`;
    element("play").textContent = this.player.playing ? "Stop" : "Play";
    const target = this.target;
    this.panel.showTarget(target === null ? "a new lesion" : states.lesionName(record.state, target));
    this._wait(cine.frame(frame) ? "" : cine.problem || `Frame ${frame} is on its way.`);
    if (this._accepted && cine.frame(frame)) this._measure();
  }

  /** Note how long it took from the acceptance until the next cine is on the screen. */
  _measure() {
    const start = this._accepted;
    this._accepted = 0;
    requestAnimationFrame(() =>
      setTimeout(() => (this.acceptToDrawn = performance.measure("accept to drawn", { start }).duration)),
    );
  }

  /** Everything but the frame. */
  _showState() {
    if (!this.record || !this.entry) return;
    this.panel.update(this.record, this.chosen);
    one("#undo").disabled = !this.record.canUndo;
    one("#redo").disabled = !this.record.canRedo;
    element("what").textContent = [this.state.view ?? "no view", this.entry.angles].filter(Boolean).join("\n");
    element("rate").textContent = `${Math.round(this.player.rate)} frames/s`;
    this._showSaved();
    this.draw();
  }

  _showView() {
    const { lower, upper, zoom } = this.viewer;
    element("window").textContent = `W ${Math.round(upper - lower)}  L ${Math.round((upper + lower) / 2)}`;
    element("zoom").textContent = zoom === 1 ? "" : `× ${zoom.toFixed(1)}`;
  }

  _showSaved() {
    const { lost, saving } = this.saveState;
    element("saved").className = lost ? "lost" : "";
    element("saved").textContent = lost ? "not saved yet" : saving ? "saving …" : this._savedWords();
    element("offline").hidden = !lost && !this._unreachable;
    const words = this._unreachable || "The server does not answer.";
    element("offline").textContent = `${words} What you change is kept here, and saved as soon as possible.`;
  }

  get saveState() {
    const records = this.library.records;
    return {
      lost: records.some((record) => record.status === "lost"),
      saving: records.some((record) => record.status !== "saved"),
      unsaved: records.some((record) => record.unsaved),
    };
  }

  _savedWords() {
    const { at, by, accepted } = this.record?.saved ?? { at: "", by: "", accepted: false };
    if (!at) return "not changed yet";
    const when = new Date(at);
    const time = when.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
    const today = when.toDateString() === new Date().toDateString();
    const day = today ? "" : `${when.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} `;
    return `${accepted ? "accepted, " : ""}saved ${day}${time} by ${by}`;
  }

  /** What has just been done, for the eye and for screen readers. @param {string} words */
  say(words) {
    element("said").textContent = words;
  }

  /** @param {string} words */
  _wait(words) {
    element("waiting").hidden = !words;
    element("waiting").textContent = words;
  }

  /** @param {string} words @param {Record} [record] the sequence that it is about */
  _warn(words, record) {
    const elsewhere = record && record !== this.record;
    element("banner").hidden = false;
    element("show").hidden = !elsewhere;
    element("show").onclick = () => {
      element("banner").hidden = true;
      const entry = record && this._entries.get(record.id);
      if (entry) void this.open(entry);
    };
    one("#banner p").textContent = elsewhere ? `${record.id}: ${words}` : words;
  }

  closeBanner() {
    element("banner").hidden = true;
  }

  /** Give up what is under way, and choose nothing. */
  escape() {
    this.viewer.cancel();
    this._cancelBound();
    this.closeBanner();
    this.choose(null);
  }

  showKeys() {
    one("#keys").showModal();
  }

  // What the others say

  /** @param {Record} record @param {import("./record.js").News} news */
  _onRecord(record, { kind, words }) {
    const entry = /** @type {Entry} */ (this._entries.get(record.id));
    const { view, exclude } = record.state;
    const lesions = states.lesionsOf(record.state).length;
    Object.assign(entry, { view, exclude, lesions, accepted: record.accepted, changed: record.changed });
    this.list.update(entry);
    if (kind === "conflict") this._warn(`${words} Redo (Ctrl+Y) brings your state back.`, record);
    if (kind === "refused") this._warn(words, record);
    if (kind === "changed" && record === this.record) this.closeBanner();
    if (kind === "lost") this._unreachable = words;
    if (kind === "saved") this._unreachable = "";
    if (record === this.record) {
      const chosen = record.number(this.chosen);
      this.chosen = states.lesionsOf(record.state).find((lesion) => lesion === chosen) ?? null;
      this._showState();
    }
    this._showSaved();
  }

  /** @param {string} words why the server does not answer; empty when it does */
  _onServer(words) {
    if (words === this._unreachable) return;
    this._unreachable = words;
    this._showSaved();
  }
}

/** Buttons outside of the panel. @param {Review} page */
function listenToButtons(page) {
  const actions = {
    undo: () => page.undo(),
    redo: () => page.redo(),
    help: () => page.showKeys(),
    previous: () => page.goTo(page.frame - 1),
    play: () => page.togglePlay(),
    next: () => page.goTo(page.frame + 1),
    hide: () => page.toggleBoxes(),
    fit: () => page.viewer.fit(),
    reset: () => page.viewer.resetWindow(),
    close: () => page.closeBanner(),
  };
  for (const [id, run] of Object.entries(actions)) element(id).addEventListener("click", run);
}

/** What was clicked gives the focus back to the picture, so that Enter and space mean what they say there. */
function returnFocus() {
  const viewer = element("viewer");
  const isField = (/** @type {Element} */ target) => target.matches("input:not([type=radio], [type=checkbox]), select");
  let mouse = false;
  document.addEventListener("pointerdown", () => (mouse = true), true);
  document.addEventListener("keydown", () => (mouse = false), true);
  document.addEventListener("click", ({ target }) => {
    if (mouse && !isField(/** @type {Element} */ (target)) && !one("dialog[open]")) viewer.focus();
  });
  document.addEventListener("change", ({ target }) => {
    if (mouse && /** @type {Element} */ (target).matches("select")) viewer.focus();
  });
  document.addEventListener("keydown", (event) => {
    const { key, isComposing, target } = event;
    if (isComposing || (key !== "Enter" && key !== "Escape") || !isField(/** @type {Element} */ (target))) return;
    if (key === "Escape" && target instanceof HTMLInputElement) target.value = target.defaultValue;
    viewer.focus();
  });
}

/** What tests and the curious may read. @param {Review} page */
function publish(page) {
  const state = {
    get id() { return page.record?.id ?? null; },
    get frame() { return page.frame; },
    get saved() { return !page.saveState.unsaved; },
    get loaded() { return page.cine?.loaded ?? 0; },
    get length() { return page.cine?.length ?? 0; },
    get playing() { return page.player.playing; },
    get dropped() { return page.player.dropped; },
    get acceptToDrawn() { return page.acceptToDrawn; },
    get chosen() { return page.chosen; },
    get state() { return page.record ? structuredClone(page.state) : null; },
    get accepted() { return page.record?.accepted ?? false; },
    /** Where a pixel of the picture is in the window. */
    at: (/** @type {number} */ x, /** @type {number} */ y) => page.viewer.place(x, y),
  };
  Object.defineProperty(window, "review", { value: Object.freeze(state) });
}

/** @returns {Promise<Cohort>} */
async function cohort() {
  for (;;) {
    try {
      return await getCohort();
    } catch (problem) {
      element("waiting").hidden = false;
      element("waiting").textContent = /** @type {Error} */ (problem).message;
      if (!(problem instanceof Unreachable)) throw problem;
      await aWhile();
    }
  }
}

/** @param {Cohort} cohort */
function head({ name, reader, notice }) {
  document.title = `Review of ${name}`;
  element("cohort").textContent = name;
  element("notice").textContent = notice;
  element("notice").hidden = !notice;
  element("reading").hidden = !reader;
  element("reading").textContent = `Reading of ${reader}, kept apart from the cohort's own labels`;
}

async function start() {
  const known = await cohort();
  head(known);
  const page = new Review(known);
  const keys = keysOf(page);
  listen(keys, page);
  describe(one("#keys .columns"), keys);
  listenToButtons(page);
  returnFocus();
  publish(page);
  addEventListener("beforeunload", (event) => page.saveState.unsaved && event.preventDefault());
  const named = known.sequences.find((entry) => `#${encodeURIComponent(entry.id)}` === location.hash);
  const first = named ?? page.list.firstOpen() ?? known.sequences[0];
  if (first) await page.open(first);
  element("viewer").focus();
}

void start();
