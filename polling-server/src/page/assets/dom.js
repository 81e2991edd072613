// Makes elements. Texts of polls are written by strangers, so they only ever go in as text, never as HTML.

/** An element with attributes (`null`, `undefined` and `false` leave one out), listeners (`onclick`) and children. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) {
      made.addEventListener(key.slice(2), value);
    } else if (value === true) {
      made.setAttribute(key, "");
    } else if (value !== null && value !== undefined && value !== false) {
      made.setAttribute(key, value);
    }
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** A picture of one path. It is decoration unless it has a label. */
export function picture(viewBox, path, attributes = {}) {
  const svg = document.createElementNS(SVG, "svg");
  const shape = document.createElementNS(SVG, "path");
  shape.setAttribute("d", path);
  svg.setAttribute("viewBox", viewBox);
  for (const [key, value] of Object.entries({ "aria-hidden": attributes.role ? null : "true", ...attributes })) {
    if (value !== null) {
      svg.setAttribute(key, value);
    }
  }
  svg.append(shape);
  return svg;
}

/** Writes a text, unless it is there already: one that is written anew is no longer marked where somebody has marked it. */
export function write(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** Words for those who hear the page and do not see it. */
export function unseen(text) {
  return element("span", { class: "unseen" }, text);
}

let names = 0;

/** A name for an element that another one refers to. */
export function newName() {
  names += 1;
  return `name-${names}`;
}

/** Whether the visitor asked for less motion. */
export function wantsLessMotion() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
