/** Words on a canvas. */

/**
 * The words, cut where they would be wider than there is room.
 *
 * @param {CanvasRenderingContext2D} pen @param {string} words @param {number} most pixels of the canvas
 */
export function shortened(pen, words, most) {
  let shown = words;
  while (shown.length > 1 && pen.measureText(shown).width > most) shown = `${shown.replace(/…$/, "").slice(0, -1)}…`;
  return shown;
}
