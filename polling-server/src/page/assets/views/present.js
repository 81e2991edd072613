// A poll on a projector: read from the back of a room, joined with a phone.

import { announceStanding } from "../announce.js";
import { readPoll } from "../api.js";
import { element, picture } from "../dom.js";
import { number } from "../format.js";
import { codeOf, grouped, pollPath } from "../link.js";
import { owner } from "../memory.js";
import { optionList } from "../options.js";
import { phaseMark } from "../phase.js";
import { qrCode } from "../qr.js";
import { areShown } from "../results.js";
import { votingLink } from "../share.js";
import { questionTitle, resultText, stateChip } from "../summary.js";
import { text } from "../texts.js";
import { watchPoll } from "../watch.js";
import { gone } from "./failed.js";

/** More options than this are set smaller, so that they fit. */
const LARGE_MAX = 5;
const CORNERS = "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5";
const CROSS = "M6 6l12 12M18 6L6 18";

export async function present(route, signal) {
  let shown = await readPoll(route.id, owner.read(route.id));
  const phase = phaseMark();
  const voters = counter("label.voters");
  const viewers = counter("label.viewers");
  viewers.node.hidden = true;
  const state = element("p", { class: "meta" });
  const hidden = element("p", { class: "soft" });
  const join = element("p", { class: "join" });
  const list = optionList(shown);
  const count = shown.results.options.length;

  function draw() {
    state.replaceChildren(stateChip(shown));
    join.textContent = text(shown.state === "closed" ? "present.results" : "present.join");
    voters.set(shown.results.voters);
    list.update(shown);
    hidden.hidden = areShown(shown);
    hidden.textContent = areShown(shown) ? "" : text(`results.hidden.${shown.results_visibility}`);
  }

  watchPoll(
    shown,
    {
      onPhase: phase.set,
      onViewers(watching) {
        viewers.node.hidden = false;
        viewers.set(watching);
      },
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

  const link = votingLink(shown);
  const content = element(
    "article",
    { class: "present-view", "data-size": count <= LARGE_MAX ? "large" : count <= 2 * LARGE_MAX ? "medium" : "small" },
    element("div", { class: "present-main" }, state, questionTitle(shown), list.node, hidden),
    element(
      "aside",
      { class: "present-side" },
      join,
      qrCode(link, text("share.code")),
      element("p", { class: "address" }, `${location.host}/p/`, element("wbr"), element("span", {}, grouped(codeOf(shown.id)))),
      element("div", { class: "counters" }, voters.node, viewers.node),
    ),
    element(
      "footer",
      { class: "present-foot" },
      phase.node,
      document.fullscreenEnabled
        ? element(
            "button",
            { type: "button", class: "quiet", onclick: toggleFullScreen },
            picture("0 0 24 24", CORNERS),
            text("present.full"),
          )
        : null,
      element("a", { class: "button quiet", href: pollPath(shown.id) }, picture("0 0 24 24", CROSS), text("present.leave")),
    ),
  );
  return { title: `${text("present.title")}: ${shown.question}`, content };
}

function counter(name) {
  const figure = element("strong");
  const label = element("span");
  return {
    node: element("p", { class: "counter-large" }, figure, " ", label),
    set(value) {
      figure.textContent = number(value);
      label.textContent = text(name, { count: value });
    },
  };
}

function toggleFullScreen() {
  if (document.fullscreenElement) {
    document.exitFullscreen();
  } else {
    document.documentElement.requestFullscreen();
  }
}
