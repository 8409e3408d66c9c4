/** The list of sequences, the most doubtful first. */

/** @typedef {import("./api.js").Cohort} Cohort @typedef {import("./api.js").Entry} Entry */

export class SequenceList {
  /**
   * @param {HTMLElement} root with the list, its filter and how many are done
   * @param {Cohort} cohort
   * @param {(entry: Entry) => void} onOpen
   */
  constructor(root, cohort, onOpen) {
    this._entries = cohort.sequences;
    this._list = /** @type {HTMLOListElement} */ (root.querySelector("ol"));
    this._done = /** @type {HTMLElement} */ (root.querySelector("#done"));
    this._progress = /** @type {HTMLProgressElement} */ (root.querySelector("progress"));
    this._onlyOpen = /** @type {HTMLInputElement} */ (root.querySelector("[value=open]"));
    this._onOpen = onOpen;
    /** @type {Entry | null} */
    this._present = null;
    this._rows = new Map(this._entries.map((entry) => [entry.id, this._row()]));
    this._list.append(...this._rows.values());
    this._entries.forEach((entry) => this._fill(entry));
    root.querySelector("fieldset")?.addEventListener("change", () => this._filter());
    this._filter();
  }

  /** @param {Entry} entry */
  open(entry) {
    const before = this._present;
    this._present = entry;
    if (before) this.update(before);
    this.update(entry);
    this._rows.get(entry.id)?.scrollIntoView({ block: "nearest" });
  }

  /** Show what has become of a sequence. @param {Entry} entry */
  update(entry) {
    this._fill(entry);
    this._filter(entry);
  }

  /** The sequence so many places further among those that are shown. @param {number} step @returns {Entry | undefined} */
  neighbour(step) {
    const shown = this._entries.filter((entry) => this._isShown(entry));
    return shown[shown.findIndex((entry) => entry === this._present) + step];
  }

  firstOpen() {
    return this._entries.find(isOpen);
  }

  /** The open sequences after the present one, from the first again after the last. */
  nextOpen() {
    const at = this._entries.findIndex((entry) => entry === this._present);
    return [...this._entries.slice(at + 1), ...this._entries.slice(0, Math.max(at, 0))].filter(isOpen);
  }

  /** @param {Entry} entry */
  _isShown(entry) {
    return !this._onlyOpen.checked || isOpen(entry) || entry === this._present;
  }

  /** @param {Entry} [only] */
  _filter(only) {
    for (const entry of only ? [only] : this._entries) {
      /** @type {HTMLElement} */ (this._rows.get(entry.id)).hidden = !this._isShown(entry);
    }
    const done = this._entries.filter((entry) => !isOpen(entry)).length;
    this._done.textContent = `${done} of ${this._entries.length} done`;
    this._progress.max = this._entries.length;
    this._progress.value = done;
  }

  _row() {
    const row = document.createElement("li");
    row.append(document.createElement("button"));
    return row;
  }

  /** @param {Entry} entry */
  _fill(entry) {
    const button = /** @type {HTMLButtonElement} */ (this._rows.get(entry.id)?.firstChild);
    const state = stateOf(entry);
    const lesions = entry.lesions ? `${entry.lesions} lesion${entry.lesions > 1 ? "s" : ""}` : "no boxes";
    button.type = "button";
    button.className = state;
    button.onclick = () => this._onOpen(entry);
    if (entry === this._present) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    const [doubt] = entry.doubts;
    button.replaceChildren(
      span("state", state),
      span("view", entry.view ?? "no view"),
      span("angles", entry.angles),
      span("lesions", lesions),
      ...(doubt ? [span("doubt", doubt.words)] : []),
      span("name", `${entry.id} · ${entry.patient}`),
      ...(entry.file ? [span("file", entry.file)] : []),
    );
    const file = entry.file ? [`Source file (private): ${entry.file}`] : [];
    button.title = [...entry.doubts.map((doubt) => doubt.words), ...file].join("\n");
  }
}

/** @param {Entry} entry */
const isOpen = (entry) => !entry.accepted && !entry.exclude;

/** @param {Entry} entry */
function stateOf(entry) {
  if (entry.exclude) return "excluded";
  if (entry.accepted) return "accepted";
  return entry.changed ? "changed" : "open";
}

/** @param {string} name @param {string} words */
function span(name, words) {
  const made = document.createElement("span");
  made.className = name;
  made.textContent = words;
  return made;
}
