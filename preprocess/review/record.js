/** One sequence while it is corrected: what is shown, what is saved, and the way back. */

import { Conflict, Refused, Unreachable, aWhile, putSequence } from "./api.js";
import { boundsOf, isKey, isTheSame, renumbered, saysTheSame, withBounds } from "./state.js";

/**
 * @typedef {import("./api.js").Sequence} Sequence @typedef {import("./api.js").State} State
 * @typedef {import("./state.js").Bounds} Bounds
 * @typedef {{state: State, accepted: boolean}} Snapshot
 * @typedef {{kind: "changed" | "saved" | "conflict" | "refused" | "lost", words: string}} News
 */

const ONE_STEP_MS = 1000;

export class Record {
  /** @param {Sequence} sequence @param {(record: Record, news: News) => void} tell */
  constructor(sequence, tell) {
    this._tell = tell;
    /** As the server has it. */
    this.saved = sequence;
    /** As it is shown. */
    this.state = sequence.state;
    this.accepted = sequence.accepted;
    /** Phase bounds of which some are still missing; they are saved when all three are known. @type {Bounds | null} */
    this.draft = null;
    /** @type {"saved" | "saving" | "lost"} */
    this.status = "saved";
    /** @type {Snapshot[]} */
    this._past = [];
    /** @type {Snapshot[]} */
    this._future = [];
    this._pastWhenSaved = 0;
    this._lastStep = { name: "", at: 0 };
    this._changedSince = false;
    /** What was sent and not answered: each may have been saved. @type {Snapshot[]} */
    this._unanswered = [];
    /** Numbers that the server gave to new lesions. @type {Map<number, number>} */
    this._numbers = new Map();
  }

  get id() {
    return this.saved.id;
  }

  /** Whether leaving now would lose something. */
  get unsaved() {
    return this.status !== "saved" || this.draft !== null;
  }

  get changed() {
    return !saysTheSame(this.state, this.saved.original);
  }

  /** What no reader has said yet, because it was proposed from the pixels. */
  get proposed() {
    const { proposed, original } = this.saved;
    return {
      phases: proposed.phases && !this.draft && String(boundsOf(this.state)) === String(boundsOf(original)),
      reference: proposed.reference && this.state.reference_frame === original.reference_frame,
    };
  }

  get canUndo() {
    return this._past.length > 0;
  }

  get canRedo() {
    return this._future.length > 0;
  }

  /** The number of a lesion today. @param {number | null} lesion */
  number(lesion) {
    return lesion === null ? null : (this._numbers.get(lesion) ?? lesion);
  }

  /**
   * Show another state at once, and save it. A change opens an accepted sequence again.
   *
   * @param {State} state
   * @param {{accepted?: boolean, step?: string}} [how] changes of one step that follow each other
   *   quickly are undone together
   */
  change(state, { accepted = false, step = "" } = {}) {
    if (!accepted && isTheSame(state, this.state)) return;
    const now = performance.now();
    const goesOn = step && step === this._lastStep.name && now - this._lastStep.at < ONE_STEP_MS;
    if (!goesOn) this._past.push(this._snapshot());
    this._lastStep = { name: step, at: now };
    this._future = [];
    this._become({ state, accepted });
  }

  undo() {
    this._goTo(this._past, this._future);
  }

  redo() {
    this._goTo(this._future, this._past);
  }

  /** What the server has now; whatever is not saved here is kept instead. @param {Sequence} sequence */
  refresh(sequence) {
    if (this.status !== "saved" || sequence.revision <= this.saved.revision) return;
    this._show(sequence);
    this._forget();
    this._tell(this, { kind: "saved", words: "" });
  }

  /** @param {Snapshot[]} from @param {Snapshot[]} to */
  _goTo(from, to) {
    const snapshot = from.pop();
    if (!snapshot) return;
    to.push(this._snapshot());
    this._lastStep = { name: "", at: 0 };
    this._become(snapshot);
  }

  /** @param {Snapshot} snapshot */
  _become({ state, accepted }) {
    this.state = state;
    this.accepted = accepted;
    this._changedSince = true;
    this._tell(this, { kind: "changed", words: "" });
    if (this.status === "saved") void this._save();
  }

