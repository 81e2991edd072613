// Keeps a socket up for as long as a view is on show, and asks in the old way while there is none.

import { pauseAfter, pauseSaid } from "./backoff.js";
import { START, after, phaseSaid } from "./connection.js";
import { pulse } from "./pulse.js";

/** Milliseconds between questions while no socket can be had. */
const ASK_INTERVAL = 3000;
/** Milliseconds in which a socket has to open. Where nobody answers, a browser itself waits for minutes. */
const OPEN_WITHIN = 10_000;
/** The status of what the server cannot do now, and may be able to do soon. */
const UNAVAILABLE = 503;

/**
 * Follows what `path()` sends. `handlers`:
 *
 * - `onFrame(frame)`, `onPhase(phase)` (see `phaseSaid`), `greeting()`: what to send when a socket opens, or null, and again when the
 *   server could not do all of it;
 * - `ask()`: gets the same by GET, and answers whether there was any news in it; its failures are none.
 *
 * Answers `{say, again, end}`: send something, begin anew (when the viewer may see more than before), stop.
 */
export function follow(path, handlers) {
  let state = START;
  let said = null;
  let socket = null;
  let openedAt = null;
  let opening = null;
  let retry = null;
  let greeting = null;
  let refusals = 0;
  let asking = null;
  let isAsking = false;
  const heart = pulse(handlers.ask, lose);

  function on(event) {
    state = after(state, event);
    sayPhase();
    if (state.phase === "polling") {
      asking ??= setInterval(ask, ASK_INTERVAL);
    } else {
      clearInterval(asking);
      asking = null;
    }
  }

  function sayPhase() {
    const phase = phaseSaid(state, navigator.onLine);
    if (phase !== said) {
      said = phase;
      handlers.onPhase(phase);
    }
  }

  /** One question at a time: those that get no answer would leave no connection for a vote. */
  async function ask() {
    if (!isAsking) {
      isAsking = true;
      await handlers.ask().catch(() => {});
      isAsking = false;
    }
  }

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
    opening = setTimeout(lose, OPEN_WITHIN);
    // A socket that was replaced still closes, and that is nobody's business any more.
    const isOurs = (act) => (event) => made === socket && act(event);
    made.onopen = isOurs(() => {
      clearTimeout(opening);
      openedAt = performance.now();
      heart.heard();
      on({ type: "opened" });
      greet();
    });
    made.onmessage = isOurs((message) => {
      heart.heard();
      const frame = JSON.parse(message.data);
      if (frame.type !== "error") {
        refusals = 0;
      } else if (frame.status === UNAVAILABLE) {
        greetAgain();
      }
      handlers.onFrame(frame);
    });
    made.onclose = isOurs(({ reason }) => closed(pauseSaid(reason)));
  }

  function closed(pause = null) {
    forgetTimers();
    socket = null;
    on({ type: "closed", lasted: openedAt === null ? 0 : performance.now() - openedAt });
    if (state.phase === "waiting" || state.phase === "polling") {
      retry = setTimeout(reconnect, pause ?? pauseAfter(state.failures));
    }
  }

  /** Gives up a socket that leads nowhere: its end may not be told for minutes. */
  function lose() {
    drop();
    closed();
  }

  function reconnect() {
    on({ type: "retry" });
    connect();
  }

  function forgetTimers() {
    heart.stop();
    clearTimeout(opening);
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

  function hurry() {
    if (document.visibilityState !== "visible") {
      return;
    }
    if (retry !== null) {
      reconnect();
    } else {
      heart.wake();
    }
  }

  function again() {
    if (state.phase !== "ended") {
      drop();
      connect();
      sayPhase();
    }
  }

  /** In another network, a socket that seems open may lead nowhere, and what failed in the one before says nothing. */
  function online() {
    on({ type: "online" });
    again();
  }

  function offline() {
    sayPhase();
    heart.doubt();
  }

  addEventListener("online", online);
  addEventListener("offline", offline);
  document.addEventListener("visibilitychange", hurry);
  sayPhase();
  connect();

  return {
    say(message) {
      if (socket?.readyState === WebSocket.OPEN) {
        socket.send(JSON.stringify(message));
      }
    },
    again,
    end() {
      on({ type: "ended" });
      drop();
      removeEventListener("online", online);
      removeEventListener("offline", offline);
      document.removeEventListener("visibilitychange", hurry);
    },
  };
}
