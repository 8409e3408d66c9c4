/** The keys: what each does, and the dialog that lists them. */

/**
 * @typedef {import("./review.js").Review} Review
 * @typedef {{group: string, names: string[], shown: string, words: string, run: (event: KeyboardEvent) => void}} Key
 */

const MOUSE = [
  ["left drag", "draw a box; move or resize one"],
  ["wheel", "frame"],
  ["right drag", "window (across) and level (down); a double click resets them"],
  ["Ctrl wheel", "zoom"],
  ["middle or Shift drag", "move the picture"],
];
const SIGNS = [
  ["thick box, ◆", "key box: a reader's"],
  ["thin, green", "tracked between key boxes"],
  ["dashed ?, yellow", "tracked: look at it"],
  ["dotted, red", "lost by tracking, not trained on"],
  ["R", "reference frame"],
  ["▲, yellow dots", "doubt about a frame, and its place"],
];

/** Every key, with what it does to the page. @param {Review} page @returns {Key[]} */
export function keysOf(page) {
  const key = (
    /** @type {string} */ group,
    /** @type {string} */ names,
    /** @type {string} */ words,
    /** @type {(event: KeyboardEvent) => void} */ run,
    shown = names.replaceAll(" ", ", "),
  ) => ({ group, names: names.split(" "), shown, words, run });
  const arrows = (/** @type {KeyboardEvent} */ { key }) => ({
    x: Number(key === "ArrowRight") - Number(key === "ArrowLeft"),
    y: Number(key === "ArrowDown") - Number(key === "ArrowUp"),
  });
  const held = (/** @type {string} */ held) =>
    ["Left", "Right", "Up", "Down"].map((name) => `${held}+Arrow${name}`).join(" ");
  const views = page.cohort.views.slice(0, 9).map((_, index) => String(index + 1));
  return [
    key("Frames", "Space", "play or stop", () => page.togglePlay()),
    key("Frames", "ArrowLeft ArrowUp", "frame before", () => page.goTo(page.frame - 1), "left, up"),
    key("Frames", "ArrowRight ArrowDown", "frame after", () => page.goTo(page.frame + 1), "right, down"),
    key("Frames", "Ctrl+ArrowLeft", "key box before", () => page.goToKeyBox(-1), "Ctrl left"),
    key("Frames", "Ctrl+ArrowRight", "key box after", () => page.goToKeyBox(1), "Ctrl right"),
    key("Frames", "Home", "first frame", () => page.goTo(0)),
    key("Frames", "End", "last frame", () => page.goTo(Infinity)),
    key("Frames", "D", "next doubt", () => page.nextDoubt()),
    key("Sequences", "Enter", "accept the rest, next open one", () => page.accept()),
    key("Sequences", "PageDown", "next", () => page.openNeighbour(1)),
    key("Sequences", "PageUp Backspace", "previous", () => page.openNeighbour(-1)),
    key("Sequences", "Ctrl+Z", "undo", () => page.undo()),
    key("Sequences", "Ctrl+Y Ctrl+Shift+Z", "redo", () => page.redo()),
    key("Boxes", "A", "accept this frame", () => page.acceptFrame()),
    key("Boxes", "N", "new lesion: then drag, or n again", () => page.newBox()),
    key("Boxes", "K", "key box of the lesion here", () => page.keyBoxHere()),
    key("Boxes", "B", "choose the next box", () => page.chooseNext()),
    key("Boxes", held("Alt"), "move by 1 pixel", (event) => page.nudge(arrows(event), false), "Alt arrows"),
    key("Boxes", held("Shift+Alt"), "resize by 1 pixel", (event) => page.nudge(arrows(event), true), "Shift Alt arrows"),
    key("Boxes", "Delete", "remove this key box", () => page.removeBox()),
    key("Boxes", "Shift+Delete", "remove the lesion", () => page.removeLesion(page.chosen)),
    key("Boxes", "Escape", "choose nothing, give up a drag", () => page.escape()),
    key("Boxes", "H", "hide or show boxes", () => page.toggleBoxes()),
    key("Labels", views.join(" "), page.cohort.views.join(", "), ({ key }) => page.setView(page.cohort.views[Number(key) - 1])),
    key("Labels", "R", "this is the reference frame", () => page.setReference()),
    key("Labels", "I", "introducing begins here", () => page.setBound(0, page.frame)),
    key("Labels", "O", "optimal begins here", () => page.setBound(1, page.frame)),
    key("Labels", "V", "vanishing begins here", () => page.setBound(2, page.frame)),
    key("Labels", "Shift+I Shift+O Shift+V", "clear the phases", () => page.clearBounds(), "Shift I, O or V"),
    key("Labels", "E", "no lesion", () => page.setHealthy(!page.state.no_lesion)),
    key("Labels", "X", "exclude: then choose", () => page.panel.focusExclusion()),
    key("Picture", "+ =", "larger", () => page.viewer.zoomBy(1.25), "+"),
    key("Picture", "-", "smaller", () => page.viewer.zoomBy(0.8)),
    key("Picture", "0", "whole picture", () => page.viewer.fit()),
    key("Picture", "W", "the cine's own window", () => page.viewer.resetWindow()),
    key("Picture", "?", "these keys", () => page.showKeys()),
  ];
}

