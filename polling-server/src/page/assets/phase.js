// The state of the connection, in words.

import { announce } from "./announce.js";
import { element } from "./dom.js";
import { text } from "./texts.js";

/** A mark that says it: `{node, show, set}`. With `set`, losing the connection and having it again is also said aloud. */
export function phaseMark() {
  const words = element("span");
  const node = element("p", { class: "phase" }, element("span", { class: "dot", "aria-hidden": "true" }), words);
  let wasLost = false;

  function show(phase) {
    node.dataset.phase = phase;
    words.textContent = text(`phase.${phase}`);
  }

  return {
    node,
    show,
    set(phase) {
      show(phase);
      const isLost = phase === "waiting" || phase === "polling" || phase === "offline";
      if (isLost && !wasLost) {
        announce(text(`phase.${phase}`), "connection");
      } else if (phase === "live" && wasLost) {
        announce(text("phase.back"), "connection");
      }
      wasLost = isLost || (wasLost && phase !== "live");
    },
  };
}
