// A poll: vote, watch, share, own.

import { announceStanding } from "../announce.js";
import { readPoll } from "../api.js";
import { ballot } from "../ballot.js";
import { element } from "../dom.js";
import { historyPanel } from "../history.js";
import { owner } from "../memory.js";
import { ownerPanel, tokenNotice } from "../owner.js";
import { phaseMark } from "../phase.js";
import { areShown } from "../results.js";
import { sharePanel } from "../share.js";
import { questionTitle, resultText, stateChip, timeNote } from "../summary.js";
import { text } from "../texts.js";
import { watchPoll } from "../watch.js";
import { gone } from "./failed.js";

/** Milliseconds after which "in 5 minutes" is read anew. */
const TIME_INTERVAL = 15_000;

export async function poll(route, signal, kept) {
  let shown = await readPoll(route.id, owner.read(route.id));
  let viewers = null;
  const meta = element("p", { class: "meta" });
  const hidden = element("p", { class: "soft" });
  const phase = phaseMark();
  kept.unsent ??= {};
  const voting = ballot(shown, () => watch.again().catch(() => {}), signal, kept.unsent);
  const past = historyPanel(shown, signal);
  const owning = ownerPanel(shown, () => watch.refresh());

  function drawMeta() {
    meta.replaceChildren(
      ...[
        stateChip(shown),
        element("span", {}, text("count.voters", { count: shown.results.voters })),
        viewers === null ? null : element("span", {}, text("count.viewers", { count: viewers })),
        timeNote(shown),
      ].filter(Boolean),
    );
    hidden.hidden = areShown(shown);
    hidden.textContent = areShown(shown) ? "" : text(`results.hidden.${shown.results_visibility}`);
  }

  const watch = watchPoll(
    shown,
    {
      onPhase: phase.set,
      onViewers(count) {
        viewers = count;
        drawMeta();
      },
      onChange(next) {
        shown = next;
        drawMeta();
        voting.update(shown);
        past.update(shown);
        owning.update(shown);
        announceStanding(resultText(shown));
      },
      async onGone() {
        content.replaceChildren((await gone(route)).content);
      },
    },
    signal,
  );

  const timer = setInterval(drawMeta, TIME_INTERVAL);
  signal.addEventListener("abort", () => clearInterval(timer));
  drawMeta();
  const content = element(
    "article",
    { class: "poll-view" },
    element(
      "header",
      { class: "poll-head" },
      tokenNotice(shown, kept),
      element("div", { class: "section-head" }, meta, phase.node),
      questionTitle(shown),
    ),
    element("div", { class: "poll-main" }, voting.node, hidden, past.node),
    element("aside", { class: "poll-side" }, sharePanel(shown), owning.node),
  );
  return { title: shown.question, content };
}
