// Votes over time. A server that keeps no history, or hides it from this viewer, leaves the panel away.

import { readHistory } from "./api.js";
import { Chart } from "./chart.js";
import { element } from "./dom.js";
import { moment } from "./format.js";
import { owner } from "./memory.js";
import { areShown } from "./results.js";
import { throttle } from "./throttle.js";
import { text } from "./texts.js";

/** Milliseconds between questions for a history that goes on. */
const INTERVAL = 5000;
/** A line needs two points, and somebody who has voted. */
const POINTS_MIN = 2;

/** The panel: `{node, update(poll)}`. */
export function historyPanel(first, signal) {
  let poll = first;
  let chart = null;
  let isAbsent = false;
  let retry = null;
  const place = element("div", { class: "chart" });
  const node = element(
    "section",
    { class: "history", "aria-labelledby": "history-title", hidden: true },
    element("h2", { id: "history-title" }, text("history.title")),
    place,
  );

  async function load() {
    if (retry !== null) {
      return;
    }
    if (signal.aborted || isAbsent || !areShown(poll)) {
      node.hidden = true;
      return;
    }
    try {
      const history = await readHistory(poll.id, owner.read(poll.id));
      if (signal.aborted) {
        return;
      }
      const points = untilNow(history.points);
      const isLine = points.length >= POINTS_MIN && points.some((point) => point.voters > 0);
      chart ??= isLine ? await Chart.in(place, poll, signal) : null;
      node.hidden = !isLine;
      if (isLine) {
        chart.draw(points, summary(points));
      }
    } catch (problem) {
      // Not there: never asked for again.
      isAbsent = problem.status === 404;
      node.hidden ||= !problem.isPassing;
      if (problem.isPassing && !signal.aborted) {
        retry = setTimeout(again, Math.max(INTERVAL, problem.retryAfter));
      }
    }
  }

  function again() {
    retry = null;
    load();
  }

  const loadSoon = throttle(INTERVAL, load);
  signal.addEventListener("abort", () => clearTimeout(retry));
  loadSoon();
  return {
    node,
    update(changed) {
      poll = changed;
      loadSoon();
    },
  };
}

/**
 * The points with the last one at the moment when it was so: the end of its step may be to come. A clock that is behind the former points
 * is a wrong one, and changes nothing.
 */
export function untilNow(points, now = Date.now()) {
  const [former, last] = points.slice(-2);
  const isWithin = last !== undefined && new Date(former.at) < now && now < new Date(last.at);
  return isWithin ? [...points.slice(0, -1), { ...last, at: new Date(now).toISOString() }] : points;
}

function summary(points) {
  const [from, to] = [points[0], points.at(-1)];
  return text("history.said", {
    first: text("count.voters", { count: from.voters }),
    start: moment(from.at),
    last: text("count.voters", { count: to.voters }),
    end: moment(to.at),
  });
}
