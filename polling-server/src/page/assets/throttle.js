// Says the newest of many things, not all of them.

/**
 * A function that passes its argument on at once, and those of later calls at most every `interval` milliseconds, the newest
 * only.
 */
export function throttle(interval, pass, { now = Date.now, later = setTimeout } = {}) {
  let last = -Infinity;
  let waiting = null;
  const send = () => {
    const { value } = waiting;
    waiting = null;
    last = now();
    pass(value);
  };
  return (value) => {
    const isScheduled = waiting !== null;
    waiting = { value };
    if (isScheduled) {
      return;
    }
    const rest = last + interval - now();
    if (rest <= 0) {
      send();
    } else {
      later(send, rest);
    }
  };
}