  /** Save until nothing has changed since: one request at a time, in order. */
  async _save() {
    if (this.status === "saved") this.status = "saving";
    while (this._changedSince) {
      this._changedSince = false;
      const sent = this._snapshot();
      const depth = this._past.length;
      this._unanswered.push(sent);
      try {
        this._take(await putSequence(this.id, { revision: this.saved.revision, ...sent }), sent);
        this._pastWhenSaved = depth;
      } catch (problem) {
        if (!this._recover(problem)) return;
      }
    }
    this.status = "saved";
    this._tell(this, { kind: "saved", words: "" });
  }

  /** @param {Sequence} sequence @param {Snapshot} sent */
  _take(sequence, sent) {
    this._renumber(numbersGiven(sent.state, sequence.state));
    this.saved = sequence;
    this.status = "saving";
    this._unanswered = [];
    if (this._changedSince) return;
    this._show(sequence);
  }

  /** Whether saving can go on after a problem. @param {unknown} problem */
  _recover(problem) {
    if (problem instanceof Conflict) {
      // What is saved there may be ours, of which the answer was lost on its way.
      const ours = this._unanswered.findLastIndex((sent) => becomes(sent, problem.sequence));
      if (ours >= 0) {
        this._changedSince ||= ours < this._unanswered.length - 1;
        this._take(problem.sequence, this._unanswered[ours]);
        return true;
      }
      const mine = this._snapshot();
      this._changedSince = false;
      this._unanswered = [];
      this._show(problem.sequence);
      this._forget();
      this._future = [mine];
      this._tell(this, { kind: "conflict", words: problem.message });
      return true;
    }
    if (problem instanceof Refused) {
      this._changedSince = false;
      this._unanswered = [];
      this._show(this.saved);
      this._past.length = Math.min(this._past.length, this._pastWhenSaved);
      this._future = [];
      this._tell(this, { kind: "refused", words: problem.message });
      return true;
    }
    this.status = "lost";
    this._changedSince = true;
    const words = problem instanceof Unreachable ? problem.message : "What the server answered could not be read.";
    this._tell(this, { kind: "lost", words });
    void aWhile().then(() => this._save());
    return false;
  }

  /** @param {Sequence} sequence */
  _show(sequence) {
    this.saved = sequence;
    this.state = sequence.state;
    this.accepted = sequence.accepted;
  }

  _forget() {
    this._past = [];
    this._future = [];
    this._pastWhenSaved = 0;
    this.draft = null;
  }

  _snapshot() {
    return { state: this.state, accepted: this.accepted };
  }

  /** @param {Map<number, number>} numbers */
  _renumber(numbers) {
    if (!numbers.size) return;
    for (const [from, to] of numbers) this._numbers.set(from, to);
    this.state = renumbered(this.state, numbers);
    for (const snapshot of [...this._past, ...this._future]) {
      snapshot.state = renumbered(snapshot.state, numbers);
    }
  }
}

/** Whether the server makes this of what was sent. @param {Snapshot} sent @param {Sequence} sequence */
function becomes({ state, accepted }, sequence) {
  const numbered = renumbered(state, numbersGiven(state, sequence.state));
  return accepted === sequence.accepted && isTheSame(numbered, sequence.state);
}

/** Which numbers the server gave to new lesions. @param {State} sent @param {State} answered */
function numbersGiven(sent, answered) {
  const known = new Set(sent.boxes.map((box) => box.lesion));
  const given = new Map();
  for (const box of sent.boxes.filter((box) => box.lesion < 0 && isKey(box))) {
    if (given.has(box.lesion)) continue;
    const same = answered.boxes
      .filter((other) => other.frame === box.frame && isKey(other) && !known.has(other.lesion))
      .sort((a, b) => distance(a.box, box.box) - distance(b.box, box.box))[0];
    if (!same) continue;
    given.set(box.lesion, same.lesion);
    known.add(same.lesion);
  }
  return given;
}

/** @param {number[]} one @param {number[]} other */
const distance = (one, other) => one.reduce((sum, value, i) => sum + Math.abs(value - other[i]), 0);

/** The draft of bounds with one more; a whole one becomes a change. @param {Record} record @param {Bounds} bounds */
export function setBounds(record, bounds) {
  record.draft = bounds.includes(null) ? bounds : null;
  if (!record.draft) record.change(withBounds(record.state, bounds));
}
