// Lets rows glide to their new places: first, last, invert, play.

import { wantsLessMotion } from "./dom.js";

/** Milliseconds that a row glides. */
const DURATION = 600;

/** Runs `change`, which moves children of `list` about, and lets them glide from where they were. */
export function gliding(list, change) {
  const before = new Map([...list.children].map((child) => [child, child.getBoundingClientRect().top]));
  change();
  if (wantsLessMotion()) {
    return;
  }
  for (const child of list.children) {
    const from = before.get(child);
    if (from === undefined) {
      child.animate([{ opacity: 0 }, { opacity: 1 }], { duration: DURATION });
      continue;
    }
    const way = from - child.getBoundingClientRect().top;
    if (way !== 0) {
      child.animate([{ transform: `translateY(${way}px)` }, { transform: "none" }], {
        duration: DURATION,
        easing: "cubic-bezier(0.2, 0.8, 0.2, 1)",
      });
    }
  }
}
