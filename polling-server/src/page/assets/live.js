// Keeps a socket up for as long as a view is on show, and asks in the old way while there is none.

import { pauseAfter, pauseSaid } from "./backoff.js";
import { START, after } from "./connection.js";

/** Milliseconds between questions while no socket can be had. */
const ASK_INTERVAL = 3000;
/** The status of what the server cannot do now, and may be able to do soon. */
const UNAVAILABLE = 503;

/**
 * Follows what `path()` sends. `handlers`:
 *
 * - `onFrame(frame)`, `onPhase(phase)` (see connection.js), `greeting()`: what to send when a socket opens, or null, and again when the
 *   server could not do all of it;
 * - `ask()`: gets the same by GET; its failures are no news.
 *
 * Answers `{say, again, end}`: send something, begin anew (when the viewer may see more than before), stop.
 */
export function follow(path, handlers) {
  let state = START;
  let socket = null;
  let openedAt = null;
  let retry = null;
  let greeting = null;
  let refusals = 0;
  let asking = null;

  function on(event) {
    const before = state.phase;
    state = after(state, event);
    if (state.phase !== before) {
      handlers.onPhase(state.phase);
    }
    if (state.phase === "polling") {
      asking ??= setInterval(ask, ASK_INTERVAL);
    } else {
      clearInterval(asking);
      asking = null;
    }
  }

  const ask = () => handlers.ask().catch(() => {});

  function greet() {
    greeting = null;
    const words = handlers.greeting?.();
    if (words && socket?.readyState === WebSocket.OPEN) {
      socket.send(JSON.stringify(words));
    }
  }

  /** What is watched already stays as it is, so all of it can be said again. */
  function greetAgain() {
    if (greeting === null) {
      refusals += 1;
      greeting = setTimeout(greet, pauseAfter(refusals));
    }
  }

  function connect() {
    forgetTimers();
    const address = new URL(path(), location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const made = new WebSocket(address);
    socket = made;
    openedAt = null;
    // A socket that was replaced still closes, and that is nobody's business any more.
    const isOurs = (act) => (event) => made === socket && act(event);
    made.onopen = isOurs(() => {
      openedAt = performance.now();
      on({ type: "opened" });
      greet();
    });
    made.onmessage = isOurs((message) => {
      const frame = JSON.parse(message.data);
      if (frame.type !== "error") {
        refusals = 0;
      } else if (frame.status === UNAVAILABLE) {
        greetAgain();
      }
      handlers.onFrame(frame);
    });
    made.onclose = isOurs(({ reason }) => {
      socket = null;
      on({ type: "closed", lasted: openedAt === null ? 0 : performance.now() - openedAt });
      if (state.phase === "waiting" || state.phase === "polling") {
        retry = setTimeout(reconnect, pauseSaid(reason) ?? pauseAfter(state.failures));
      }
    });
  }

  function reconnect() {
    on({ type: "retry" });
    connect();
  }

  function forgetTimers() {
    clearTimeout(retry);
    clearTimeout(greeting);
    retry = null;
    greeting = null;
  }

  function drop() {
    forgetTimers();
    const dropped = socket;
    socket = null;
    dropped?.close();
  }

  function cameBack() {
    if (state.phase === "offline" || (retry !== null && document.visibilityState === "visible")) {
      on({ type: "online" });
      drop();
      connect();
    }
  }

  function wentAway() {
    drop();
    on({ type: "offline" });
  }

  addEventListener("online", cameBack);
  addEventListener("offline", wentAway);
  document.addEventListener("visibilitychange", cameBack);
  handlers.onPhase(state.phase);
  connect();

  return {
    say(message) {
      if (socket?.readyState === WebSocket.OPEN) {
        socket.send(JSON.stringify(message));
      }
    },
    again() {
      if (state.phase !== "ended") {
        drop();
        connect();
      }
    },
    end() {
      on({ type: "ended" });
      drop();
      removeEventListener("online", cameBack);
      removeEventListener("offline", wentAway);
      document.removeEventListener("visibilitychange", cameBack);
    },
  };
}
