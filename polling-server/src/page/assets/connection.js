// The states of a connection that is kept up. Pure: what happens in the world comes in as events, and `live.js` acts on the
// states.

/** Failures in a row after which the server is asked in the old way, beside further attempts. */
export const POLL_AFTER = 3;
/**
 * A socket that was open for so many milliseconds was well, and its end is a first failure. That it brought a frame says nothing: each
 * begins with one, also where a proxy cuts it a second later.
 */
export const WELL_AFTER = 60_000;

export const START = { phase: "connecting", failures: 0 };

/**
 * What comes after an event:
 *
 * - `opened`: a socket is open; `closed` (with `lasted`, milliseconds open): it is gone, or never opened;
 * - `retry`: the pause is over, or cut short; `online`: the browser has a network again; `ended`: nothing more will come.
 *
 * Phases: `connecting`, `live`, `waiting` (for the next attempt), `polling` (the same, while asking every few seconds), `ended`.
 */
export function after(state, event) {
  if (state.phase === "ended") {
    return state;
  }
  switch (event.type) {
    case "opened":
      return { ...state, phase: "live" };
    case "closed": {
      const failures = event.lasted >= WELL_AFTER ? 1 : state.failures + 1;
      return { phase: failures >= POLL_AFTER ? "polling" : "waiting", failures };
    }
    case "retry":
      return { ...state, phase: state.failures >= POLL_AFTER ? "polling" : "connecting" };
    case "online":
      return state.phase === "live" ? state : START;
    case "ended":
      return { ...state, phase: "ended" };
    default:
      return state;
  }
}

/**
 * What there is to say of it: its phase, or `offline` when it is lost and the browser says that it has no network. That is a word and no
 * more: a server on the same machine is reached without one, so nothing that works is cut, and what is lost is tried again all the same.
 */
export function phaseSaid({ phase, failures }, isOnline) {
  const isLost = failures > 0 && phase !== "live" && phase !== "ended";
  return isLost && !isOnline ? "offline" : phase;
}