/** The name of a pressed key with its modifiers, such as Ctrl+Z, Shift+Delete or ?. @param {KeyboardEvent} event */
function keyName({ key, ctrlKey, metaKey, altKey, shiftKey }) {
  const letter = key.length === 1 ? key.toUpperCase() : key;
  // The shift that a sign such as ? needs is another one on each keyboard.
  const shift = shiftKey && (key.length > 1 || letter !== key.toLowerCase());
  const held = [(ctrlKey || metaKey) && "Ctrl", shift && "Shift", altKey && "Alt"].filter(Boolean);
  return [...held, letter === " " ? "Space" : letter].join("+");
}

/** Whether a key belongs to what has the focus, and not to the page. @param {KeyboardEvent} event */
function isTaken(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (document.querySelector("dialog[open]")) return true;
  if (target.matches("textarea, select, input:not([type=radio], [type=checkbox])")) return true;
  if (target.matches("input")) return event.key === " " || event.key.startsWith("Arrow");
  return target.matches("button, a") && (event.key === " " || event.key === "Enter");
}

/** Run the key's function when it is pressed. @param {Key[]} keys @param {Review} page */
export function listen(keys, page) {
  const byName = new Map(keys.flatMap((key) => key.names.map((name) => [name, key])));
  document.addEventListener("keydown", (event) => {
    const key = byName.get(keyName(event));
    if (!key || isTaken(event)) return;
    event.preventDefault();
    // Who holds Enter down does not mean to accept every sequence; before one is here, none is changed.
    const meant = !event.repeat || event.key.startsWith("Arrow");
    if (meant && (page.record || key.group === "Sequences")) key.run(event);
  });
}

/** Fill the dialog. @param {HTMLElement} columns @param {Key[]} keys */
export function describe(columns, keys) {
  const groups = new Map([["Mouse", MOUSE]]);
  for (const { group, shown, words } of keys) {
    groups.set(group, [...(groups.get(group) ?? []), [shown, words]]);
  }
  groups.set("Signs", SIGNS);
  columns.replaceChildren(
    ...[...groups].map(([group, lines]) => {
      const section = document.createElement("section");
      const title = document.createElement("h3");
      const list = document.createElement("dl");
      title.textContent = group;
      for (const [shown, words] of lines) list.append(text("dt", shown), text("dd", words));
      section.append(title, list);
      return section;
    }),
  );
}

/** @param {string} tag @param {string} words */
function text(tag, words) {
  const made = document.createElement(tag);
  made.textContent = words;
  return made;
}
