// A text with a button that copies it.

import { announce } from "./announce.js";
import { element, newName } from "./dom.js";
import { text } from "./texts.js";

/** Milliseconds for which the button says that it is done. */
const DONE = 2000;

/** A labelled text that can be copied. */
export function copyField(label, value) {
  const name = newName();
  const input = element("input", { id: name, readonly: true, value, class: "mono", onfocus: () => input.select() });
  const button = element("button", { type: "button", "aria-label": `${text("copy.do")}: ${label}` }, text("copy.do"));
  button.addEventListener("click", async () => {
    const words = text((await copy(input)) ? "copy.done" : "copy.selected");
    button.textContent = words;
    announce(words);
    setTimeout(() => {
      button.textContent = text("copy.do");
    }, DONE);
  });
  return element("div", { class: "field copy-field" }, element("label", { for: name }, label), button, input);
}

/** Whether the text was copied: browsers have a clipboard only on secure pages, and otherwise it stays selected. */
async function copy(input) {
  input.select();
  try {
    await navigator.clipboard.writeText(input.value);
    return true;
  } catch {
    return false;
  }
}
