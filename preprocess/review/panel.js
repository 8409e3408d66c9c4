/** The labels of a sequence, beside the picture. */

import { boundsOf, isKey, lesionColour, lesionName, lesionsOf } from "./state.js";

/**
 * @typedef {import("./api.js").Cohort} Cohort @typedef {import("./api.js").Entry} Entry
 * @typedef {import("./record.js").Record} Record
 *
 * @typedef {object} Listener
 * @property {(view: string | null) => void} onView
 * @property {(which: number) => void} onBound an interval begins in the present frame
 * @property {(reason: string | null) => void} onExclude
 * @property {(healthy: boolean) => void} onHealthy
 * @property {(doubt: number) => void} onDoubt
 * @property {(lesion: number) => void} onChoose
 * @property {(lesion: number, name: string) => void} onName
 * @property {(lesion: number) => void} onRemove
 * @property {Object<string, () => void>} actions of the buttons, by `data-do`
 */

const EXCLUSIONS = { implant: "implant", pacemaker: "pacemaker", ifr_wire: "iFR wire", other: "other reason" };
const MOST_VIEWS = 6;

/** @template {HTMLElement} T @param {string} id @returns {T} */
const element = (id) => /** @type {any} */ (document.getElementById(id));

export class Panel {
  /** @param {HTMLElement} root @param {Cohort} cohort @param {Listener} listener */
  constructor(root, cohort, listener) {
    this._listener = listener;
    this._views = cohort.views.slice(0, MOST_VIEWS);
    this._view = /** @type {HTMLInputElement} */ (element("view"));
    this._healthy = /** @type {HTMLInputElement} */ (element("healthy"));
    this._exclude = /** @type {HTMLSelectElement} */ (element("exclude"));
    this._lesions = /** @type {HTMLElement} */ (root.querySelector("#lesions ul"));
    this._doubts = /** @type {HTMLElement} */ (root.querySelector("#doubts ol"));
    this._radios = this._views.map((view) => this._radio(view));
    element("usual").replaceChildren(...cohort.views.map((view) => new Option(view)));
    this._exclude.replaceChildren(
      new Option("no", ""),
      ...cohort.exclusions.map((reason) => new Option(EXCLUSIONS[/** @type {"other"} */ (reason)] ?? reason, reason)),
    );
    this._view.addEventListener("change", () => listener.onView(this._view.value.trim() || null));
    this._healthy.addEventListener("change", () => listener.onHealthy(this._healthy.checked));
    this._exclude.addEventListener("change", () => listener.onExclude(this._exclude.value || null));
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-do]"))) {
      button.addEventListener("click", () => listener.actions[button.dataset.do ?? ""]());
    }
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-bound]"))) {
      button.addEventListener("click", () => listener.onBound(Number(button.dataset.bound)));
    }
  }

  /** Another sequence. @param {Entry} entry */
  open(entry) {
    this._length = entry.length;
    element("title").textContent = entry.id;
    element("subtitle").textContent = [entry.patient, entry.angles, `${entry.length} frames`, entry.file]
      .filter(Boolean)
      .join(" · ");
    element("doubts").hidden = !entry.doubts.length;
    this._doubts.replaceChildren(...entry.doubts.map((doubt, number) => this._doubt(doubt, number)));
  }

  focusExclusion() {
    this._exclude.focus();
  }

  /** @param {number} number of the doubt that is looked at */
  markDoubt(number) {
    [...this._doubts.children].forEach((row, index) => row.classList.toggle("present", index === number));
  }

  /** The lesion that a box drawn now belongs to, in words. @param {string} lesion */
  showTarget(lesion) {
    const words = `A box drawn here belongs to ${lesion}.`;
    if (element("target").textContent !== words) element("target").textContent = words;
  }

  /** @param {Record} record @param {number | null} chosen lesion */
  update(record, chosen) {
    const { state, proposed } = record;
    const known = this._views.includes(state.view ?? "");
    this._radios.forEach((radio) => (radio.checked = radio.value === state.view));
    write(this._view, known ? "" : (state.view ?? ""));
    element("reference").textContent = this._frame(state.reference_frame, proposed.reference);
    const bounds = record.draft ?? boundsOf(state);
    ["introducing", "optimal", "vanishing"].forEach((name, which) => {
      element(name).textContent = this._frame(bounds[which], proposed.phases);
    });
    this._healthy.checked = state.no_lesion;
    this._exclude.value = state.exclude ?? "";
    this._showLesions(record, chosen);
    element("missing").replaceChildren(...missing(record).map((words) => listItem(words)));
  }

  /** @param {number | null} frame @param {boolean} proposed */
  _frame(frame, proposed) {
    if (frame === null) return "–";
    return (frame === this._length ? "never" : String(frame)) + (proposed ? " proposed" : "");
  }

  /** @param {string} view */
  _radio(view) {
    const label = document.createElement("label");
    const radio = document.createElement("input");
    const words = document.createElement("span");
    radio.type = "radio";
    radio.name = "view";
    radio.value = words.textContent = view;
    radio.addEventListener("change", () => this._listener.onView(view));
    label.append(radio, words);
    element("views").append(label);
    return radio;
  }

  /** @param {import("./api.js").Doubt} doubt @param {number} number */
  _doubt(doubt, number) {
    const row = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = doubt.words;
    button.addEventListener("click", () => this._listener.onDoubt(number));
    row.append(button);
    return row;
  }

  /** Rows are kept, so that a name that is being typed stays. @param {Record} record @param {number | null} chosen */
  _showLesions({ state }, chosen) {
    const lesions = lesionsOf(state);
    while (this._lesions.children.length > lesions.length) this._lesions.lastElementChild?.remove();
    while (this._lesions.children.length < lesions.length) this._lesions.append(this._lesionRow());
    lesions.forEach((lesion, number) => {
      const row = /** @type {HTMLElement} */ (this._lesions.children[number]);
      const boxes = state.boxes.filter((box) => box.lesion === lesion);
      const keys = boxes.filter(isKey).length;
      const name = /** @type {HTMLInputElement} */ (row.querySelector("input"));
      row.dataset.lesion = String(lesion);
      row.classList.toggle("chosen", lesion === chosen);
      row.style.setProperty("--lesion", lesionColour(state, lesion));
      name.placeholder = `Lesion ${number + 1}`;
      name.setAttribute("aria-label", `Name of lesion ${number + 1}`);
      name.title = lesionName(state, lesion);
      write(name, state.lesion_names[lesion] ?? "");
      const [choose, remove] = row.querySelectorAll("button");
      choose.setAttribute("aria-label", `Choose ${lesionName(state, lesion)}`);
      choose.setAttribute("aria-pressed", String(lesion === chosen));
      remove.setAttribute("aria-label", `Remove ${lesionName(state, lesion)}`);
      /** @type {HTMLElement} */ (row.querySelector("span")).textContent = `${keys} key, ${boxes.length - keys} tracked`;
    });
  }

  _lesionRow() {
    const row = document.createElement("li");
    const [choose, remove] = ["", "×"].map((words) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = words;
      return button;
    });
    const name = document.createElement("input");
    const lesion = () => Number(row.dataset.lesion);
    name.maxLength = 60;
    name.addEventListener("change", () => this._listener.onName(lesion(), name.value.trim()));
    choose.addEventListener("click", () => this._listener.onChoose(lesion()));
    remove.addEventListener("click", () => this._listener.onRemove(lesion()));
    choose.title = "Choose this lesion (b)";
    remove.title = "Remove this lesion (Shift+Delete)";
    row.append(choose, name, document.createElement("span"), remove);
    return row;
  }
}

/** What a sequence still lacks, and how it is said. @param {Record} record */
function missing({ state, draft, proposed }) {
  if (state.exclude) return [];
  const bounds = draft ?? boundsOf(state);
  const names = ["introducing (i)", "optimal (o)", "vanishing (v)"].filter((_, which) => bounds[which] === null);
  const lacks = [];
  if (!state.view) lacks.push("No view yet: press 1, 2, … or type its name.");
  if (names.length === 3 && !proposed.phases) lacks.push("No phases yet: press i, o and v where each interval begins.");
  else if (names.length && names.length < 3) lacks.push(`Saved when all three phases are known: ${names.join(" and ")} missing.`);
  if (!state.boxes.length && !state.no_lesion) lacks.push("No boxes yet: drag over each stenosis, or press e if it is healthy.");
  if (state.reference_frame === null && !state.no_lesion) lacks.push("No reference frame yet: press r where lesions are seen best.");
  return lacks;
}

/** @param {string} words */
function listItem(words) {
  const item = document.createElement("li");
  item.textContent = words;
  return item;
}

/** Not while somebody types there, who may give that up. @param {HTMLInputElement} input @param {string} value */
function write(input, value) {
  input.defaultValue = value;
  if (input !== document.activeElement) input.value = value;
}
