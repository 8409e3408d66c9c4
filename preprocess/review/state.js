/** A sequence's labels and boxes: what is in a state, and the states that follow from a change. */

/** @typedef {import("./api.js").Box} Box @typedef {import("./api.js").State} State */
/** @typedef {[number | null, number | null, number | null]} Bounds first frames of three intervals */

/** Okabe and Ito's colours, as bright as a dark picture needs them; line styles say the verdict. */
const LESION_COLOURS = ["#56b4e9", "#e69f00", "#f08fc4", "#f0e442", "#2bc4a0", "#ff7f50"];
export const DOUBT_COLOUR = "#ffb020";
export const PHASES = ["no contrast", "introducing", "optimal", "vanishing"];
const BOUNDS = /** @type {const} */ (["introducing_start", "optimal_start", "vanishing_start"]);

let nextNewLesion = -1;

/** A number for a lesion that the server does not know yet. */
export const newLesion = () => nextNewLesion--;

/** The lesions in the order in which they are counted: new ones last. @param {State} state */
export function lesionsOf(state) {
  const numbers = [...new Set(state.boxes.map((box) => box.lesion))];
  return numbers.sort((a, b) => Number(a < 0) - Number(b < 0) || Math.abs(a) - Math.abs(b));
}

/** @param {State} state @param {number} lesion */
export function lesionName(state, lesion) {
  return state.lesion_names[lesion] || `Lesion ${lesionsOf(state).indexOf(lesion) + 1}`;
}

/** @param {State} state @param {number} lesion */
export function lesionColour(state, lesion) {
  return LESION_COLOURS[Math.max(lesionsOf(state).indexOf(lesion), 0) % LESION_COLOURS.length];
}

/** @param {State} state @param {number} frame */
export const boxesIn = (state, frame) => state.boxes.filter((box) => box.frame === frame);

/** @param {State} state @param {number} frame @param {number | null} lesion */
export const boxOf = (state, frame, lesion) =>
  state.boxes.find((box) => box.frame === frame && box.lesion === lesion);

/** Whether a reader drew or confirmed it. @param {Box} box */
export const isKey = (box) => box.source !== "tracked";

/**
 * A reader's box of a lesion in a frame: new, or in the place of the one that is there.
 *
 * @param {State} state @param {number} frame @param {number} lesion @param {number[]} corners
 * @returns {State}
 */
export function withBox(state, frame, lesion, corners) {
  const others = state.boxes.filter((box) => box.frame !== frame || box.lesion !== lesion);
  const box = /** @type {Box} */ ({ frame, box: corners, lesion, source: "corrected", confidence: 1, verdict: "good" });
  return { ...state, no_lesion: false, boxes: [...others, box] };
}

/** @param {State} state @param {number} frame @param {number} lesion @returns {State} */
export function withoutBox(state, frame, lesion) {
  const keys = state.boxes.filter((box) => box.lesion === lesion && isKey(box));
  // The last key box takes those with it that were tracked from it.
  if (keys.every((box) => box.frame === frame)) return withoutLesion(state, lesion);
  return { ...state, boxes: state.boxes.filter((box) => box.frame !== frame || box.lesion !== lesion) };
}

/** @param {State} state @param {number} lesion @returns {State} */
export function withoutLesion(state, lesion) {
  const { [lesion]: _, ...names } = state.lesion_names;
  return { ...state, lesion_names: names, boxes: state.boxes.filter((box) => box.lesion !== lesion) };
}

/** @param {State} state @param {number} lesion @param {string} name @returns {State} */
export function withName(state, lesion, name) {
  const { [lesion]: _, ...names } = state.lesion_names;
  return { ...state, lesion_names: name ? { ...names, [lesion]: name } : names };
}

/** Every tracked box of a frame as a reader's, lost ones too. @param {State} state @param {number} frame @returns {State} */
export function withFrameAccepted(state, frame) {
  return boxesIn(state, frame)
    .filter((box) => !isKey(box))
    .reduce((changed, box) => withBox(changed, frame, box.lesion, box.box), state);
}

/** The same with another number for a lesion. @param {State} state @param {Map<number, number>} numbers */
export function renumbered(state, numbers) {
  const number = (/** @type {number} */ lesion) => numbers.get(lesion) ?? lesion;
  return {
    ...state,
    boxes: state.boxes.map((box) => ({ ...box, lesion: number(box.lesion) })),
    lesion_names: Object.fromEntries(
      Object.entries(state.lesion_names).map(([lesion, name]) => [number(Number(lesion)), name]),
    ),
  };
}

/** @param {State} state @returns {Bounds} */
export const boundsOf = (state) => /** @type {Bounds} */ (BOUNDS.map((name) => state[name]));

/** @param {State} state @param {Bounds} bounds @returns {State} */
export const withBounds = (state, [introducing_start, optimal_start, vanishing_start]) => ({
  ...state,
  introducing_start,
  optimal_start,
  vanishing_start,
});

/**
 * One bound moved; those that it meets move with it.
 *
 * @param {Bounds} bounds @param {number} which 0 introducing, 1 optimal, 2 vanishing
 * @param {number} frame @returns {Bounds}
 */
export function movedBound(bounds, which, frame) {
  const moved = bounds.map((bound, index) => {
    if (index === which) return frame;
    if (bound === null) return null;
    return index < which ? Math.min(bound, frame) : Math.max(bound, frame);
  });
  return /** @type {Bounds} */ (moved);
}

/** The interval that a frame lies in, 0 to 3; null where a bound is unknown. @param {Bounds} bounds @param {number} frame */
export function phaseOf(bounds, frame) {
  if (bounds.includes(null)) return null;
  return bounds.filter((bound) => frame >= /** @type {number} */ (bound)).length;
}

/** Whether both say the same of a sequence, but for the names of its lesions. @param {State} one @param {State} other */
export const saysTheSame = (one, other) => said(one) === said(other);

/** Whether both are the same but for tracked boxes, names included. @param {State} one @param {State} other */
export const isTheSame = (one, other) =>
  saysTheSame(one, other) && JSON.stringify(one.lesion_names) === JSON.stringify(other.lesion_names);

/** @param {State} state */
function said(state) {
  const boxes = state.boxes.filter(isKey).map((box) => [box.frame, box.lesion, ...box.box]);
  boxes.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const { view, reference_frame: reference, no_lesion: healthy, exclude } = state;
  return JSON.stringify([view, reference, boundsOf(state), healthy, exclude, boxes]);
}
