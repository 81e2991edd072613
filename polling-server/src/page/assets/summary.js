// A poll in a few words: its state, how many take part, when it opens or closes.

import { element } from "./dom.js";
import { distance, list, moment, percent } from "./format.js";
import { areShown, leaders } from "./results.js";
import { text } from "./texts.js";

/** A question with more letters than this is set smaller, so that it leaves room for its options. */
const LONG = 100;

/** The question as the title of a view. */
export function questionTitle({ question }) {
  return element("h1", { tabindex: "-1", class: question.length > LONG && "is-long" }, question);
}

/** The state as a small label. */
export function stateChip(poll) {
  return element("span", { class: "chip", "data-state": poll.state }, text(`state.${poll.state}`));
}

/** When a poll opens or closes, in words; null when no time is set. */
export function timeText(poll, now = Date.now()) {
  if (poll.state === "scheduled" && poll.opens_at) {
    return text("time.opens", { when: distance(poll.opens_at, now) });
  }
  if (!poll.closes_at) {
    return null;
  }
  if (poll.state !== "closed") {
    return text("time.closes", { when: distance(poll.closes_at, now) });
  }
  // A poll can be closed by a clock that is ahead of this one: then nobody can say how long ago.
  return Date.parse(poll.closes_at) > now ? null : text("time.closed", { when: distance(poll.closes_at, now) });
}

/** The same as an element that shows the exact time to whoever points at it. */
export function timeNote(poll) {
  const words = timeText(poll);
  const time = poll.state === "scheduled" ? poll.opens_at : poll.closes_at;
  return words && element("time", { datetime: time, title: moment(time) }, words);
}

/** Who leads, in a sentence. */
export function leadingText(poll) {
  const first = leaders(poll);
  if (!areShown(poll)) {
    return text("results.hidden");
  }
  if (first.length === 0) {
    return text("results.none");
  }
  const share = percent(first[0].share);
  return first.length === 1
    ? text("results.leading", { option: first[0].text, share })
    : text("results.level", { options: list(first.map((option) => option.text)), share });
}

/** The result as it is said aloud. */
export function resultText(poll) {
  const voters = text("count.voters", { count: poll.results.voters });
  return text("results.said", { voters, leading: leadingText(poll) });
}
