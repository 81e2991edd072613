// A poll that stays up to date while it is on show.

import { readPoll } from "./api.js";
import { follow } from "./live.js";
import { owner } from "./memory.js";
import { isNewer, positionOf, withAnswer, withFrame } from "./results.js";
import { throttle } from "./throttle.js";

/** Milliseconds between questions for what the socket does not show. */
const REFRESH_INTERVAL = 1000;

/**
 * Watches a poll until `signal` ends it. `handlers`: `onChange(poll)`, `onPhase(phase)`, `onViewers(count)`, `onGone()`.
 *
 * Answers `{refresh, again}`: ask at once, and answer whether there was news; the same with a new socket, because this viewer may now
 * see more.
 */
export function watchPoll(first, handlers, signal) {
  let poll = first;

  function take(next) {
    if (next !== poll && !signal.aborted) {
      poll = next;
      handlers.onChange(poll);
    }
  }

  function leave() {
    live.end();
    handlers.onGone();
  }

  async function refresh() {
    try {
      const answer = await readPoll(poll.id, owner.read(poll.id));
      const isNews = isNewer(answer.results, poll.results);
      take(withAnswer(poll, answer));
      return isNews;
    } catch (problem) {
      if (problem.status === 404 && !signal.aborted) {
        leave();
      }
      throw problem;
    }
  }

  const refreshSoon = throttle(REFRESH_INTERVAL, () => {
    if (!signal.aborted) {
      refresh().catch(() => {});
    }
  });

  const live = follow(() => `/polls/${poll.id}/live?after=${positionOf(poll)}&viewers=1`, {
    ask: refresh,
    onPhase: handlers.onPhase,
    onFrame(frame) {
      if (frame.type === "error" && frame.problem?.endsWith("/poll-not-found")) {
        leave();
        return;
      }
      if (Number.isInteger(frame.viewers)) {
        handlers.onViewers(frame.viewers);
      }
      take(withFrame(poll, frame));
      if (poll.isOutdated) {
        refreshSoon();
      }
    },
  });
  signal.addEventListener("abort", live.end);

  return {
    refresh,
    async again() {
      live.again();
      await refresh();
    },
  };
}
