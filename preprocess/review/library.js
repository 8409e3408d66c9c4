/** The sequences that the page holds: the present one, its neighbours, and what is not saved yet. */

import { Unreachable, aWhile, getSequence } from "./api.js";
import { Cine } from "./cine.js";
import { Record } from "./record.js";

/**
 * @typedef {import("./api.js").Entry} Entry
 * @typedef {{record: Record, cine: Cine, whole: Promise<void>}} Held
 */

export class Library {
  /**
   * @param {object} listener
   * @param {(record: Record, news: import("./record.js").News) => void} listener.onRecord
   * @param {(cine: Cine) => void} listener.onFrame more frames of a cine have arrived, or none can be read
   * @param {(words: string) => void} listener.onServer why it does not answer; empty when it does
   */
  constructor(listener) {
    this._listener = listener;
    /** @type {Map<string, Record>} */
    this._records = new Map();
    /** @type {Map<string, Held>} */
    this._held = new Map();
    /** @type {Map<string, Promise<Held>>} */
    this._loading = new Map();
    /** @type {Set<string>} */
    this._wanted = new Set();
  }

  get records() {
    return [...this._records.values()];
  }

  /** A sequence that can be drawn at once, or undefined. @param {string} id */
  held(id) {
    return this._held.get(id);
  }

  /** Hold these sequences, and no other cine; those that are not here yet are read in this order. @param {Entry[]} entries */
  async hold(entries) {
    this._wanted = new Set(entries.map((entry) => entry.id));
    for (const [id, held] of this._held) {
      if (this._wanted.has(id)) continue;
      held.cine.stop();
      this._held.delete(id);
      if (!held.record.unsaved && !held.record.canUndo) this._records.delete(id);
    }
    for (const entry of entries) {
      if (!this._wanted.has(entry.id)) return;
      try {
        await (await this.load(entry)).whole;
      } catch {
        continue; // It is said when the sequence is shown.
      }
    }
  }

  /** A sequence, once its labels are here; its frames follow. @param {Entry} entry @returns {Promise<Held>} */
  load(entry) {
    this._wanted.add(entry.id);
    const held = this._held.get(entry.id);
    if (held) return Promise.resolve(held);
    const loading = this._loading.get(entry.id) ?? this._load(entry).finally(() => this._loading.delete(entry.id));
    this._loading.set(entry.id, loading);
    return loading;
  }

  /** Show what somebody else has changed in a sequence meanwhile. @param {Record} record */
  async refresh(record) {
    const sequence = await this._persist(record.id, () => getSequence(record.id)).catch(() => null);
    if (sequence) record.refresh(sequence);
  }

  /** @param {Entry} entry @returns {Promise<Held>} */
  async _load(entry) {
    const sequence = await this._persist(entry.id, () => getSequence(entry.id));
    const known = this._records.get(entry.id);
    const record = known ?? new Record(sequence, this._listener.onRecord);
    if (known) known.refresh(sequence);
    else this._listener.onRecord(record, { kind: "saved", words: "" });
    const cine = new Cine(entry, sequence.bytes_per_pixel);
    const whole = this._persist(entry.id, () => cine.read(() => this._listener.onFrame(cine)));
    whole.catch((problem) => {
      cine.problem = problem.message;
      this._listener.onFrame(cine);
    });
    const held = { record, cine, whole };
    this._records.set(entry.id, record);
    this._held.set(entry.id, held);
    return held;
  }

  /**
   * Ask again while the server does not answer and the sequence is still wanted.
   *
   * @template T @param {string} id @param {() => Promise<T>} attempt @returns {Promise<T>}
   */
  async _persist(id, attempt) {
    for (;;) {
      try {
        const answer = await attempt();
        this._listener.onServer("");
        return answer;
      } catch (problem) {
        if (!(problem instanceof Unreachable) || !this._wanted.has(id)) throw problem;
        this._listener.onServer(problem.message);
        await aWhile();
      }
    }
  }
}
