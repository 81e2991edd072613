// What is shown when there is nothing to show.

import { element } from "../dom.js";
import { isFramed } from "../router.js";
import { problemText, text } from "../texts.js";

function message(title, words, ...more) {
  return {
    title,
    content: element("section", { class: "message" }, element("h1", { tabindex: "-1" }, title), element("p", {}, words), ...more),
  };
}

/** An address that leads nowhere, or to a poll that is not there (any more). */
export async function gone(route) {
  const words = text(route.id ? "gone.poll" : "gone.page");
  // The only view that may be in a frame has no way home in there.
  const home = element("a", { class: "button", href: "/", target: isFramed() && "_blank" }, text("gone.home"));
  return message(text("gone.title"), words, home);
}

/** A view that could not be loaded. */
export function failed(problem, again) {
  const button = element("button", { type: "button", class: "primary", onclick: again }, text("failed.retry"));
  const waiting = problem.isPassing && element("p", { class: "soft" }, text("failed.waiting"));
  return message(text("failed.title"), problemText(problem), button, waiting);
}
