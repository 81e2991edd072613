// A poll in a frame of another site. It shows results and leads to the poll: in a frame, a browser does not send the cookie that
// makes a visitor one voter, and another site could lay something over the buttons.

import { announceStanding } from "../announce.js";
import { readPoll } from "../api.js";
import { element, unseen } from "../dom.js";
import { pollPath } from "../link.js";
import { optionList } from "../options.js";
import { phaseMark } from "../phase.js";
import { areShown } from "../results.js";
import { resultText, stateChip, timeNote } from "../summary.js";
import { text } from "../texts.js";
import { watchPoll } from "../watch.js";
import { gone } from "./failed.js";

export async function embed(route, signal) {
  let shown = await readPoll(route.id);
  const phase = phaseMark();
  const meta = element("p", { class: "meta" });
  const hidden = element("p", { class: "soft" });
  const list = optionList(shown);
  const words = element("span");
  const link = element(
    "a",
    { class: "button primary", href: pollPath(shown.id), target: "_blank", rel: "noopener" },
    words,
    unseen(` (${text("embed.new")})`),
  );

  function draw() {
    meta.replaceChildren(
      ...[stateChip(shown), element("span", {}, text("count.voters", { count: shown.results.voters })), timeNote(shown)].filter(
        Boolean,
      ),
    );
    list.update(shown);
    words.textContent = text(shown.state === "open" ? "embed.vote" : "embed.open");
    hidden.hidden = areShown(shown);
    hidden.textContent = areShown(shown) ? "" : text(`results.hidden.${shown.results_visibility}`);
  }

  watchPoll(
    shown,
    {
      onPhase: phase.set,
      onViewers() {},
      onChange(next) {
        shown = next;
        draw();
        announceStanding(resultText(shown));
      },
      async onGone() {
        content.replaceChildren((await gone(route)).content);
      },
    },
    signal,
  );
  draw();

  const content = element(
    "article",
    { class: "embed-view" },
    element("h1", { tabindex: "-1" }, shown.question),
    list.node,
    hidden,
    element("div", { class: "embed-foot" }, meta, phase.node, link),
  );
  return { title: shown.question, content };
}
