// How long to wait before the next attempt.

/** How a server that stops says when to come back. */
const SAID = /retry: (\d+)$/;
/** Milliseconds before the second attempt, on average three quarters of it. */
const FIRST = 500;
/** Milliseconds between attempts, at most. */
const LONGEST = 15_000;

/**
 * Milliseconds to wait after `failures` (from 1) in a row. Doubles, with a part by chance (`random` is in 0..1), so that the
 * watchers of a server that comes back do not all come back at once.
 */
export function pauseAfter(failures, random = Math.random()) {
  const full = Math.min(FIRST * 2 ** (failures - 1), LONGEST);
  return full * (0.5 + random / 2);
}

/** The milliseconds to wait that a socket was closed with, or null. */
export function pauseSaid(reason) {
  const said = SAID.exec(reason);
  return said === null ? null : Math.min(Number(said[1]), LONGEST);
}
