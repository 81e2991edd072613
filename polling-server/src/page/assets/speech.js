// What is said aloud, one thing after another.

import { throttle } from "./throttle.js";

/**
 * Passes texts on, one in `interval` milliseconds at most: `{say(text, matter), sayStanding(text)}`.
 *
 * What is said comes in order, and of one matter only the newest. How things stand is said when nothing else waits: it changes all the
 * time, and must not take the place of what is said once.
 */
export function speech(interval, pass, clock) {
  const waiting = new Map();
  let standing = null;
  const speak = throttle(
    interval,
    () => {
      const [matter] = waiting.keys();
      if (matter === undefined) {
        pass(standing);
        standing = null;
      } else {
        pass(waiting.get(matter));
        waiting.delete(matter);
      }
      if (waiting.size > 0 || standing !== null) {
        speak();
      }
    },
    clock,
  );
  return {
    say(text, matter = text) {
      waiting.set(matter, text);
      speak();
    },
    sayStanding(text) {
      standing = text;
      speak();
    },
  };
}
