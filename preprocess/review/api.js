/**
 * What the page asks its server, and what that answers.
 *
 * @typedef {object} Box
 * @property {number} frame
 * @property {number[]} box x1, y1, x2, y2 in pixels of the stored frame
 * @property {number} lesion a negative one is new: the server gives it its number
 * @property {"reference" | "tracked" | "corrected"} source
 * @property {number} confidence
 * @property {"good" | "check" | "lost"} verdict
 * @property {boolean} [ignored] an area of which nobody says what is in it
 * @property {string} [grade] the degree of stenosis, where its data set says so
 *
 * @typedef {object} State what a reader may correct of a sequence; never changed, always replaced
 * @property {string | null} view
 * @property {number | null} reference_frame
 * @property {number | null} introducing_start
 * @property {number | null} optimal_start
 * @property {number | null} vanishing_start
 * @property {boolean} no_lesion
 * @property {string | null} exclude why the sequence is left out
 * @property {Record<string, string>} lesion_names by the lesion's number
 * @property {Box[]} boxes of lesions
 *
 * @typedef {object} Display
 * @property {number} lower shown as black, after the modality table
 * @property {number} upper shown as white
 * @property {boolean} inverted
 * @property {number[]} modality_lut
 *
 * @typedef {object} Sequence one sequence with all that is known of it
 * @property {string} id
 * @property {number} revision
 * @property {boolean} accepted
 * @property {string} by who saved last
 * @property {string} at when, in UTC
 * @property {1 | 2} bytes_per_pixel
 * @property {Display} display
 * @property {{phases: boolean, reference: boolean}} proposed from the pixels, by no reader
 * @property {State} state
 * @property {State} original before any review
 * @property {Box[]} ignored areas to ignore, which this page shows and leaves as they are
 *
 * @typedef {object} Doubt
 * @property {string} words
 * @property {number | null} frame
 * @property {number[] | null} box the place in that frame
 *
 * @typedef {object} Entry one line of the list of sequences
 * @property {string} id
 * @property {string} patient
 * @property {string | null} view
 * @property {string} angles
 * @property {number} length
 * @property {number} width
 * @property {number} height
 * @property {number | null} frame_time_ms
 * @property {Doubt[]} doubts
 * @property {boolean} accepted
 * @property {boolean} changed
 * @property {string | null} exclude
 * @property {number} lesions
 * @property {string | null} file
 *
 * @typedef {object} Cohort
 * @property {string} name
 * @property {string | null} reader
 * @property {string[]} views
 * @property {string[]} exclusions
 * @property {string} notice
 * @property {Entry[]} sequences the most doubtful first
 */

/** The page is not let in, the server is not ready, its disk is full: all that may pass. */
const AGAIN = new Set([403, 502, 503, 504, 507]);

/** The server does not answer, or not for us: what was asked may be asked again later. */
export class Unreachable extends Error {}

/** The server says no, in a sentence for the reader. */
export class Refused extends Error {}

/** Somebody else saved this sequence meanwhile; `sequence` is what was saved. */
export class Conflict extends Error {
  /** @param {string} words @param {Sequence} sequence */
  constructor(words, sequence) {
    super(words);
    this.sequence = sequence;
  }
}

/** Until it is worth to ask again. */
export const aWhile = () => new Promise((resolve) => setTimeout(resolve, 1500));

/** @returns {Promise<Cohort>} */
export async function getCohort() {
  return ask("api/cohort");
}

/** @param {string} id @returns {Promise<Sequence>} */
export async function getSequence(id) {
  return understood(await ask(address(id)));
}

/**
 * Save a state.
 *
 * @param {string} id
 * @param {{revision: number, accepted: boolean, state: State}} saved
 * @returns {Promise<Sequence>} the same, with the boxes that were tracked anew
 */
export async function putSequence(id, saved) {
  const headers = { "Content-Type": "application/json" };
  return understood(await ask(address(id), { method: "PUT", headers, body: JSON.stringify(saved) }));
}

/**
 * Read the frames of a cine, and say after each piece how many bytes are there.
 *
 * @param {string} id
 * @param {Uint8Array} into
 * @param {(bytes: number) => void} onBytes
 * @param {AbortSignal} signal
 */
export async function readFrames(id, into, onBytes, signal) {
  await ask(`${address(id)}/frames`, { signal }, async (response) => {
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    let filled = 0;
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      into.set(piece.value, filled);
      filled += piece.value.length;
      onBytes(filled);
    }
    if (filled < into.length) throw new Error("The frames stopped coming.");
  });
}

/** Areas to ignore are apart: the server keeps them. @param {Sequence} sequence @returns {Sequence} */
function understood(sequence) {
  const lesions = (/** @type {State} */ state) => ({ ...state, boxes: state.boxes.filter((box) => !box.ignored) });
  const ignored = sequence.state.boxes.filter((box) => box.ignored);
  return { ...sequence, state: lesions(sequence.state), original: lesions(sequence.original), ignored };
}

/** @param {string} id */
const address = (id) => `api/sequences/${encodeURIComponent(id)}`;

/**
 * What the server answers; a connection may also end after an answer has begun.
 *
 * @param {string} url
 * @param {RequestInit} [options]
 * @param {(response: Response) => Promise<any>} [read] the body
 */
async function ask(url, options = {}, read = (response) => response.json()) {
  let response, answer;
  try {
    response = await fetch(url, { cache: "no-store", ...options });
    answer = await (response.ok ? read(response) : sentence(response));
  } catch (problem) {
    if (options.signal?.aborted) throw problem;
    throw new Unreachable("The server does not answer.");
  }
  if (response.ok) return answer;
  const { error, sequence } = answer;
  if (response.status === 409) throw new Conflict(error, understood(sequence));
  if (AGAIN.has(response.status)) throw new Unreachable(error);
  throw new Refused(error);
}

/** @param {Response} response @returns {Promise<{error: string, sequence: Sequence}>} */
async function sentence(response) {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { error: text || `The server answered ${response.status}.`, sequence: /** @type {any} */ (null) };
  }
}
