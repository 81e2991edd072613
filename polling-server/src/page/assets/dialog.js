// Asks before what cannot be undone.

import { element, newName } from "./dom.js";
import { text } from "./texts.js";

/** Whether the visitor wants it. */
export function confirmed(question, note, action) {
  const [title, body] = [newName(), newName()];
  const dialog = element(
    "dialog",
    { "aria-labelledby": title, "aria-describedby": body },
    element(
      "form",
      { method: "dialog" },
      element("h2", { id: title }, question),
      element("p", { id: body }, note),
      element(
        "div",
        { class: "row end" },
        element("button", { value: "" }, text("dialog.cancel")),
        element("button", { value: "yes", class: "danger" }, action),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
