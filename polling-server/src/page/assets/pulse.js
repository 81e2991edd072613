// Finds out whether a connection that says nothing still leads somewhere. One that was cut without a word stays open in the eyes of a
// browser, for minutes, and the pings of the server are shown to no page.

/** Milliseconds without a frame after which the server is asked: not longer than the 25 s between its pings. */
const QUIET_MAX = 20_000;
/** The part of that which is left to chance: all who watch have heard the same last frame at the same moment. */
const SPREAD = 0.3;
/** Milliseconds in which it has to answer when there is a reason for doubt: for so long, the page may be saying what is no longer so. */
const DOUBT_MAX = 3000;
/**
 * Milliseconds in which a socket has to say something when an answer knew more than it had said: longer than the two seconds after which
 * a server reads again what it shows of a poll. A leaderboard may take longer where news was lost; the new socket then shows it at once.
 */
const NEWS_WITHIN = 4000;

/**
 * Listens to one connection after the other. `ask()` asks the server in the old way, and answers whether there was anything that the
 * connection had not said; `lose()` is called when the connection leads nowhere.
 *
 * Answers `{heard, doubt, wake, stop}`: something came, or the connection began; ask now, because there is a reason to; ask if it is time
 * to, because the page is on show again; there is no connection.
 */
export function pulse(ask, lose, isOnShow = () => document.visibilityState === "visible") {
  let timer = null;
  let heardAt = 0;
  /** Grows with all that is heard, so that an answer that comes later says nothing. */
  let beat = 0;
  let isAsking = false;

  function wait(milliseconds, act) {
    clearTimeout(timer);
    timer = setTimeout(act, milliseconds);
  }

  function heard() {
    beat += 1;
    isAsking = false;
    heardAt = Date.now();
    // Where nobody looks, nobody is told anything wrong.
    wait(QUIET_MAX * (1 - SPREAD * Math.random()), () => isOnShow() && check());
  }

  function stop() {
    beat += 1;
    isAsking = false;
    clearTimeout(timer);
    timer = null;
  }

  async function check() {
    if (isAsking) {
      return;
    }
    isAsking = true;
    const own = beat;
    const outcome = await ask().catch((problem) => (problem.status === 0 ? "unreachable" : false));
    if (own !== beat) {
      return;
    }
    if (outcome === "unreachable") {
      lose();
    } else if (outcome) {
      wait(NEWS_WITHIN, lose);
    } else {
      heard();
    }
  }

  return {
    heard,
    doubt() {
      if (timer !== null) {
        wait(DOUBT_MAX, lose);
        check();
      }
    },
    wake() {
      if (timer !== null && Date.now() - heardAt >= QUIET_MAX) {
        check();
      }
    },
    stop,
  };
}
