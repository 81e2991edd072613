// A poll in a frame of another site. It shows results and leads to the poll: in a frame, a browser does not send the cookie that
// makes a visitor one voter, and another site could lay something over the buttons.

import { announceStanding } from "../announce.js";
import { readPoll } from "../api.js";
import { card } from "../card.js";
import { resultText } from "../summary.js";
import { watchPoll } from "../watch.js";
import { gone } from "./failed.js";

export async function embed(route, signal) {
  const first = await readPoll(route.id);
  const { node, phase, update } = card(first);
  watchPoll(
    first,
    {
      onPhase: phase.set,
      onViewers() {},
      onChange(next) {
        update(next);
        announceStanding(resultText(next));
      },
      async onGone() {
        node.replaceChildren((await gone(route)).content);
      },
    },
    signal,
  );
  return { title: first.question, content: node };
}
