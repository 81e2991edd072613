// The options with the most votes, whose places change before one's eyes.

import { announceStanding } from "../announce.js";
import { readLeaderboard } from "../api.js";
import { keyOf } from "../board.js";
import { element } from "../dom.js";
import { follow } from "../live.js";
import { phaseMark } from "../phase.js";
import { ranking } from "../ranking.js";
import { text } from "../texts.js";

const ENTRIES = 10;

export async function leaderboard(_, signal) {
  const phase = phaseMark();
  const title = text("board.title");
  const heading = element("h1", { tabindex: "-1" }, title);
  const list = ranking(ENTRIES, heading);
  let leader = null;

  function draw({ entries }) {
    const isNews = list.update(entries);
    const first = entries.length > 0 ? keyOf(entries[0]) : null;
    if (first !== leader && first !== null) {
      announceStanding(text("board.said", { option: entries[0].text, votes: text("count.votes", { count: entries[0].votes }) }));
    }
    leader = first;
    return isNews;
  }

  draw(await readLeaderboard(ENTRIES));
  if (signal.aborted) {
    return null;
  }
  const live = follow(() => "/leaderboard/live", {
    ask: async () => draw(await readLeaderboard(ENTRIES)),
    onPhase: phase.set,
    onFrame: (frame) => frame.type === "leaderboard" && draw(frame),
  });
  signal.addEventListener("abort", live.end);

  const content = element(
    "section",
    { class: "board-view" },
    element("div", { class: "section-head" }, heading, phase.node),
    element("p", { class: "lead" }, text("board.lead")),
    list.node,
  );
  return { title, content };
}
